#include "common/metrics/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/error.h"

namespace sheaf::metrics {
namespace {

// Places in the vector of sums.
constexpr std::size_t kExamples = 0;
constexpr std::size_t kLoss = 1;
constexpr std::size_t kClasses = 2;  // classification: hits, support, predicted of class 0, …
constexpr std::size_t kCountsPerClass = 3;
constexpr std::size_t kAbsoluteError = 2;  // regression
constexpr std::size_t kTargets = 3;        // squared error, target, squared target of target 0, …
constexpr std::size_t kSumsPerTarget = 3;

// Below this share of the mean square a variance is rounding, not spread: the sums carry a few
// units of fp64 rounding, and targets in fp32 with a real spread vary by more than their last bit,
// 1e-7.
constexpr double kZeroVariance = 32 * std::numeric_limits<double>::epsilon();

double ratio(double numerator, double denominator) {
  return denominator == 0 ? 0 : numerator / denominator;
}

ClassificationFigures classification_figures(const Shape& shape, std::span<const double> sums,
                                             std::span<const double> scores) {
  ClassificationFigures figures;
  double hits = 0;
  double present = 0;
  for (std::size_t c = 0; c < shape.classes(); ++c) {
    const auto counts = sums.subspan(kClasses + c * kCountsPerClass, kCountsPerClass);
    const double right = counts[0];
    const double support = counts[1];
    const double predicted = counts[2];
    figures.classes.push_back(
        {ratio(right, predicted), ratio(right, support), ratio(2 * right, support + predicted),
         static_cast<std::uint64_t>(support), static_cast<std::uint64_t>(predicted)});
    const ClassFigures& figure = figures.classes.back();
    hits += right;
    present += support + predicted > 0 ? 1 : 0;
    figures.macro_precision += figure.precision;
    figures.macro_recall += figure.recall;
    figures.macro_f1 += figure.f1;
  }
  figures.accuracy = hits / sums[kExamples];
  figures.macro_precision /= present;
  figures.macro_recall /= present;
  figures.macro_f1 /= present;
  if (shape.has_scores()) figures.roc_auc = roc_auc(scores);
  if (shape.has_confusion()) {
    for (const double count : sums.subspan(kClasses + shape.classes() * kCountsPerClass)) {
      figures.confusion.push_back(static_cast<std::uint64_t>(count));
    }
  }
  return figures;
}

RegressionFigures regression_figures(const Shape& shape, std::span<const double> sums) {
  const double examples = sums[kExamples];
  const double values = examples * static_cast<double>(shape.targets);
  double squared_error = 0;
  double r2 = 0;
  bool varies = true;
  for (std::size_t t = 0; t < shape.targets; ++t) {
    const auto target = sums.subspan(kTargets + t * kSumsPerTarget, kSumsPerTarget);
    const double variation = target[2] - target[1] * target[1] / examples;
    squared_error += target[0];
    // Written so that NaN sums of a diverged model keep their NaN.
    if (variation <= kZeroVariance * target[2]) {
      varies = false;
    } else {
      r2 += (1 - target[0] / variation) / static_cast<double>(shape.targets);
    }
  }
  RegressionFigures figures;
  figures.rmse = std::sqrt(squared_error / values);
  figures.mae = sums[kAbsoluteError] / values;
  if (varies) figures.r2 = r2;
  return figures;
}

}  // namespace

std::size_t Shape::classes() const {
  switch (task) {
    case Task::classification: return outputs;
    case Task::binary_classification: return 2;
    case Task::regression: return 0;
  }
  return 0;
}

bool Shape::has_scores() const { return classes() == 2; }

bool Shape::has_confusion() const { return classes() > 0 && classes() <= kMaxConfusionClasses; }

std::size_t Shape::sum_count() const {
  if (task == Task::regression) return kTargets + kSumsPerTarget * targets;
  return kClasses + kCountsPerClass * classes() + (has_confusion() ? classes() * classes() : 0);
}

void CompensatedSum::add(double value) {
  const double sum = sum_ + value;
  error_ += std::abs(sum_) >= std::abs(value) ? (sum_ - sum) + value : (value - sum) + sum_;
  sum_ = sum;
}

Tally::Tally(Shape shape) : shape_(shape) {
  switch (shape.task) {
    case Task::classification:
      check(shape.outputs >= 2 && shape.targets == 1, "two or more logits and one class target");
      break;
    case Task::binary_classification:
      check(shape.outputs == 1 && shape.targets == 1, "one logit and one binary target");
      break;
    case Task::regression:
      check(shape.outputs >= 1 && shape.outputs == shape.targets, "one output per target");
      target_sums_.resize(shape.targets);
      return;
  }
  counts_.resize(shape.sum_count() - kClasses);
}

void Tally::add(std::size_t examples, std::span<const float> outputs,
                std::span<const float> targets, double loss_sum) {
  check(outputs.size() == examples * shape_.outputs && targets.size() == examples * shape_.targets,
        "outputs and targets of an evaluated batch have its number of rows");
  examples_ += examples;
  loss_.add(loss_sum);
  for (std::size_t i = 0; i < examples; ++i) {
    const auto row = outputs.subspan(i * shape_.outputs, shape_.outputs);
    if (shape_.task == Task::regression) {
      add_values(row, targets.subspan(i * shape_.targets, shape_.targets));
    } else {
      add_prediction(row, targets[i]);
    }
  }
}

void Tally::add_prediction(std::span<const float> outputs, float target) {
  const std::size_t classes = shape_.classes();
  check(target >= 0 && target < static_cast<float>(classes) && target == std::floor(target),
        "the target of an evaluated example is a class");
  const auto label = static_cast<std::size_t>(target);
  const bool one_logit = shape_.task == Task::binary_classification;
  const auto predicted =
      one_logit ? static_cast<std::size_t>(outputs[0] > 0)
                : static_cast<std::size_t>(std::max_element(outputs.begin(), outputs.end()) -
                                           outputs.begin());
  if (label == predicted) ++counts_[label * kCountsPerClass];
  ++counts_[label * kCountsPerClass + 1];
  ++counts_[predicted * kCountsPerClass + 2];
  if (shape_.has_confusion()) ++counts_[(kCountsPerClass + label) * classes + predicted];
  if (shape_.has_scores()) {
    const double score = one_logit ? outputs[0] : double{outputs[1]} - double{outputs[0]};
    scores_.insert(scores_.end(), {score, static_cast<double>(target)});
  }
}

void Tally::add_values(std::span<const float> outputs, std::span<const float> targets) {
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const double target = targets[t];
    const double error = outputs[t] - target;
    absolute_error_.add(std::abs(error));
    target_sums_[t].squared_error.add(error * error);
    target_sums_[t].target.add(target);
    target_sums_[t].squared_target.add(target * target);
  }
}

std::vector<double> Tally::sums() const {
  std::vector<double> sums{static_cast<double>(examples_), loss_.value()};
  sums.reserve(shape_.sum_count());
  sums.insert(sums.end(), counts_.begin(), counts_.end());
  if (shape_.task == Task::regression) sums.push_back(absolute_error_.value());
  for (const TargetSums& target : target_sums_) {
    sums.insert(sums.end(), {target.squared_error.value(), target.target.value(),
                             target.squared_target.value()});
  }
  return sums;
}

std::vector<std::pair<std::string, double>> Evaluation::pairs() const {
  std::vector<std::pair<std::string, double>> pairs{{"loss", loss}};
  if (classification) {
    pairs.emplace_back("accuracy", classification->accuracy);
    pairs.emplace_back("macro_precision", classification->macro_precision);
    pairs.emplace_back("macro_recall", classification->macro_recall);
    pairs.emplace_back("macro_f1", classification->macro_f1);
    if (classification->roc_auc) pairs.emplace_back("roc_auc", *classification->roc_auc);
  }
  if (regression) {
    pairs.emplace_back("rmse", regression->rmse);
    pairs.emplace_back("mae", regression->mae);
    if (regression->r2) pairs.emplace_back("r2", *regression->r2);
  }
  return pairs;
}

Evaluation evaluate(const Shape& shape, std::span<const double> sums,
                    std::span<const double> scores) {
  check(sums.size() == shape.sum_count(), "evaluation sums have the length of their shape");
  check(sums[kExamples] >= 1, "an evaluation has at least one example");
  Evaluation evaluation;
  evaluation.examples = static_cast<std::uint64_t>(sums[kExamples]);
  evaluation.loss = sums[kLoss] / sums[kExamples];
  if (shape.task == Task::regression) {
    evaluation.regression = regression_figures(shape, sums);
  } else {
    evaluation.classification = classification_figures(shape, sums, scores);
  }
  return evaluation;
}

std::optional<double> roc_auc(std::span<const double> scores) {
  struct Scored {
    double score;
    bool positive;
  };
  std::vector<Scored> ranked;
  ranked.reserve(scores.size() / 2);
  for (std::size_t i = 0; i + 1 < scores.size(); i += 2) {
    if (std::isnan(scores[i])) return std::nullopt;
    ranked.push_back({scores[i], scores[i + 1] > 0.5});
  }
  std::sort(ranked.begin(), ranked.end(),
            [](const Scored& a, const Scored& b) { return a.score < b.score; });

  // Walks up the scores, equal ones together. Half pairs are counted in integers, so that the area
  // does not depend on the order in which the scores were collected.
  std::uint64_t negatives = 0;
  std::uint64_t positives = 0;
  std::uint64_t half_pairs = 0;
  for (auto first = ranked.begin(); first != ranked.end();) {
    const auto last =
        std::find_if(first, ranked.end(), [&](const Scored& s) { return s.score != first->score; });
    const auto here = static_cast<std::uint64_t>(
        std::count_if(first, last, [](const Scored& s) { return s.positive; }));
    const std::uint64_t against = static_cast<std::uint64_t>(last - first) - here;
    half_pairs += 2 * here * negatives + here * against;
    positives += here;
    negatives += against;
    first = last;
  }
  if (positives == 0 || negatives == 0) return std::nullopt;
  return static_cast<double>(half_pairs) /
         (2 * static_cast<double>(positives) * static_cast<double>(negatives));
}

}  // namespace sheaf::metrics
