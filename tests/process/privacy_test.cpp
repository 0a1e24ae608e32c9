// The command as a person calls it. Figures are those of the reference of
// tests/common/privacy/accounting.
#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/checkpoint/posix_disk.h"
#include "common/privacy/accounting/accountant.h"
#include "common/privacy/ledger/ledger_file.h"
#include "tests/common/privacy/ledger/sample_terms.h"
#include "tests/harness/process.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

Answer privacy(std::vector<std::string> options) {
  options.insert(options.begin(), "privacy");
  return ask_program(options, std::chrono::minutes(1));
}

TEST(PrivacyCommand, SaysWhatStepsCost) {
  const Answer answer = privacy({"--sampling-rate", "150/60000", "--noise", "1.3", "--steps",
                                 "6000", "--delta", "1e-5", "--json"});
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.errors, IsEmpty());
  const auto figures = nlohmann::json::parse(answer.output);
  EXPECT_NEAR(figures["epsilon"].get<double>(), 0.6400036734, 1e-7);
  EXPECT_LT(figures["error"].get<double>(), 1e-9);
  EXPECT_EQ(figures["delta"], 1e-5);
  EXPECT_EQ(figures["noise"], 1.3);
  EXPECT_EQ(figures["sampling_rate"], 0.0025);
  EXPECT_EQ(figures["steps"], 6000);
  EXPECT_EQ(figures["accountant"], "contour");
  EXPECT_EQ(figures["adjacency"], "add-remove");
  EXPECT_FALSE(figures.contains("order"));
}

TEST(PrivacyCommand, HasARenyiAccountant) {
  const Answer answer = privacy({"--sampling-rate", "0.04", "--noise", "1.5", "--steps", "2250",
                                 "--delta", "1e-5", "--rdp", "--json"});
  const auto figures = nlohmann::json::parse(answer.output);
  EXPECT_NEAR(figures["epsilon"].get<double>(), 7.3291111714, 1e-8);
  EXPECT_EQ(figures["accountant"], "rdp");
  EXPECT_EQ(figures["order"], 3.9);
}

TEST(PrivacyCommand, FindsTheNoise) {
  const Answer answer = privacy({"--sampling-rate", "2048/60000", "--epsilon", "3", "--steps",
                                 "1171", "--delta", "1e-5", "--json"});
  const auto figures = nlohmann::json::parse(answer.output);
  EXPECT_NEAR(figures["noise"].get<double>(), 1.8076, 1e-3);
  EXPECT_LE(figures["epsilon"].get<double>() + figures["error"].get<double>(), 3);
}

TEST(PrivacyCommand, WritesAFigureALineForPeople) {
  const Answer answer =
      privacy({"--sampling-rate", "1", "--noise", "1", "--steps", "1", "--delta", "1e-5"});
  EXPECT_THAT(answer.output, HasSubstr("epsilon\t4.377178"));
  EXPECT_THAT(answer.output, HasSubstr("\naccountant\tcontour\n"));
}

// 4000 steps of row G of the reference, of which one has been released four times: as 3999 steps
// with noise 1 and one with 1/2, which the accountant takes as such.
TEST(PrivacyCommand, RecomputesWhatARunHasSpentFromItsLedger) {
  const launcher::TemporaryFolder run;
  checkpoint::PosixDisk disk;
  {
    privacy::LedgerFile ledger(disk, run / "ledger.jsonl", privacy::sample_terms());
    std::vector<privacy::OpenRow> open;
    std::vector<privacy::DoneRow> done;
    for (Step step = 0; step < 4000; ++step) {
      open.push_back({step});
      done.push_back({step, 0, privacy::sample_digest(step)});
    }
    ledger.commit({}, open);
    ledger.commit(done, {});
  }
  const auto spent = [&] {
    const Answer answer = privacy({"--from", run.path().string(), "--json"});
    EXPECT_EQ(answer.code, 0) << answer.errors;
    return nlohmann::json::parse(answer.output);
  };
  const auto once = spent();
  EXPECT_NEAR(once["epsilon"].get<double>(), 3.7224739327, 1e-7);
  EXPECT_EQ(once["steps"], 4000);
  EXPECT_EQ(once["releases"], 4000);
  EXPECT_EQ(once["delta"], 1e-5);
  for (std::uint64_t again = 1; again < 4; ++again) {
    privacy::LedgerFile ledger(disk, run / "ledger.jsonl", privacy::sample_terms());
    const privacy::OpenRow open{7};
    const privacy::DoneRow done{7, 0, privacy::sample_digest(10000 + again)};
    ledger.commit({}, {&open, 1});
    ledger.commit({&done, 1}, {});
  }
  const auto replayed = spent();
  const privacy::GaussianSteps steps[] = {{0.01, 1, 3999}, {0.01, 0.5, 1}};
  EXPECT_NEAR(
      replayed["epsilon"].get<double>(),
      privacy::epsilon_of(steps, 1e-5, privacy::Adjacency::add_remove, privacy::Method::tight)
          .value,
      1e-9);
  EXPECT_EQ(replayed["releases"], 4003);
}

// One band, 3 epochs of 4 steps: an example is in three, each with noise of its own.
TEST(PrivacyCommand, SaysHowStepsShareNoise) {
  const launcher::TemporaryFolder run;
  checkpoint::PosixDisk disk;
  privacy::LedgerTerms terms = privacy::sample_terms();
  terms.sampling = privacy::Sampling::cyclic;
  terms.adjacency = privacy::Adjacency::replace_one;
  terms.steps_per_epoch = 4;
  terms.noise = 6;
  terms.bands = 1;
  terms.branch.name = std::string(32, 'a');
  {
    privacy::LedgerFile ledger(disk, run / "ledger.jsonl", terms);
    std::vector<privacy::OpenRow> open;
    for (Step step = 0; step < 12; ++step) open.push_back({step});
    ledger.commit({}, open);
  }
  const Answer answer = privacy({"--from", run.path().string(), "--json"});
  ASSERT_EQ(answer.code, 0) << answer.errors;
  const auto figures = nlohmann::json::parse(answer.output);
  const privacy::GaussianSteps three{1, 6, 3};
  EXPECT_NEAR(figures["epsilon"].get<double>(),
              privacy::epsilon_of({&three, 1}, 1e-5, privacy::Adjacency::replace_one,
                                  privacy::Method::tight)
                  .value,
              1e-9);
  EXPECT_EQ(figures["mechanism"], "correlated");
  EXPECT_EQ(figures["bands"], 1);
  EXPECT_EQ(figures["steps_between"], 4);
  EXPECT_NEAR(figures["sensitivity"].get<double>(), std::sqrt(3.0), 1e-12);
}

TEST(PrivacyCommand, RefusesARunWithoutALedgerAndADamagedOne) {
  const launcher::TemporaryFolder run;
  const Answer none = privacy({"--from", run.path().string()});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.errors, HasSubstr("ledger.jsonl"));
  std::ofstream(run / "ledger.jsonl") << "{\"row\":1,\"check\":\"00000000\"}\n";
  const Answer damaged = privacy({"--from", run.path().string()});
  EXPECT_EQ(damaged.code, 3);
  EXPECT_THAT(damaged.errors, HasSubstr("line 1 is damaged"));
  EXPECT_EQ(std::ranges::count(damaged.errors, '\n'), 1) << damaged.errors;
}

TEST(PrivacyCommand, RefusesBadInputWithOneLineAndExit2) {
  const std::vector<std::vector<std::string>> bad = {
      {},
      {"--sampling-rate", "2", "--noise", "1", "--steps", "1", "--delta", "1e-5"},
      {"--sampling-rate", "1", "--noise", "0", "--steps", "1", "--delta", "1e-5"},
      {"--sampling-rate", "1", "--noise", "1", "--steps", "1", "--delta", "1"},
      {"--sampling-rate", "1", "--noise", "1", "--epsilon", "1", "--steps", "1", "--delta", "0.1"},
      {"--sampling-rate", "1", "--epsilon", "0.01", "--steps", "1", "--delta", "1e-5", "--rdp"}};
  for (const auto& options : bad) {
    const Answer answer = privacy(options);
    EXPECT_EQ(answer.code, 2) << answer.errors;
    EXPECT_THAT(answer.output, IsEmpty());
    EXPECT_EQ(std::ranges::count(answer.errors, '\n'), 1) << answer.errors;
    EXPECT_THAT(answer.errors, HasSubstr("found"));
    EXPECT_THAT(answer.errors, HasSubstr("expected"));
  }
}

}  // namespace
}  // namespace sheaf::harness
