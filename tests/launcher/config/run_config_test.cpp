#include "launcher/config/run_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launcher/config/job_text.h"

namespace sheaf::launcher {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

RunConfig config_of(const std::string& text, std::vector<std::string> overrides = {}) {
  // 2026-11-22 03:40:12 UTC
  const RunConfig::Time now{std::chrono::seconds(1'795'318'812)};
  return RunConfig::from_text(text, "job.toml", overrides, now);
}

RunConfig sound(std::vector<std::string> overrides = {}) {
  RunConfig config = config_of(job_with(), std::move(overrides));
  EXPECT_THAT(config.check().faults, IsEmpty());
  return config;
}

std::string sha_with(std::vector<std::string> overrides) {
  return sound(std::move(overrides)).config_sha256();
}

TEST(RunConfigTest, DefaultsAreThoseOfTheReadme) {
  const RunConfig config = sound();
  EXPECT_EQ(config.run().name, "job");
  EXPECT_EQ(config.run().workers, 2U);
  EXPECT_EQ(config.run().servers, 1U);
  EXPECT_EQ(config.run().partitions, 2U);
  EXPECT_EQ(config.run().epochs, 1U);
  EXPECT_FALSE(config.run().steps);
  EXPECT_EQ(config.run().dir, "runs/job-20261122-034012");
  EXPECT_EQ(config.data().batch, 64U);
  EXPECT_EQ(config.data().normalise, worker::Normalisation::none);
  EXPECT_FALSE(config.optimizer().clip_norm);
  EXPECT_EQ(config.network().port_low, 0);
  EXPECT_EQ(config.network().window, 8U);
  EXPECT_EQ(config.network().chunk_bytes, 0U);
  EXPECT_EQ(config.timeouts().beat, 1s);
  EXPECT_EQ(config.timeouts().suspect, 5s);
  EXPECT_EQ(config.timeouts().dead, 10s);
  EXPECT_EQ(config.steps_per_row(), 20U);
  EXPECT_THAT(config.launch().mpirun_args, IsEmpty());
}

TEST(RunConfigTest, EveryValueArrives) {
  const RunConfig config =
      sound({"run.partitions=8", "run.steps=9", "run.seed=3", "run.dir=/x", "network.ports=200-210",
             "network.chunk_kib=64", "timeouts.dead=6s", "optimizer.clip_norm=2",
             "launch.hostfile=h", "launch.mpirun_args=[\"-v\"]", "metrics.every=5",
             "data.validation=0.25", "data.normalise=standard"});
  EXPECT_EQ(config.run().partitions, 8U);
  EXPECT_EQ(config.run().steps, 9U);
  EXPECT_EQ(config.run().seed, 3U);
  EXPECT_EQ(config.run().dir, "/x");
  EXPECT_EQ(config.network().port_low, 200);
  EXPECT_EQ(config.network().port_high, 210);
  EXPECT_EQ(config.network().chunk_bytes, 65536U);
  EXPECT_EQ(config.timeouts().suspect, 3s);
  EXPECT_EQ(config.optimizer().clip_norm, 2.0);
  EXPECT_EQ(config.launch().hostfile, "h");
  EXPECT_THAT(config.launch().mpirun_args, ElementsAre("-v"));
  EXPECT_EQ(config.steps_per_row(), 5U);
  EXPECT_EQ(config.data().validation, 0.25);
  EXPECT_EQ(config.data().normalise, worker::Normalisation::standard);
}

TEST(RunConfigTest, EveryModeCanBeBuilt) {
  const RunConfig config = sound({"optimizer.kind=momentum"});
  const auto source = config.make_source();
  EXPECT_EQ(source->schema(), (worker::Schema{1, 1}));
  EXPECT_EQ(config.make_model(source->schema())->layout().size(), 2U);  // slope and intercept
  EXPECT_EQ(config.make_optimizer()->state_per_parameter(), 1U);
  EXPECT_EQ(config.make_schedule().rate(0), 0.1);
  EXPECT_TRUE(config.make_gate()->may_apply({2, 2}));
  EXPECT_TRUE(config.make_push_codecs().usual->identity());
  EXPECT_TRUE(config.make_pull_codecs().usual->identity());
  EXPECT_FALSE(config.make_mechanism()->perturbs_at_worker());
}

TEST(RunConfigTest, FiveFaultsAreFiveLines) {
  std::string text = job_with(3, "workers = \"two\"");
  text.replace(text.find("units"), 5, "unit");
  text.replace(text.find("sgd"), 3, "sdg");
  text.replace(text.find("[data]"), 6, "epoch = 3\n[data]");
  text += "[timeouts]\nbeat = 5\n";
  const CheckResult result = config_of(text).check();
  EXPECT_THAT(
      result.faults,
      ElementsAre(
          testing::StartsWith("job.toml:3:1: run.workers: found \"two\" (a string), expected an "
                              "integer from 1 to 4096"),
          testing::AllOf(testing::StartsWith("job.toml:5:1: run.epoch: found an unknown key"),
                         testing::EndsWith(", try epochs")),
          testing::AllOf(
              testing::StartsWith("job.toml:13:29: model.layers[0].unit: found an unknown key"),
              testing::EndsWith(", try units")),
          testing::AllOf(testing::StartsWith("job.toml:15:1: optimizer.kind: found \"sdg\""),
                         testing::EndsWith(", try \"sgd\"")),
          testing::AllOf(testing::StartsWith("job.toml:18:1: timeouts.beat: found 5"),
                         testing::EndsWith(", try \"5s\""))));
}

TEST(RunConfigTest, FaultsOfTheDataComeAfterThoseOfTheConfig) {
  std::string text = job_with(6, "kind = \"csv\"\npath = \"/nowhere/data.csv\"");
  text.replace(text.find("examples = 1000\nslope = 3.0\n"), 28, "");
  const CheckResult data = config_of(text).check();
  ASSERT_THAT(data.faults, SizeIs(1));
  EXPECT_THAT(data.faults[0], HasSubstr("/nowhere/data.csv"));
  EXPECT_EQ(data.kind, Fault::data);

  text.replace(text.find("units"), 5, "unit");  // found although the data is not
  const CheckResult both = config_of(text).check();
  ASSERT_THAT(both.faults, SizeIs(2));
  EXPECT_THAT(both.faults[0], HasSubstr("model.layers[0].unit"));
  EXPECT_EQ(both.faults[1], data.faults[0]);
  EXPECT_EQ(both.kind, Fault::config);
}

TEST(RunConfigTest, RequireSoundThrowsAllFaults) {
  RunConfig config = config_of(job_with(3, "workers = 0\nservrs = 1"));
  try {
    config.require_sound();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_THAT(error.message(), HasSubstr("run.workers"));
    EXPECT_THAT(error.message(), HasSubstr("\njob.toml:4:1: run.servrs"));
  }
}

TEST(RunConfigTest, WhatHasNoEffectIsNoted) {
  EXPECT_THAT(config_of(job_with()).check().notes, IsEmpty());
  const auto notes = config_of(job_with(1, "[recovery]\nreplicas = 2\n[run]"),
                               {"data.batch=16", "run.partitions=4"})
                         .check()
                         .notes;
  EXPECT_THAT(config_of(job_with(1,
                                 "[network]\ntransport = \"shm\"\n[compression]\n"
                                 "pull = { kind = \"fp16\" }\n[run]"))
                  .check()
                  .notes,
              ElementsAre(HasSubstr("network.transport: compressed pulls go over the network")));
  EXPECT_THAT(notes, ElementsAre(HasSubstr("16 examples over 4 partitions leave 4 for each"),
                                 HasSubstr("recovery.replicas is without effect")));
}

TEST(RunConfigTest, ReplicasAreKeptWhereACopyIsAllThatASuccessorNeeds) {
  const auto with = [](std::vector<std::string> overrides) {
    overrides.insert(overrides.end(), {"recovery.replicas=2", "run.servers=2"});
    return sound(std::move(overrides));
  };
  EXPECT_TRUE(with({}).keeps_replicas());
  EXPECT_TRUE(with({"compression.pull.kind=fp16"}).keeps_replicas());
  EXPECT_TRUE(
      with({"compression.pull.kind=topk", "compression.pull.feedback=ef21p"}).keeps_replicas());
  EXPECT_TRUE(with({"optimizer.clip_norm=1", "optimizer.non_finite=skip"}).keeps_replicas());
  for (const auto& overrides : std::vector<std::vector<std::string>>{
           {"consistency.kind=speculate"}, {"consistency.kind=drop"}, {"recovery.restarts=0"}}) {
    RunConfig config = with(overrides);
    EXPECT_FALSE(config.keeps_replicas()) << overrides.front();
    EXPECT_THAT(config.check().notes,
                testing::Contains(HasSubstr("recovery.replicas is without effect")))
        << overrides.front();
  }
}

TEST(RunConfigTest, TheHashForgetsWhereAndHowTheJobIsStarted) {
  const std::string sha = sha_with({});
  EXPECT_EQ(sha.size(), 64U);
  EXPECT_EQ(sha.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(sha_with({"run.dir=/elsewhere"}), sha);
  EXPECT_EQ(sha_with({"launch.hostfile=hosts", "launch.mpirun_args=[\"-v\"]"}), sha);
  EXPECT_EQ(sha_with({"optimizer.decay=0"}), sha);   // the default, written out
  EXPECT_EQ(sha_with({"timeouts.start=60s"}), sha);  // the same time in another unit
  EXPECT_NE(sha_with({"run.seed=1"}), sha);
  EXPECT_NE(sha_with({"run.workers=1"}), sha);
  EXPECT_NE(sha_with({"model.layers[0].bias=false"}), sha);
  EXPECT_NE(sha_with({"data.slope=4"}), sha);
}

TEST(RunConfigTest, AFileThatIsMissingIsAConfigFault) {
  EXPECT_THROW(RunConfig::load("/nowhere/job.toml", {}), Error);
}

}  // namespace
}  // namespace sheaf::launcher
