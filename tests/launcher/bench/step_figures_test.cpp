// Figures from samples made by hand; every expected value is worked out from their definition.
#include "launcher/bench/step_figures.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <sstream>
#include <string>

namespace sheaf::launcher {
namespace {

using testing::HasSubstr;

// Milliseconds; one wild value each, which a median does not see.
StepSamples samples() {
  StepSamples s;
  s.step = {4e-3, 9e-3, 4e-3};
  s.compute = {2e-3, 2e-3, 8e-3};
  s.exposed = {1.5e-3, 0, 1.5e-3};
  s.displaced = {0.5e-3, 0.5e-3, 7e-3};
  s.exchange = {3e-3, 3e-3, 50e-3};
  s.baseline = {2.5e-3, 2.5e-3, 0.1e-3};
  s.optimizer = {0.25e-3, 0.25e-3, 1};
  s.gemms = {1.6e-3, 1.6e-3, 1};
  s.flops = 160e6;
  s.blas_seconds = 9e-3;
  s.computed_seconds = 12e-3;
  s.allocations = 6;
  return s;
}

TEST(StepFiguresTest, FollowTheirDefinitions) {
  const nlohmann::ordered_json found = step_figures(samples());
  const std::map<std::string, double> expected = {{"step_ms", 4},
                                                  {"compute_ms", 2},
                                                  {"exposed_ms", 1.5},
                                                  {"displaced_ms", 0.5},
                                                  {"exchange_ms", 3},
                                                  {"baseline_step_ms", 2.5},
                                                  {"optimizer_ms", 0.25},
                                                  {"ps_tax", 0.6},        // 4 / 2.5 - 1
                                                  {"gflops", 80},         // 160 Mflop in 2 ms
                                                  {"sgemm_gflops", 100},  // in 1.6 ms
                                                  {"gemm_ratio", 0.8},    // 80 / 100
                                                  {"blas_share", 0.75},   // 9 / 12
                                                  {"allocations_per_step", 2},
                                                  {"steps", 3}};
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [key, value] : expected) {
    ASSERT_TRUE(found.contains(key)) << key;
    EXPECT_DOUBLE_EQ(found[key].get<double>(), value) << key;
  }
}

TEST(StepFiguresTest, NothingMeasuredIsNoDivisionByZero) {
  const nlohmann::ordered_json figures = step_figures({});
  for (const auto& [key, value] : figures.items()) {
    EXPECT_TRUE(std::isfinite(value.get<double>())) << key;
  }
}

TEST(StepFiguresTest, TheTextHasALineWithItsMeaningForEachFigure) {
  nlohmann::ordered_json figures = step_figures(samples());
  figures["privacy_price"] = {{"central", 1.12}, {"local", nullptr}};
  figures["partition_price"] = 1.01;
  figures["data_price"] = 1.05;
  figures["price_of_p"] = {{"1", 1.0}, {"8", 1.25}};
  figures["batch"] = 256;
  figures["workers"] = 2;
  figures["servers"] = 1;
  figures["partitions"] = 2;
  std::ostringstream out;
  print_figures(figures, out);
  const std::string text = out.str();
  for (const char* part :
       {"4.000 ms  one step of the first worker, median of 3; 2 workers and 1 servers",
        "75 % of it in BLAS", "1.500 ms  waiting", "0.500 ms  neither", "2.500 ms  floor of a step",
        "+60.0 %  what the parameter server costs", "80.0 GF/s  matrix products",
        "100.0 GF/s  floor of compute", "0.80  GEMMs / sgemm",
        "privacy, central      1.12  step with clipped examples", "privacy, local           -  the",
        "1.01  one worker with one partition", "1.05  that plain loop",
        "a batch of 256 in P partitions / in one:  P=1 1.00  P=8 1.25"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

}  // namespace
}  // namespace sheaf::launcher
