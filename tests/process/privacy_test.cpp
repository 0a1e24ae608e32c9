// The command as a person calls it. Figures are those of the reference of
// tests/common/privacy/accounting.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/harness/process.h"
#include "tests/launcher_files/temporary_folder.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Answer {
  int code = -1;
  std::string output, errors;
};

Answer privacy(std::vector<std::string> options) {
  const launcher::TemporaryFolder folder;
  std::vector<std::string> argv = {SHEAF_PROGRAM, "privacy"};
  argv.insert(argv.end(), options.begin(), options.end());
  Answer answer;
  {
    Process process({.argv = argv, .output = folder / "output", .errors = folder / "errors"});
    answer.code = process.wait(std::chrono::seconds(60)).value_or(-1);
  }
  const auto text = [&](const char* name) {
    std::ostringstream all;
    all << std::ifstream(folder / name).rdbuf();
    return all.str();
  };
  answer.output = text("output");
  answer.errors = text("errors");
  return answer;
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
