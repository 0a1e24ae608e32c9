// What [compression] leaves to be chosen, and what it may come to.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "common/base/error.h"
#include "launcher/config/run_config.h"
#include "tests/launcher/config/job_text.h"

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kNone = "{ kind = \"none\" }";
const std::string kInt8 = "{ kind = \"int8\" }";

RunConfig choosing(std::vector<std::string> overrides) {
  overrides.insert(overrides.begin(), {"compression.push.kind=auto", "compression.pull.kind=auto"});
  return RunConfig::from_text(job_with(), "job.toml", overrides);
}

TEST(CompressionConfig, WithoutCandidatesThereIsWhatLosesNothingThatMatters) {
  RunConfig config = choosing({});
  EXPECT_TRUE(config.chooses_push());
  EXPECT_TRUE(config.chooses_pull());
  const auto notes = config.require_sound();
  EXPECT_THAT(config.push_candidates(),
              ElementsAre(kNone, "{ kind = \"int8\", feedback = \"ef\" }"));
  EXPECT_THAT(config.pull_candidates(),
              ElementsAre(kNone, "{ kind = \"int8\", feedback = \"ef21p\" }"));
  EXPECT_THAT(notes, testing::Contains(HasSubstr("compression.pull.kind: sheaf train measures")));
}

// What another section could not have with it, or would lose by it, is no candidate; and every
// candidate makes a sound job.
TEST(CompressionConfig, CandidatesFitTheRestOfTheJob) {
  struct Candidate {
    std::vector<std::string> overrides;
    std::vector<std::string> push, pull;
  };
  const std::string ef = "{ kind = \"int8\", feedback = \"ef\" }";
  const std::string ef21p = "{ kind = \"int8\", feedback = \"ef21p\" }";
  const Candidate rows[] = {
      {{"consistency.kind=asp"}, {kNone, ef}, {kNone, kInt8}},
      {{"consistency.kind=speculate"}, {kNone, kInt8}, {kNone, kInt8}},
      {{"optimizer.non_finite=skip"}, {kNone}, {kNone, ef21p}},
      {{"recovery.snapshot=shm"}, {kNone, ef}, {kNone, ef21p}},
  };
  for (const Candidate& row : rows) {
    SCOPED_TRACE(row.overrides.front());
    RunConfig config = choosing(row.overrides);
    config.require_sound();
    EXPECT_EQ(config.push_candidates(), row.push);
    EXPECT_EQ(config.pull_candidates(), row.pull);
    for (const std::string& push : row.push) {
      for (const std::string& pull : row.pull) {
        auto overrides = row.overrides;
        overrides.insert(overrides.end(), {"compression.push=" + push, "compression.pull=" + pull});
        RunConfig taken = RunConfig::from_text(job_with(), "job.toml", overrides);
        taken.require_sound();
        EXPECT_FALSE(taken.chooses_push() || taken.chooses_pull());
      }
    }
  }
}

TEST(CompressionConfig, CandidatesOfTheJobFileAreTakenAsTheyStand) {
  RunConfig config = RunConfig::from_text(
      job_with() +
          "[compression.push]\nkind = \"auto\"\n"
          "[[compression.push.candidates]]\nkind = \"none\"\n"
          "[[compression.push.candidates]]\nkind = \"topk\"\nratio = 0.02\nvalues = 8\n"
          "feedback = \"ef\"\nexempt_below = 100\n",
      "job.toml");
  config.require_sound();
  ASSERT_EQ(config.push_candidates().size(), 2U);
  EXPECT_EQ(config.push_candidates()[0], kNone);
  const std::string override = "compression.push=" + config.push_candidates()[1];
  RunConfig taken = RunConfig::from_text(job_with(), "job.toml", std::span(&override, 1));
  taken.require_sound();
  EXPECT_EQ(taken.push_kind(), "topk");
  EXPECT_EQ(taken.make_push_codecs().exempt_below, 100U);
  EXPECT_TRUE(taken.error_feedback());
  EXPECT_THAT(taken.resolved(), HasSubstr("ratio = 0.02\nvalues = 8\n"));
}

TEST(CompressionConfig, AFaultOfACandidateNamesIt) {
  const std::pair<std::string, std::string> rows[] = {
      {"{ kind = \"auto\" }",
       "compression.pull.candidates[0].kind: found \"auto\", expected a "
       "compressor by its name"},
      {"{ kind = \"sign\" }",
       "compression.pull.candidates[0].kind: found \"sign\", expected a "
       "compressor that keeps every value near itself"},
      {"{ kind = \"int8\", ratio = 0.1 }",
       "compression.pull.candidates[0].ratio: found an unknown "
       "key"}};
  for (const auto& [candidate, fault] : rows) {
    RunConfig config = choosing({"compression.pull.candidates=[" + candidate + "]"});
    EXPECT_THAT(config.check().faults, ElementsAre(HasSubstr(fault)));
  }
}

TEST(CompressionConfig, WhoeverDoesNotChooseIsToldSo) {
  RunConfig config = choosing({});
  config.require_sound();
  for (const bool pushes : {true, false}) {
    try {
      pushes ? config.make_push_codecs() : config.make_pull_codecs();
      FAIL() << "auto is no compressor";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_THAT(error.message(), HasSubstr("found \"auto\", expected a compressor by its name"));
    }
  }
}

// The job has the tensors layers.0.weight and layers.0.bias.
TEST(CompressionConfig, CheckSaysWhatEachLayerGets) {
  const std::string push =
      "compression.push={ kind = \"topk\", feedback = \"ef\", layers = ["
      "{ match = \"*.weight\", kind = \"int8\", block = 32 }, { match = \"*\", kind = \"none\" }] "
      "}";
  RunConfig config = RunConfig::from_text(job_with(), "job.toml", std::span(&push, 1));
  const auto notes = config.require_sound();
  const auto names = config.make_model({1, 1})->layout().tensors();
  ASSERT_EQ(names.size(), 2U);
  EXPECT_THAT(notes, testing::Contains(fmt::format("compression.push: {} int8, {} int8",
                                                   names[0].name, names[1].name)));
  const auto codecs = config.make_push_codecs();
  ASSERT_EQ(codecs.layers.size(), 2U);
  EXPECT_EQ(codecs.layers[0].match, "*.weight");
  EXPECT_EQ(codecs.layers[0].compressor->max_bytes(64), 66U);
  RunConfig again = RunConfig::from_text(config.resolved(), "job.toml");
  again.require_sound();
  EXPECT_EQ(again.resolved(), config.resolved());
}

TEST(CompressionConfig, AFaultOfALayerNamesIt) {
  const std::pair<std::string, std::string> rows[] = {
      {"compression.push.layers=[{ match = \"conv*\", kind = \"int8\" }]",
       "compression.push.layers[0].match: found \"conv*\", expected the name of a tensor"},
      {"compression.push.layers=[{ kind = \"int8\" }]",
       "compression.push.layers[0].match: found nothing"},
      {"compression.pull.layers=[{ match = \"*\", kind = \"sign\" }]",
       "compression.pull.layers[0].kind: found \"sign\", expected without feedback"},
      {"compression.push={ kind = \"sign\", feedback = \"ef\", layers = [{ match = \"*\", kind = "
       "\"randomk\" }] }",
       "compression.push.layers[0].kind: found \"randomk\", expected with feedback"},
      {"compression.pull={ kind = \"sign\", feedback = \"ef21p\", layers = [{ match = \"*\", kind "
       "= "
       "\"auto\" }] }",
       "compression.pull.layers[0].kind: found \"auto\", expected one of"}};
  for (const auto& [override, fault] : rows) {
    RunConfig config = RunConfig::from_text(job_with(), "job.toml", std::span(&override, 1));
    EXPECT_THAT(config.check().faults, ElementsAre(HasSubstr(fault))) << override;
  }
}

// Momentum is taken once, of gradients, of all layers alike.
TEST(CompressionConfig, MomentumIsTakenOnce) {
  using Overrides = std::vector<std::string>;
  const std::pair<Overrides, std::string> rows[] = {
      {{"optimizer.kind=adam"},
       "optimizer.kind: found \"adam\", expected \"sgd\" with compression.push.kind = \"dgc\""},
      {{"consistency={ kind = \"local\", steps = 2, inner = { kind = \"sgd\", rate = 0.1 } }"},
       "consistency.kind: found \"local\", expected another model with compression.push.kind"},
      {{"compression.push.feedback=ef"},
       "compression.push.kind: found \"dgc\", expected one without feedback of its own"},
      {{"compression.push.layers=[{ match = \"*\", kind = \"dgc\" }]"},
       "compression.push.layers[0].kind: found \"dgc\", expected a compressor without momentum"},
      {{"compression.pull={ kind = \"dgc\", feedback = \"ef21p\" }"},
       "compression.pull.kind: found \"dgc\", expected another one: this one is for gradients"}};
  for (const auto& [more, fault] : rows) {
    Overrides overrides = {"compression.push.kind=dgc"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    RunConfig config = RunConfig::from_text(job_with(), "job.toml", overrides);
    EXPECT_THAT(config.check().faults, ElementsAre(HasSubstr(fault))) << more.front();
  }
  const std::string dgc = "compression.push.kind=dgc";
  RunConfig config = RunConfig::from_text(job_with(), "job.toml", std::span(&dgc, 1));
  config.require_sound();
  EXPECT_EQ(config.residual_runs(), 2U);
}

// Rounds of a step are of all partitions and all layers together, and know no more than they sum.
TEST(CompressionConfig, FactorsAreOfGradientsInBsp) {
  using Overrides = std::vector<std::string>;
  const std::pair<Overrides, std::string> rows[] = {
      {{"consistency.kind=asp"}, "consistency.kind: found \"asp\", expected \"bsp\", in which all"},
      {{"consistency={ kind = \"drop\", backup = 1 }"}, "consistency.kind: found \"drop\""},
      {{"consistency.kind=speculate"}, "consistency.kind: found \"speculate\""},
      {{"consistency={ kind = \"local\", steps = 2, inner = { kind = \"sgd\", rate = 0.1 } }"},
       "consistency.kind: found \"local\", expected \"bsp\", in which all"},
      {{"optimizer.clip_norm=1.0"}, "optimizer.clip_norm: found 1, expected none, as the first"},
      {{"optimizer.non_finite=reject"},
       "optimizer.non_finite: found another word, expected \"abort\""},
      {{"optimizer.non_finite=skip"},
       "optimizer.non_finite: found another word, expected \"abort\""},
      {{"compression.push.feedback=ef"},
       "compression.push.kind: found \"powersgd\", expected one without feedback of its own"},
      {{"compression.push.layers=[{ match = \"*\", kind = \"powersgd\" }]"},
       "compression.push.layers[0].kind: found \"powersgd\", expected a compressor without "
       "factors"},
      {{"compression.pull={ kind = \"powersgd\", feedback = \"ef21p\" }"},
       "compression.pull.kind: found \"powersgd\", expected another one"},
      {{"compression.push.rank=0"}, "compression.push.rank: found 0"}};
  for (const auto& [more, fault] : rows) {
    Overrides overrides = {"compression.push.kind=powersgd"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    RunConfig config = RunConfig::from_text(job_with(), "job.toml", overrides);
    EXPECT_THAT(config.check().faults, ElementsAre(HasSubstr(fault))) << more.front();
  }
  const std::string layers =
      "layers = [{ kind = \"dense\", units = 600 }, { kind = \"dense\", units = 1 }]";
  const Overrides overrides = {"compression.push={ kind = \"powersgd\", rank = 1 }",
                               "network.chunk_kib=64"};
  RunConfig config = RunConfig::from_text(job_with(12, layers), "job.toml", overrides);
  EXPECT_THAT(config.require_sound(),
              testing::Contains(HasSubstr("compression.push: layers.0.weight floats, ")));
  EXPECT_EQ(config.residual_runs(), 1U);
  RunConfig wide = RunConfig::from_text(
      job_with(12,
               "layers = [{ kind = \"dense\", units = 40 }, { kind = \"dense\", units = 30 }, "
               "{ kind = \"dense\", units = 1 }]"),
      "job.toml", overrides);
  EXPECT_THAT(wide.require_sound(),
              testing::Contains(HasSubstr("layers.1.weight powersgd, layers.1.bias floats")));
}

// What is told once has to count once, in each step from then on.
TEST(CompressionConfig, EstimatesAreOfGradientsThatAllServersAreTold) {
  using Overrides = std::vector<std::string>;
  const std::pair<Overrides, std::string> rows[] = {
      {{"consistency.kind=asp"},
       "consistency.kind: found \"asp\", expected \"bsp\" with compression.push.feedback = "
       "\"ef21\": servers add what is new in each gradient"},
      {{"consistency={ kind = \"ssp\", staleness = 1 }"}, "consistency.kind: found \"ssp\""},
      {{"consistency={ kind = \"drop\", backup = 1 }", "run.workers=2"},
       "consistency.kind: found \"drop\""},
      {{"consistency={ kind = \"local\", steps = 2, inner = { kind = \"sgd\", rate = 0.1 } }"},
       "consistency.kind: found \"local\", expected \"bsp\" with compression.push.feedback = "
       "\"ef21\": what servers have of a partition is used again"},
      {{"consistency.kind=speculate", "run.workers=2"},
       "consistency.kind: found \"speculate\", expected \"bsp\" with compression.push.feedback"},
      {{"optimizer.clip_norm=0.5"},
       "optimizer.clip_norm: found 0.5, expected no such norm with compression.push.feedback"},
      {{"compression.push.layers=[{ match = \"*\", kind = \"topk\", values = 2 }]"},
       "compression.push.layers[0].kind: found \"topk\", expected with feedback = \"ef21\" a "
       "compressor that always comes nearer"}};
  for (const auto& [more, fault] : rows) {
    Overrides overrides = {"compression.push={ kind = \"int8\", feedback = \"ef21\" }"};
    overrides.insert(overrides.end(), more.begin(), more.end());
    RunConfig config = RunConfig::from_text(job_with(), "job.toml", overrides);
    EXPECT_THAT(config.check().faults, ElementsAre(HasSubstr(fault))) << more.front();
  }
}

// A mean and what was told; at servers the sum of what was told, behind the state of the optimizer.
TEST(CompressionConfig, EstimatesAreKeptOnBothSides) {
  for (const auto& [momentum, runs] : {std::pair{"0.9", 2U}, std::pair{"0", 1U}}) {
    const std::string push = fmt::format(
        "compression.push={{ kind = \"topk\", feedback = \"ef21\", momentum = {} }}", momentum);
    RunConfig config = RunConfig::from_text(job_with(), "job.toml", std::span(&push, 1));
    config.require_sound();
    EXPECT_TRUE(config.estimates().has_value());
    EXPECT_EQ(config.residual_runs(), runs);
    EXPECT_EQ(config.make_server_optimizer()->state_per_parameter(),
              config.make_optimizer()->state_per_parameter() + 1);
  }
  RunConfig plain = RunConfig::from_text(job_with(), "job.toml");
  plain.require_sound();
  EXPECT_FALSE(plain.estimates().has_value());
  EXPECT_EQ(plain.make_server_optimizer()->state_per_parameter(),
            plain.make_optimizer()->state_per_parameter());
}

}  // namespace
}  // namespace sheaf::launcher
