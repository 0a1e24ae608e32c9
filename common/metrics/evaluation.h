// Figures of merit of a model on a part of the data, computed from additive sums so that the part
// can be spread over partitions. A Tally belongs to one thread; the rest is pure and thread-safe.
//
// Classification, with C[t][p] the number of examples of class t that are predicted as p, n their
// total, hits h_c = C[c][c], support s_c = sum of row c, predicted q_c = sum of column c:
//   accuracy = sum h_c / n    precision_c = h_c / q_c    recall_c = h_c / s_c
//   F1_c = 2 h_c / (s_c + q_c)
// where 0/0 counts as 0. A macro figure is the plain mean over the classes that occur among the
// targets or the predictions. Both are the conventions of scikit-learn (zero_division=0, labels not
// given). The prediction is the largest logit, the first of equal ones; with one logit z, z > 0.
//   ROC-AUC = P(score of a positive > score of a negative) + P(equal) / 2, over all pairs, exact;
// class 1 is positive, the score is z, or z_1 - z_0 of two logits. Undefined without both classes.
//
// Regression over n examples with T targets, e = output - target:
//   MAE = sum |e| / (n T)    RMSE = sqrt(sum e² / (n T))
//   R² = mean over targets of 1 - sum e² / sum (y - mean y)²
// (scikit-learn's uniform average). Undefined if a target's variance is zero, which is judged at
// the precision of fp32 targets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics/task.h"

namespace sheaf::metrics {

// What a model's outputs look like.
struct Shape {
  Task task = Task::regression;
  std::size_t outputs = 1;  // floats per example that the model gives
  std::size_t targets = 1;  // floats per example that it is compared with

  std::size_t classes() const;    // 0 for regression
  bool has_scores() const;        // two classes: an ROC curve exists
  bool has_confusion() const;     // few enough classes to count every pair of them
  std::size_t sum_count() const;  // length of Tally::sums()
  bool operator==(const Shape&) const = default;
};

// Beyond this many classes the confusion matrix is not counted (its size is the square).
inline constexpr std::size_t kMaxConfusionClasses = 128;

// A running fp64 sum that carries its rounding error along (Neumaier, ZAMM 54, 1974).
class CompensatedSum {
 public:
  void add(double value);
  double value() const { return sum_ + error_; }

 private:
  double sum_ = 0;
  double error_ = 0;
};

// Counts one partition's share of an evaluation.
class Tally {
 public:
  // REQUIRES: classification: outputs >= 2, targets = 1; binary: both 1; regression: equal.
  explicit Tally(Shape shape);

  // Adds a batch: `outputs` is (examples x outputs), `targets` (examples x targets), row-major.
  // REQUIRES: class targets are integers in [0, classes).
  void add(std::size_t examples, std::span<const float> outputs, std::span<const float> targets,
           double loss_sum);

  // Additive values: the elementwise sum of the vectors of two tallies is the vector of both.
  // Counts are exact. Order: examples, loss, then for classes (hits, support, predicted) each and C
  // row by row if has_confusion(); for regression sum |e|, then (sum e², sum y, sum y²) per target.
  std::vector<double> sums() const;

  // score, label, score, label, … if shape.has_scores(), else empty. Concatenate in any order.
  const std::vector<double>& scores() const { return scores_; }

 private:
  void add_prediction(std::span<const float> outputs, float target);
  void add_values(std::span<const float> outputs, std::span<const float> targets);
  struct TargetSums {
    CompensatedSum squared_error, target, squared_target;
  };

  Shape shape_;
  std::uint64_t examples_ = 0;
  CompensatedSum loss_;
  std::vector<double> counts_;
  std::vector<double> scores_;
  CompensatedSum absolute_error_;
  std::vector<TargetSums> target_sums_;
};

struct ClassFigures {
  double precision = 0;
  double recall = 0;
  double f1 = 0;
  std::uint64_t support = 0;    // examples of this class
  std::uint64_t predicted = 0;  // examples taken for it
};

struct ClassificationFigures {
  double accuracy = 0;
  double macro_precision = 0;
  double macro_recall = 0;
  double macro_f1 = 0;
  std::optional<double> roc_auc;
  std::vector<ClassFigures> classes;
  std::vector<std::uint64_t> confusion;  // (classes x classes), rows are targets; may be empty
};

struct RegressionFigures {
  double rmse = 0;
  double mae = 0;
  std::optional<double> r2;
};

struct Evaluation {
  std::uint64_t examples = 0;
  double loss = 0;  // mean over the examples
  std::optional<ClassificationFigures> classification;
  std::optional<RegressionFigures> regression;

  // (name, value) in a fixed order, "loss" first; undefined figures are left out.
  std::vector<std::pair<std::string, double>> pairs() const;
};

// The figures behind the summed vectors of all tallies of a part and their joined scores (empty if
// nobody collected them: then there is no ROC-AUC).
// REQUIRES: sums.size() = shape.sum_count(), at least one example.
Evaluation evaluate(const Shape& shape, std::span<const double> sums,
                    std::span<const double> scores = {});

// The exact area under the ROC curve of (score, label) pairs, interleaved, in any order; nothing if
// a class is absent or a score is NaN.
std::optional<double> roc_auc(std::span<const double> scores);

}  // namespace sheaf::metrics
