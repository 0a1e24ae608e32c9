#include "launcher/config/privacy_arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// `sheaf privacy` with these options, beside those that every call needs.
Command asked(std::vector<std::string> options) {
  const std::vector<std::string> needed = {"--sampling-rate", "0.01", "--noise", "1.5",
                                           "--steps",         "100",  "--delta", "1e-5"};
  std::vector<std::string> arguments = {"privacy"};
  for (std::size_t i = 0; i < needed.size(); i += 2) {
    if (std::ranges::find(options, needed[i]) != options.end()) continue;
    const bool calibrates = std::ranges::find(options, "--epsilon") != options.end();
    if (needed[i] == "--noise" && calibrates) continue;
    arguments.insert(arguments.end(), {needed[i], needed[i + 1]});
  }
  arguments.insert(arguments.end(), options.begin(), options.end());
  return parse_command_line(arguments);
}

std::string refusal(std::vector<std::string> options) {
  const Command command = asked(std::move(options));
  const auto* fault = std::get_if<UsageFault>(&command);
  return fault ? fault->line : "no fault";
}

TEST(PrivacyArguments, AreNumbersOrAFraction) {
  const auto plain = std::get<PrivacyCommand>(asked({}));
  EXPECT_EQ(plain.steps.sampling_rate, 0.01);
  EXPECT_EQ(plain.steps.noise, 1.5);
  EXPECT_EQ(plain.steps.count, 100);
  EXPECT_EQ(plain.delta, 1e-5);
  EXPECT_FALSE(plain.epsilon);
  EXPECT_FALSE(plain.rdp);
  EXPECT_FALSE(plain.json);
  EXPECT_EQ(plain.adjacency, privacy::Adjacency::add_remove);
  const auto other =
      std::get<PrivacyCommand>(asked({"--sampling-rate", "150/60000", "--epsilon", "3", "--rdp",
                                      "--json", "--adjacency", "replace-one"}));
  EXPECT_EQ(other.steps.sampling_rate, 0.0025);
  EXPECT_EQ(other.epsilon, 3);
  EXPECT_TRUE(other.rdp);
  EXPECT_TRUE(other.json);
  EXPECT_EQ(other.adjacency, privacy::Adjacency::replace_one);
}

TEST(PrivacyArguments, AColumnIsInEveryBatch) {
  EXPECT_EQ(std::get<PrivacyCommand>(asked({"--unit", "column", "--sampling-rate", "1"}))
                .steps.sampling_rate,
            1);
  EXPECT_EQ(refusal({"--unit", "column"}),
            "sheaf privacy: found --sampling-rate 0.01 with --unit column, expected "
            "--sampling-rate 1: every batch holds every feature; or --unit user, where a column "
            "says whose each example is");
}

TEST(PrivacyArguments, UsersAreSampled) {
  const auto command = std::get<PrivacyCommand>(asked({"--unit", "user"}));
  EXPECT_EQ(command.unit, "user");
  EXPECT_EQ(command.steps.sampling_rate, 0.01);
  EXPECT_EQ(std::get<PrivacyCommand>(asked({})).unit, "example");
  EXPECT_THAT(refusal({"--unit", "row"}), HasSubstr("--unit"));
}

TEST(PrivacyArguments, MistakesAreOneLine) {
  for (const char* rate : {"0", "-0.1", "1.01", "x", "0.1x", "1/0", "2/1", "/5", "nan", "inf"}) {
    EXPECT_EQ(refusal({"--sampling-rate", rate}),
              "sheaf privacy: found --sampling-rate " + std::string(rate) +
                  ", expected a number above 0 and up to 1, or a fraction like 150/60000");
  }
  for (const char* noise : {"0", "-1", "nan", "inf", "one"}) {
    EXPECT_THAT(refusal({"--noise", noise}), StartsWith("sheaf privacy: found --noise ")) << noise;
  }
  for (const char* epsilon : {"0", "-1", "nan", "inf"}) {
    EXPECT_THAT(refusal({"--epsilon", epsilon}), StartsWith("sheaf privacy: found --epsilon "));
  }
  for (const char* steps : {"0", "1.5", "-3", "1e4", "1000000001"}) {
    EXPECT_THAT(refusal({"--steps", steps}), StartsWith("sheaf privacy: found --steps ")) << steps;
  }
  for (const char* delta : {"0", "1", "2", "-1e-5", "nan"}) {
    EXPECT_THAT(refusal({"--delta", delta}), StartsWith("sheaf privacy: found --delta ")) << delta;
  }
  EXPECT_THAT(refusal({"--noise", "1", "--epsilon", "3"}), HasSubstr("both --noise and --epsilon"));
  const std::vector<std::string> neither = {"privacy", "--sampling-rate", "1",   "--steps",
                                            "1",       "--delta",         "1e-5"};
  EXPECT_THAT(std::get<UsageFault>(parse_command_line(neither)).line,
              HasSubstr("neither --noise nor --epsilon"));
  EXPECT_THAT(std::get<UsageFault>(parse_command_line(std::vector<std::string>{"privacy"})).line,
              HasSubstr("found no --sampling-rate"));
  EXPECT_THAT(refusal({"--adjacency", "swap"}), HasSubstr("--adjacency"));
  EXPECT_THAT(refusal({"--dleta", "1"}), HasSubstr("try --delta"));
}

std::string refusal_of_shared(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"privacy", "--steps", "30",  "--noise",
                                        "5",       "--delta", "1e-5"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Command command = parse_command_line(arguments);
  const auto* fault = std::get_if<UsageFault>(&command);
  return fault ? fault->line : "no fault";
}

TEST(PrivacyArguments, StepsThatShareNoiseHaveBandsAndEpochs) {
  const std::vector<std::string> arguments = {"privacy", "--bands",   "16",  "--steps-between",
                                              "120",     "--epsilon", "8",   "--steps",
                                              "1200",    "--delta",   "1e-5"};
  const Command parsed = parse_command_line(arguments);
  const auto& command = std::get<PrivacyCommand>(parsed);
  ASSERT_TRUE(command.shared);
  EXPECT_EQ(command.shared->bands, 16U);
  EXPECT_EQ(command.shared->between, 120U);
  EXPECT_EQ(command.shared->count, 1200U);
  EXPECT_EQ(command.adjacency, privacy::Adjacency::replace_one);
  const std::vector<std::string> both = {"--bands", "4", "--steps-between", "10"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), both.begin(), both.end());
    return refusal_of_shared(more);
  };
  EXPECT_EQ(with({}), "no fault");
  EXPECT_EQ(with({"--adjacency", "replace-one"}), "no fault");
  EXPECT_THAT(with({"--adjacency", "add-remove"}), HasSubstr("expected replace-one"));
  EXPECT_THAT(with({"--sampling-rate", "0.1"}), HasSubstr("--sampling-rate with --bands"));
  EXPECT_THAT(with({"--unit", "user"}), HasSubstr("--unit user with --bands"));
  EXPECT_THAT(refusal_of_shared({"--bands", "4"}), HasSubstr("found no --steps-between"));
  EXPECT_THAT(refusal_of_shared({"--steps-between", "4"}), HasSubstr("found no --bands"));
  EXPECT_THAT(refusal_of_shared({"--bands", "5000", "--steps-between", "4"}),
              HasSubstr("found --bands 5000"));
  EXPECT_THAT(refusal_of_shared({"--bands", "4", "--steps-between", "0"}),
              HasSubstr("found --steps-between 0"));
}

TEST(PrivacyArguments, FromStandsAlone) {
  const std::vector<std::string> arguments = {"privacy", "--from", "runs/a", "--rdp", "--json"};
  const Command command = parse_command_line(arguments);
  const auto& privacy = std::get<PrivacyCommand>(command);
  EXPECT_EQ(privacy.run, "runs/a");
  EXPECT_TRUE(privacy.rdp);
  EXPECT_TRUE(privacy.json);
  EXPECT_THAT(refusal({"--from", "runs/a"}), HasSubstr("--from with --sampling-rate"));
}

}  // namespace
}  // namespace sheaf::launcher
