// Jobs over three hosts: the same model as on one, nothing in the clear between them, and links
// that fail or crawl.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <set>

#include "tests/harness/checkpoint_job.h"
#include "tests/harness/places.h"
#include "tests/hosts/capture.h"
#include "tests/hosts/test_hosts.h"
#include "tests/process/keeping_job.h"

namespace sheaf::harness {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr Limit kEndOfJob(3000);
constexpr Limit kDead(5000);  // timeouts.dead of the job

constexpr int kSteps = 60;

struct Trained {
  nlohmann::json result;
  nlohmann::json processes;
  Capture::Seen between_hosts = {};
};

// The quickstart for a few steps, cut into partitions for any number of workers.
Trained quickstart(const TestHosts& hosts, const std::vector<std::string>& overrides) {
  Job job;
  job.mpirun = true;
  std::vector<std::string> words = {"train", source_folder() + "/configs/quickstart.toml",
                                    "run.dir=" + job.run().string(),
                                    "run.steps=" + std::to_string(kSteps), "run.partitions=6"};
  words.insert(words.end(), overrides.begin(), overrides.end());
  std::filesystem::create_directories(job.run());
  Capture capture(hosts);
  Running running(job, hosts.on(1, job.command(words)));
  EXPECT_EQ(running.wait(Limit(60'000)), 0) << running.errors();
  EXPECT_THAT(wait_for_descendants(kEndOfJob), IsEmpty());
  return {running.result(), nlohmann::json::parse(running.file("processes.json"), nullptr, false),
          capture.stop()};
}

std::vector<std::string> on_three(const TestHosts& hosts) {
  return {"run.servers=3", "run.workers=3", "launch.hostfile=" + hosts.hostfile().string(),
          "launch.mpirun_args=[\"--mca\", \"plm_rsh_agent\", \"" + hosts.agent().string() +
              "\", \"--map-by\", \"node\"]"};
}

// Every link was listened to all the time: a worker exchanges two thirds of the model with servers
// of other hosts.
void expect_all_was_seen(const Trained& three) {
  const auto& traffic = three.result["traffic"];
  const double frames = traffic["push_bytes"].get<double>() + traffic["pull_bytes"].get<double>();
  EXPECT_GT(static_cast<double>(three.between_hosts.bytes), 2 * frames / 3);
  EXPECT_EQ(three.between_hosts.lost, 0U);
}

TEST(Hosts, ThreeGiveTheModelOfOneAndTellNobody) {
  const TestHosts hosts(3, "1gbit");
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  const Trained one = quickstart(hosts, {});
  const Trained three = quickstart(hosts, on_three(hosts));
  ASSERT_TRUE(one.result.is_object() && three.result.is_object());
  EXPECT_EQ(one.result["steps"], kSteps);
  EXPECT_EQ(three.result["model_sha256"], one.result["model_sha256"]);
  EXPECT_EQ(three.result["test"], one.result["test"]);
  std::set<std::string> names;
  std::set<std::string> addresses;
  for (const auto& row : three.processes["processes"]) {
    names.insert(row["host"]);
    if (row["role"] == "server") addresses.insert(row["address"]);
  }
  EXPECT_EQ(names, (std::set<std::string>{"h1", "h2", "h3"}));
  EXPECT_EQ(addresses, (std::set<std::string>{"10.77.0.1", "10.77.0.2", "10.77.0.3"}));
  expect_all_was_seen(three);
  EXPECT_THAT(three.between_hosts.in_clear, IsEmpty());
}

// At 20 Mbit/s a float takes 1.6 us, and no core a hundredth of that to encode it.
TEST(Hosts, WhoMayChooseSendsFewerBytesOverASlowLink) {
  const TestHosts hosts(3, "20mbit");
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  Job job;
  job.mpirun = true;
  std::vector<std::string> words = {"train",
                                    source_folder() + "/configs/quickstart.toml",
                                    "run.dir=" + job.run().string(),
                                    "run.steps=10",
                                    "compression.push={ kind = \"auto\" }",
                                    "compression.pull={ kind = \"auto\" }"};
  for (std::string& word : on_three(hosts)) words.push_back(std::move(word));
  std::filesystem::create_directories(job.run());
  Running running(job, hosts.on(1, job.command(words)));
  ASSERT_EQ(running.wait(Limit(60'000)), 0) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("compression.push: auto takes int8: the slowest link"));
  EXPECT_THAT(running.file("config.toml"), HasSubstr("[compression.push]\nkind = \"int8\"\n"));
  EXPECT_THAT(running.file("config.toml"), HasSubstr("[compression.pull]\nkind = \"int8\"\n"));
  const nlohmann::json traffic = running.result().at("traffic");
  EXPECT_LT(3 * traffic["push_bytes"].get<double>(), traffic["push_bytes_raw"].get<double>());
}

// What the test above does not find, it would find.
TEST(Hosts, ThreeWithoutEncryptionTellEverybody) {
  const TestHosts hosts(3, "1gbit");
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  std::vector<std::string> overrides = on_three(hosts);
  overrides.push_back("network.encryption=none");
  Trained three = quickstart(hosts, overrides);
  ASSERT_TRUE(three.result.is_object());
  expect_all_was_seen(three);
  auto& in_clear = three.between_hosts.in_clear;
  for (const char* word : {"SHEAF-HI", "SHEAF-OK", "frame 7", "frame 10"}) {
    EXPECT_GT(in_clear[word], 0U) << word;  // handshakes, initial values, control
  }
  for (const char* each_step : {"frame 1", "frame 2", "frame 3", "frame 4"}) {
    EXPECT_GE(in_clear[each_step], kSteps) << each_step;
  }
}

TEST(Hosts, AnInterfaceThatGoesAwayEndsTheJobByName) {
  const TestHosts hosts(3);
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  Job job;
  job.mpirun = true;
  job.tables["launch"] = hosts.launch();
  Running running(job, hosts.on(1, job.train()));
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  ASSERT_EQ(running.rank("worker", 0)["host"], "h3");
  const double before = running.seconds();
  hosts.run(3, {"ip", "link", "set", "eth0", "down"});
  EXPECT_EQ(running.wait(kDead + kEndOfJob), 4) << running.errors();
  std::cout << "ended after " << running.seconds() - before << " s\n";
  EXPECT_THAT(running.errors(), ContainsRegex("Job small failed: worker 0.*h3"));
  EXPECT_EQ(running.result()["error"]["rank"], 2);
  // The ranks of the lost host have nobody to ask, and end by themselves. Open MPI's daemon there
  // learns of the end when it is reached again.
  EXPECT_THAT(describe(wait_for_descendants(kEndOfJob)), Not(HasSubstr(" sheaf ")));
  hosts.run(3, {"ip", "link", "set", "eth0", "up"});
  const std::vector<pid_t> left = wait_for_descendants(Limit(60'000));
  EXPECT_THAT(left, IsEmpty()) << describe(left);
}

// Of the ranks 0 to 3, servers first, the hosts h1, h2, h3 and h1 have one each.
struct LosingJob : SmallJob {
  explicit LosingJob(const TestHosts& hosts) {
    mpirun = true;
    tables["recovery"] = "restarts = 10\n";
    tables["launch"] = hosts.launch();
  }
};

bool saves(const Job& job, Running& running, std::uint64_t than) {
  const auto newer = [&] { return !checkpoints_of(job).empty() && checkpoints_of(job)[0] > than; };
  return running.wait_until(newer, 4 * kRun);
}

// To the bits of a job on one host.
void expect_same_bits(Running& running) {
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(kRun), 75) << running.errors();
  EXPECT_EQ(running.result()["model_sha256"], reference_model(running.result()["steps"]));
}

// The job goes on when the host is back, from its newest checkpoint.
TEST(Hosts, AHostOfAServerThatWasAwayIsUsedAgain) {
  const TestHosts hosts(3);
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  const LosingJob job(hosts);
  Running running(job, hosts.on(1, job.train()));
  ASSERT_TRUE(saves(job, running, 0)) << running.errors();
  ASSERT_EQ(running.rank("server", 1)["host"], "h2");
  hosts.run(2, {"ip", "link", "set", "eth0", "down"});
  ASSERT_TRUE(running.wait_for_message("goes on from step ", kDead + kRun)) << running.errors();
  hosts.run(2, {"ip", "link", "set", "eth0", "up"});
  ASSERT_TRUE(saves(job, running, checkpoints_of(job)[0])) << running.errors();
  EXPECT_EQ(running.rank("server", 1)["host"], "h2");
  expect_same_bits(running);
  const std::vector<pid_t> left = wait_for_descendants(Limit(60'000));
  EXPECT_THAT(left, IsEmpty()) << describe(left);
}

// Its worker is replaced here; the lost one, which lives, learns when it is back that it is not
// wanted any more.
TEST(Hosts, AHostOfAWorkerThatIsLostIsDoneWithout) {
  const TestHosts hosts(3);
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  const LosingJob job(hosts);
  Running running(job, hosts.on(1, job.train()));
  ASSERT_TRUE(saves(job, running, 0)) << running.errors();
  ASSERT_EQ(running.rank("worker", 0)["host"], "h3");
  hosts.run(3, {"ip", "link", "set", "eth0", "down"});
  ASSERT_TRUE(running.wait_for_message("another process takes its place", kDead + kRun))
      << running.errors();
  ASSERT_TRUE(saves(job, running, checkpoints_of(job)[0])) << running.errors();
  EXPECT_EQ(running.rank("worker", 0)["host"], "h1");
  EXPECT_EQ(running.rank("worker", 0)["incarnation"], 1);
  EXPECT_EQ(running.rank("server", 0)["incarnation"], 0);
  hosts.run(3, {"ip", "link", "set", "eth0", "up"});
  ASSERT_TRUE(saves(job, running, checkpoints_of(job)[0])) << running.errors();
  expect_same_bits(running);
  EXPECT_EQ(running.result()["faults"]["replacements"], 1);
  EXPECT_EQ(running.result()["faults"]["restarts"], 0);
  const std::vector<pid_t> left = wait_for_descendants(Limit(60'000));
  EXPECT_THAT(left, IsEmpty()) << describe(left);
}

// With a server and a worker on it: what the server held is on another host, too, so both go on
// elsewhere and nothing is done again.
TEST(Hosts, AHostThatIsLostIsDoneWithoutIfThereAreReplicas) {
  const TestHosts hosts(3);
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  KeepingJob job("replicas = 2");
  job.mpirun = true;
  job.tables["launch"] = hosts.launch();
  job.overrides = {"run.servers=3", "run.workers=3"};
  Running running(job, hosts.on(1, job.train()));
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  for (const char* role : {"server", "worker"}) ASSERT_EQ(running.rank(role, 1)["host"], "h2");
  hosts.run(2, {"ip", "link", "set", "eth0", "down"});
  for (const char* role : {"server", "worker"}) running.signal(role, 1, SIGKILL);
  for (const char* role : {"server", "worker"}) {
    ASSERT_TRUE(is_back(running, role, 1, 1)) << running.errors();
    EXPECT_EQ(running.rank(role, 1)["host"], "h1");
  }
  hosts.run(2, {"ip", "link", "set", "eth0", "up"});
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(kRun), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["replacements"], 2) << running.errors();
  EXPECT_EQ(result["faults"]["restarts"], 0) << running.errors();
  EXPECT_EQ(result["faults"]["rolled_back_steps"], 0);
  EXPECT_EQ(result["acknowledged"], "replica");
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
  const std::vector<pid_t> left = wait_for_descendants(Limit(60'000));
  EXPECT_THAT(left, IsEmpty()) << describe(left);
}

TEST(Hosts, AWorkerThatIsKilledIsReplacedOnItsHost) {
  const TestHosts hosts(3);
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  const LosingJob job(hosts);
  Running running(job, hosts.on(1, job.train()));
  ASSERT_TRUE(saves(job, running, 0)) << running.errors();
  running.signal("worker", 0, SIGKILL);
  ASSERT_TRUE(running.wait_for_message("another process takes its place", kRun))
      << running.errors();
  ASSERT_TRUE(saves(job, running, checkpoints_of(job)[0])) << running.errors();
  EXPECT_EQ(running.rank("worker", 0)["host"], "h3");
  EXPECT_EQ(running.rank("worker", 0)["incarnation"], 1);
  expect_same_bits(running);
  EXPECT_EQ(running.result()["faults"]["restarts"], 0);
  const std::vector<pid_t> left = wait_for_descendants(kEndOfJob);
  EXPECT_THAT(left, IsEmpty()) << describe(left);
}

// About 9 kB go each way in a step, on links of 12.5 kB/s that are slow from the start.
TEST(Hosts, SlowLinksDoNotStopTraining) {
  const TestHosts hosts(3, "100kbit");
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  Job job;
  job.mpirun = true;
  job.tables["launch"] = hosts.launch();
  job.tables["metrics"] = "every = 1\n";
  Running running(job, hosts.on(1, job.train()));
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const double before = running.seconds();
  const auto rows = [&] { return std::ranges::count(running.file("metrics.jsonl"), '\n'); };
  EXPECT_TRUE(running.wait_until([&] { return rows() >= 12; }, Limit(40'000))) << running.errors();
  EXPECT_GT(running.seconds() - before, 3) << "too fast for these links: are they slow?";
  running.signal(SIGINT);
  EXPECT_EQ(running.wait(Limit(40'000)), 75) << running.errors();
  EXPECT_THAT(wait_for_descendants(kDead + kEndOfJob), IsEmpty());
}

}  // namespace
}  // namespace sheaf::harness
