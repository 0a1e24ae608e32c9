#include "launcher/run/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RunResult result_of(const std::optional<metrics::Evaluation>& test) {
  RunResult result;
  result.job = "demo";
  result.servers = 2;
  result.workers = 2;
  result.parameters = 109386;
  result.steps = 6752;
  result.epochs = 8;
  result.seconds = 21.44;
  result.examples_per_s = 20187;
  result.traffic = {{1290000000, 438312, 0, 0}};
  result.transport = "tcp";
  result.model_sha256 = "3f9a6c1b2d4e5f60718293a4b5c6d7e8f9";
  result.bit_exact = true;
  result.test = test;
  return result;
}

// Rows are targets.
metrics::Evaluation evaluation_of(std::size_t classes, const std::vector<double>& confusion) {
  const metrics::Shape shape{metrics::Task::classification, classes, 1};
  std::vector<double> sums(shape.sum_count());
  for (std::size_t t = 0; t < classes; ++t) {
    for (std::size_t p = 0; p < classes; ++p) {
      const double count = confusion[t * classes + p];
      sums[0] += count;
      sums[2 + 3 * p] += t == p ? count : 0;
      sums[3 + 3 * t] += count;
      sums[4 + 3 * p] += count;
      if (shape.has_confusion()) sums[2 + 3 * classes + t * classes + p] = count;
    }
  }
  sums[1] = 0.34118 * sums[0];
  return metrics::evaluate(shape, sums);
}

std::size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  std::size_t longest = 0;
  for (std::string line; std::getline(lines, line);) longest = std::max(longest, line.size());
  return longest;
}

constexpr const char* kTraining =
    R"(Training of 109386 parameters by 2 servers and 2 workers
  time        21.4 s for 6752 steps in 8 epochs
  speed       20.2k examples/s
  traffic     1.29 GB pushed, 438 kB pulled over tcp
  model       sha256 3f9a6c1b2d4e
  bit-exact   yes

Run directory: runs/demo
)";

TEST(ClosingReport, ClassificationIsATable) {
  EXPECT_EQ(closing_report(result_of(evaluation_of(3, {20, 10, 10, 10, 20, 0, 0, 10, 1020})),
                           "runs/demo"),
            std::string(R"(Test part, 1100 examples
  loss        0.3412
  accuracy    0.9636

  class        precision    recall        F1   examples
  0               0.6667    0.5000    0.5714         40
  1               0.5000    0.6667    0.5714         30
  2               0.9903    0.9903    0.9903       1030
  macro mean      0.7190    0.7190    0.7110       1100

              predicted
  class            0     1     2
  0               20    10    10
  1               10    20     0
  2                0    10  1020

)") + kTraining);
}

TEST(ClosingReport, RegressionHasItsThreeFigures) {
  metrics::Evaluation test;
  test.examples = 200;
  test.loss = 0.25;
  test.regression = metrics::RegressionFigures{.rmse = 0.5, .mae = 0.4, .r2 = 0.98765};
  EXPECT_EQ(closing_report(result_of(test), "runs/demo"), std::string(R"(Test part, 200 examples
  loss        0.2500
  RMSE        0.5000
  MAE         0.4000
  R2          0.9877

)") + kTraining);
  test.regression->r2.reset();
  EXPECT_THAT(closing_report(result_of(test), "r"), HasSubstr("R2          undefined"));
}

TEST(ClosingReport, TwoClassesHaveTheAreaUnderTheirRocCurve) {
  auto evaluation = evaluation_of(2, {3, 1, 1, 3});
  evaluation.classification->roc_auc = 0.87654;
  EXPECT_THAT(closing_report(result_of(evaluation), "r"), HasSubstr("ROC-AUC     0.8765\n"));
}

TEST(ClosingReport, StaysWithinItsColumnsForAnyNumberOfClasses) {
  for (const std::size_t classes : {2U, 12U, 13U, 30U, 31U, 200U}) {
    for (const double count : {1.0, 99999.0, 1e9}) {
      const auto text = closing_report(
          result_of(evaluation_of(classes, std::vector<double>(classes * classes, count))), "r");
      EXPECT_LE(longest_line(text), kReportColumns) << classes << " classes";
      EXPECT_EQ(text.find("predicted") != std::string::npos,
                classes == 2 || (classes == 12 && count < 1e6));
    }
  }
  const auto many =
      closing_report(result_of(evaluation_of(200, std::vector<double>(200UL * 200, 1))), "r");
  EXPECT_THAT(many, HasSubstr("(200 classes: see result.json)"));
}

TEST(ClosingReport, WithoutATestPartTheBestPartThereIsIsShown) {
  RunResult result = result_of({});
  EXPECT_THAT(closing_report(result, "r"), ::testing::StartsWith("Training of 109386 parameters"));
  result.train = evaluation_of(2, {3, 1, 1, 3});
  EXPECT_THAT(closing_report(result, "r"), HasSubstr("Training part, 8 examples"));
  result.validation = evaluation_of(2, {3, 1, 1, 2});
  EXPECT_THAT(closing_report(result, "r"), HasSubstr("Validation part, 7 examples"));
}

TEST(ClosingReport, EarlyEndSaysSo) {
  RunResult result = result_of({});
  result.exit = 130;
  result.bit_exact = false;
  result.model_sha256.clear();
  const auto text = closing_report(result, "r");
  EXPECT_THAT(text, HasSubstr("ended early exit code 130: interrupted"));
  EXPECT_THAT(text, HasSubstr("model       none was written"));
  EXPECT_THAT(text, HasSubstr("bit-exact   no"));
}

TEST(FailureReport, IsOneParagraphThatNamesRankPhaseAndLogs) {
  RunResult result = result_of({});
  result.exit = 4;
  result.error = RunError{3, "worker 1", "host2", "step 120",
                          "server 0 waited 5.0 s for its gradients, expected a sign of life every "
                          "1.0 s; look at its log and at the memory of host2."};
  EXPECT_EQ(
      failure_report(result, "runs/demo"),
      R"(Job demo failed: worker 1@host2 (rank 3), step 120: server 0 waited 5.0 s for its gradients,
expected a sign of life every 1.0 s; look at its log and at the memory of host2. Exit code 4: peers
or network lost. Logs: runs/demo/logs
)");
}

TEST(FailureReport, LauncherNeedsNoRank) {
  RunResult result = result_of({});
  result.exit = 2;
  result.error = RunError{{}, "", "", "", "mpirun was not found"};
  EXPECT_EQ(
      failure_report(result, "runs/demo"),
      R"(Job demo failed: the launcher: mpirun was not found. Exit code 2: usage or config. Logs:
runs/demo/logs
)");
}

TEST(FailureReport, IsOnlyForFailures) {
  EXPECT_THROW(failure_report(result_of({}), "r"), Error);
  RunResult failed = result_of({});
  failed.error = RunError{};
  EXPECT_THROW(closing_report(failed, "r"), Error);
}

TEST(ExitCodes, HaveAMeaning) {
  EXPECT_EQ(exit_code_meaning(0), "ok");
  EXPECT_EQ(exit_code_meaning(4), "peers or network lost");
  EXPECT_EQ(exit_code_meaning(75), "preempted");
  EXPECT_EQ(exit_code_meaning(130), "interrupted");
  EXPECT_EQ(exit_code_meaning(137), "ended by signal 9");
  EXPECT_THAT(exit_code_meaning(99), Not(::testing::IsEmpty()));
}

}  // namespace
}  // namespace sheaf::launcher
