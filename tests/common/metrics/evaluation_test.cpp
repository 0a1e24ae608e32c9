// Expected figures are worked by hand from the formulas in evaluation.h unless a test says
// otherwise.
#include "common/metrics/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/random.h"

namespace sheaf::metrics {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Optional;

constexpr Shape kThreeClasses{Task::classification, 3, 1};
constexpr Shape kTwoLogits{Task::classification, 2, 1};
constexpr Shape kOneLogit{Task::binary_classification, 1, 1};
constexpr Shape kOneValue{Task::regression, 1, 1};

// Logits that predict the given classes.
std::vector<float> logits_for(const std::vector<int>& predicted, int classes) {
  std::vector<float> logits;
  for (const int chosen : predicted) {
    for (int c = 0; c < classes; ++c) logits.push_back(c == chosen ? 2.0F : -1.0F);
  }
  return logits;
}

Evaluation evaluate_all(const Shape& shape, const std::vector<float>& outputs,
                        const std::vector<float>& targets, double loss_sum = 0) {
  Tally tally(shape);
  tally.add(targets.size() / shape.targets, outputs, targets, loss_sum);
  return evaluate(shape, tally.sums(), tally.scores());
}

ClassificationFigures classify(const std::vector<int>& predicted, const std::vector<float>& labels,
                               int classes) {
  const Shape shape{Task::classification, static_cast<std::size_t>(classes), 1};
  return *evaluate_all(shape, logits_for(predicted, classes), labels).classification;
}

TEST(Evaluation, ThreeClassesAreCountedAsByHand) {
  //      predicted 0  1  2
  // class 0        2  1  1
  //       1        1  2  0
  //       2        0  1  2
  const auto evaluation = evaluate_all(kThreeClasses, logits_for({0, 0, 1, 2, 1, 1, 0, 2, 2, 1}, 3),
                                       {0, 0, 0, 0, 1, 1, 1, 2, 2, 2}, 4.5);
  EXPECT_EQ(evaluation.examples, 10U);
  EXPECT_DOUBLE_EQ(evaluation.loss, 0.45);
  EXPECT_FALSE(evaluation.regression);
  const ClassificationFigures& figures = evaluation.classification.value();
  EXPECT_THAT(figures.confusion, ElementsAre(2, 1, 1, 1, 2, 0, 0, 1, 2));
  EXPECT_DOUBLE_EQ(figures.accuracy, 0.6);
  EXPECT_DOUBLE_EQ(figures.classes[0].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.classes[0].recall, 0.5);
  EXPECT_DOUBLE_EQ(figures.classes[0].f1, 4.0 / 7);
  EXPECT_EQ(figures.classes[0].support, 4U);
  EXPECT_EQ(figures.classes[0].predicted, 3U);
  EXPECT_DOUBLE_EQ(figures.classes[1].precision, 0.5);
  EXPECT_DOUBLE_EQ(figures.classes[1].recall, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.classes[1].f1, 4.0 / 7);
  EXPECT_DOUBLE_EQ(figures.classes[2].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.classes[2].recall, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.classes[2].f1, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.macro_precision, 11.0 / 18);
  EXPECT_DOUBLE_EQ(figures.macro_recall, 11.0 / 18);
  EXPECT_DOUBLE_EQ(figures.macro_f1, 38.0 / 63);
  EXPECT_FALSE(figures.roc_auc) << "three classes have no ROC curve";
}

TEST(Evaluation, PerfectPredictionsScoreOne) {
  const auto figures = classify({0, 1, 2, 2}, {0, 1, 2, 2}, 3);
  EXPECT_EQ(figures.accuracy, 1);
  EXPECT_EQ(figures.macro_precision, 1);
  EXPECT_EQ(figures.macro_recall, 1);
  EXPECT_EQ(figures.macro_f1, 1);
}

TEST(Evaluation, PredictionsThatAreAllWrongScoreZero) {
  const auto figures = classify({1, 2, 0}, {0, 1, 2}, 3);
  EXPECT_EQ(figures.accuracy, 0);
  EXPECT_EQ(figures.macro_precision, 0);
  EXPECT_EQ(figures.macro_recall, 0);
  EXPECT_EQ(figures.macro_f1, 0);
}

TEST(Evaluation, ClassThatNeverOccursIsLeftOutOfTheMacroFigures) {
  // Class 2 is neither a target nor predicted: the means are over classes 0 and 1 alone.
  const auto figures = classify({0, 1, 1}, {0, 0, 1}, 3);
  EXPECT_DOUBLE_EQ(figures.macro_precision, (1.0 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(figures.macro_recall, (0.5 + 1.0) / 2);
  EXPECT_DOUBLE_EQ(figures.macro_f1, 2.0 / 3);
  EXPECT_EQ(figures.classes[2].support, 0U);
  EXPECT_EQ(figures.classes[2].f1, 0);
}

TEST(Evaluation, ClassThatIsOnlyPredictedCountsAsZeroInTheMacroFigures) {
  // Class 2 is predicted once and never true: 0/1 precision, 0/0 recall counts as 0.
  const auto figures = classify({0, 2, 1}, {0, 0, 1}, 3);
  EXPECT_DOUBLE_EQ(figures.macro_precision, (1.0 + 1.0 + 0.0) / 3);
  EXPECT_DOUBLE_EQ(figures.macro_recall, (0.5 + 1.0 + 0.0) / 3);
}

TEST(Evaluation, FirstOfEqualLogitsIsThePrediction) {
  const auto evaluation = evaluate_all(kThreeClasses, {1, 1, 0, 0, 3, 3}, {0, 1});
  EXPECT_EQ(evaluation.classification->accuracy, 1);
}

TEST(Evaluation, OneLogitPredictsTheClassOfItsSign) {
  // z > 0 is class 1; z = 0 is class 0. Counts: class 0 right twice, class 1 right once of two.
  const auto figures = *evaluate_all(kOneLogit, {-1, 0, 2, -3}, {0, 0, 1, 1}).classification;
  EXPECT_THAT(figures.confusion, ElementsAre(2, 0, 1, 1));
  EXPECT_DOUBLE_EQ(figures.accuracy, 0.75);
  EXPECT_DOUBLE_EQ(figures.classes[0].precision, 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.classes[1].f1, 2.0 / 3);
}

TEST(Evaluation, AreaUnderTheRocCurveCountsTiesHalf) {
  // Positives 0.9, 0.4, 0.4; negatives 0.4, 0.1. Of six pairs: 0.9 wins 2, each 0.4 wins 1 and ties
  // 1: 4 wins and 2 ties.
  const auto figures =
      *evaluate_all(kOneLogit, {0.9F, 0.4F, 0.4F, 0.4F, 0.1F}, {1, 1, 1, 0, 0}).classification;
  EXPECT_THAT(figures.roc_auc, Optional(DoubleEq(5.0 / 6)));
}

TEST(Evaluation, AreaUnderTheRocCurveOfTwoLogitsUsesTheirDifference) {
  // Differences: 2 (positive), -1 (positive), 0 (negative): one of two pairs is won.
  const auto figures = *evaluate_all(kTwoLogits, {1, 3, 4, 3, 5, 5}, {1, 1, 0}).classification;
  EXPECT_THAT(figures.roc_auc, Optional(DoubleEq(0.5)));
}

TEST(Evaluation, AreaUnderTheRocCurveEqualsACountOfAllPairs) {
  Stream random(11, Purpose::test);
  for (int round = 0; round < 20; ++round) {
    std::vector<double> scores;
    for (int i = 0; i < 200; ++i) {
      scores.push_back(std::floor(random.uniform_double() * 30));  // many ties
      scores.push_back(random.uniform() < 0.3F ? 1 : 0);
    }
    double won = 0;
    double pairs = 0;
    for (std::size_t i = 0; i < scores.size(); i += 2) {
      for (std::size_t j = 0; j < scores.size(); j += 2) {
        if (scores[i + 1] == 1 && scores[j + 1] == 0) {
          won += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
          ++pairs;
        }
      }
    }
    EXPECT_THAT(roc_auc(scores), Optional(DoubleEq(won / pairs)));
  }
}

TEST(Evaluation, AreaUnderTheRocCurveIsUndefinedWithoutBothClasses) {
  EXPECT_FALSE(evaluate_all(kOneLogit, {0.1F, 0.2F}, {1, 1}).classification->roc_auc);
  EXPECT_FALSE(evaluate_all(kOneLogit, {0.1F, 0.2F}, {0, 0}).classification->roc_auc);
  EXPECT_FALSE(roc_auc({}));
}

TEST(Evaluation, AreaUnderTheRocCurveIsUndefinedForADivergedModel) {
  EXPECT_FALSE(roc_auc(std::vector<double>{std::nan(""), 1, 0.5, 0}));
}

TEST(Evaluation, RegressionFiguresAreThoseWorkedByHand) {
  // y = 1 2 3 4, errors 1 0 -1 2: sum |e| = 4, sum e² = 6, sum (y - 2.5)² = 5.
  const auto evaluation = evaluate_all(kOneValue, {2, 2, 2, 6}, {1, 2, 3, 4}, 3);
  EXPECT_FALSE(evaluation.classification);
  const RegressionFigures& figures = evaluation.regression.value();
  EXPECT_DOUBLE_EQ(evaluation.loss, 0.75);
  EXPECT_DOUBLE_EQ(figures.mae, 1);
  EXPECT_DOUBLE_EQ(figures.rmse, std::sqrt(1.5));
  EXPECT_THAT(figures.r2, Optional(DoubleEq(1 - 6.0 / 5)));
}

TEST(Evaluation, SeveralTargetsShareRmseAndAverageR2) {
  // Target 0: y = 0 2, errors 0 0: R² = 1. Target 1: y = 0 4, errors 1 1: R² = 1 - 2/8.
  const auto figures =
      *evaluate_all({Task::regression, 2, 2}, {0, 1, 2, 5}, {0, 0, 2, 4}).regression;
  EXPECT_DOUBLE_EQ(figures.mae, 0.5);
  EXPECT_DOUBLE_EQ(figures.rmse, std::sqrt(0.5));
  EXPECT_THAT(figures.r2, Optional(DoubleEq((1 + 0.75) / 2)));
}

TEST(Evaluation, R2IsUndefinedWhenTheTargetDoesNotVary) {
  // 0.1 is no sum of few powers of two: n times its square is not the square of its sum over n in
  // floating point, and still no variance is seen.
  const std::vector<float> targets(1000, 0.1F);
  const auto evaluation = evaluate_all(kOneValue, std::vector<float>(1000, 0.3F), targets);
  EXPECT_FALSE(evaluation.regression->r2);
  EXPECT_THAT(evaluation.regression->mae, DoubleNear(0.2, 1e-7));
}

TEST(Evaluation, R2SurvivesALargeMean) {
  // y = m - 1, m + 1 in equal parts with m = 10⁶, errors 0.5: R² = 1 - 0.25 / 1.
  std::vector<float> targets;
  std::vector<float> outputs;
  for (int i = 0; i < 10000; ++i) {
    targets.push_back(1e6F + (i % 2 == 0 ? 1.0F : -1.0F));
    outputs.push_back(targets.back() + 0.5F);
  }
  EXPECT_THAT(evaluate_all(kOneValue, outputs, targets).regression->r2,
              Optional(DoubleNear(0.75, 1e-3)));
}

TEST(Evaluation, NonFiniteOutputsGiveNonFiniteFigures) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto evaluation = evaluate_all(kOneValue, {nan, 1}, {1, 2}, nan);
  EXPECT_TRUE(std::isnan(evaluation.loss));
  EXPECT_TRUE(std::isnan(evaluation.regression->rmse));
  EXPECT_TRUE(std::isnan(evaluation.regression->r2.value()));
}

TEST(Evaluation, TalliesMergedInAnyGroupingGiveTheSameFigures) {
  constexpr std::size_t kExamples = 600;
  constexpr std::size_t kParts = 6;
  for (const Shape& shape : {kThreeClasses, kTwoLogits, kOneLogit, kOneValue}) {
    Stream random(5, Purpose::test, shape.outputs);
    std::vector<float> outputs(kExamples * shape.outputs);
    std::vector<float> targets(kExamples);
    for (float& output : outputs) output = static_cast<float>(random.normal());
    for (float& target : targets) {
      target = std::floor(random.uniform() *
                          static_cast<float>(std::max<std::size_t>(shape.classes(), 5)));
      if (shape.classes() > 0) target = std::fmod(target, static_cast<float>(shape.classes()));
    }
    Tally whole(shape);
    whole.add(kExamples, outputs, targets, 1.25 * kExamples);
    const auto expected = evaluate(shape, whole.sums(), whole.scores()).pairs();

    // Every sixth example to each part, parts joined in ascending and in descending order.
    std::vector<Tally> parts(kParts, Tally(shape));
    for (std::size_t i = 0; i < kExamples; ++i) {
      parts[i % kParts].add(1, std::span(outputs).subspan(i * shape.outputs, shape.outputs),
                            std::span(targets).subspan(i, 1), 1.25);
    }
    for (const bool ascending : {true, false}) {
      std::vector<double> sums(shape.sum_count());
      std::vector<double> scores;
      for (std::size_t k = 0; k < kParts; ++k) {
        const Tally& part = parts[ascending ? k : kParts - 1 - k];
        const auto part_sums = part.sums();
        for (std::size_t s = 0; s < sums.size(); ++s) sums[s] += part_sums[s];
        scores.insert(scores.end(), part.scores().begin(), part.scores().end());
      }
      const auto merged = evaluate(shape, sums, scores).pairs();
      ASSERT_EQ(merged.size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(merged[i].first, expected[i].first);
        if (shape.classes() > 0) {
          EXPECT_EQ(merged[i].second, expected[i].second) << "counts are exact";
        } else {
          EXPECT_NEAR(merged[i].second, expected[i].second, 1e-13);
        }
      }
    }
  }
}

TEST(Evaluation, ManyClassesAreCountedWithoutAConfusionMatrix) {
  const Shape shape{Task::classification, kMaxConfusionClasses + 1, 1};
  std::vector<float> logits(2 * shape.outputs);
  logits[kMaxConfusionClasses] = 1;  // right
  logits[shape.outputs + 7] = 1;     // wrong
  const auto figures =
      *evaluate_all(shape, logits, {static_cast<float>(kMaxConfusionClasses), 8}).classification;
  EXPECT_TRUE(figures.confusion.empty());
  EXPECT_DOUBLE_EQ(figures.accuracy, 0.5);
  EXPECT_DOUBLE_EQ(figures.macro_recall, 1.0 / 3) << "classes 7, 8 and the last occur";
}

TEST(Evaluation, PairsNameTheDefinedFiguresInOrder) {
  const auto names = [](const Evaluation& evaluation) {
    std::vector<std::string> list;
    for (const auto& [name, value] : evaluation.pairs()) list.push_back(name);
    return list;
  };
  EXPECT_THAT(
      names(evaluate_all(kOneLogit, {1, -1}, {1, 0})),
      ElementsAre("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1", "roc_auc"));
  EXPECT_THAT(names(evaluate_all(kOneValue, {1, 2}, {1, 2})),
              ElementsAre("loss", "rmse", "mae", "r2"));
  EXPECT_THAT(names(evaluate_all(kOneValue, {1, 2}, {1, 1})), ElementsAre("loss", "rmse", "mae"));
}

TEST(Evaluation, LossOfManyBatchesKeepsItsLastDigits) {
  // 10⁶ times 0.1 summed naively in fp64 is off by 1e-6 or so; compensated it is exact to rounding.
  Tally tally(kOneValue);
  for (int i = 0; i < 1000000; ++i) tally.add(0, {}, {}, 0.1);
  EXPECT_DOUBLE_EQ(tally.sums()[1], 100000);
}

TEST(Evaluation, TargetThatIsNoClassBreaksAnInvariant) {
  Tally tally(kThreeClasses);
  const std::vector<float> logits(3);
  for (const float target : {3.0F, -1.0F, 0.5F, std::nanf("")}) {
    EXPECT_THROW(tally.add(1, logits, std::vector<float>{target}, 0), Error);
  }
}

TEST(Evaluation, SumsOfAnotherShapeAreRefused) {
  EXPECT_THROW(evaluate(kThreeClasses, Tally(kOneValue).sums()), Error);
}

}  // namespace
}  // namespace sheaf::metrics
