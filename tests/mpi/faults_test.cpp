// The rows of the fault table in which mpirun has a part; tests/process has the others.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include "tests/harness/fault.h"
#include "tests/harness/places.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr Limit kEnd(3000);
constexpr Limit kBegin(10'000);  // mpirun needs a second or so to start and to end

class Faults : public testing::TestWithParam<Fault> {};

TEST_P(Faults, EndTheJobCleanly) { show(GetParam(), true); }

std::vector<Fault> faults_under_mpirun() {
  return {
      killed("WorkerIsKilled", "worker", 1),
      killed("FirstServerIsKilled", "server", 0),
      stopped("WorkerStops", "worker", 0),
      {.name = "MpirunIsKilled",
       .strike = [](Running&) { signal_descendant(descendant_called("mpirun"), SIGKILL); },
       .exit = 4,
       .says = {"mpirun ended (killed by signal 9 (Killed)) before the job did"},
       .blame = Blame{{kNoRank}, "training step"}},
      {.name = "MpirunRefusesItsArguments",
       .prepare = [](Job& job) { job.tables["launch"] = "mpirun_args = [\"--no-such-flag\"]\n"; },
       .exit = 4,
       .says = {"before the job did", "no-such-flag"},
       .blame = Blame{{kNoRank}, "starting"}},
      {.name = "HostThatDoesNotExist",
       .prepare =
           [](Job& job) {
             const std::string hosts = job.write("hosts", "nowhere.invalid slots=4\n");
             job.tables["launch"] = "hostfile = \"" + hosts + "\"\n";
             job.tables["network"] = "interface = \"lo\"\n";
           },
       .exit = 4,
       .says = {"before the job did"},
       .blame = Blame{{kNoRank}, "starting"},
       .detection = Limit(5000)},
  };
}

INSTANTIATE_TEST_SUITE_P(Mpirun, Faults, testing::ValuesIn(faults_under_mpirun()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Faults, CtrlCFinishesTheStepAndSavesIt) {
  Job job;
  job.mpirun = true;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal(SIGINT);
  ASSERT_EQ(running.wait(kEnd), 75) << running.errors();
  EXPECT_THAT(wait_for_descendants(kAllGone), IsEmpty());
  EXPECT_TRUE(running.result()["model_sha256"].is_string());
}

TEST(Faults, RanksEndByThemselvesWhenTheSupervisorIsKilled) {
  Job job;
  job.mpirun = true;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal(SIGKILL);
  ASSERT_EQ(running.wait(kEnd), 128 + SIGKILL);
  const std::vector<pid_t> left = wait_for_descendants(kDead + kEnd);
  EXPECT_THAT(left, IsEmpty()) << describe(left);
}

// mpirun as a person types it.
Command by_hand(const Job& job, unsigned ranks) {
  Command command = job.command({});
  command.argv = {"/usr/bin/env",
                  "mpirun",
                  "-n",
                  std::to_string(ranks),
                  "--oversubscribe",
                  "--allow-run-as-root",
                  "--mca",
                  "btl",
                  "self,tcp",
                  "--mca",
                  "btl_tcp_if_include",
                  "lo",
                  test_program(),
                  "rank",
                  job.write_job(),
                  "run.dir=" + job.run().string()};
  return command;
}

TEST(Faults, AnotherNumberOfRanksIsRefused) {
  for (const unsigned ranks : {1U, 3U, 5U}) {
    Job job;
    job.mpirun = true;
    Running running(job, by_hand(job, ranks));
    EXPECT_EQ(running.wait(kBegin), 2) << running.errors();
    EXPECT_THAT(running.errors(),
                HasSubstr("found " + std::to_string(ranks) +
                          " ranks, expected 4 (2 servers + 2 workers): mpirun -n 4"));
    EXPECT_FALSE(std::filesystem::exists(job.run()));
    EXPECT_THAT(wait_for_descendants(kEnd), IsEmpty());
  }
}

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename());
  }
  return names;
}

// Abstract sockets of keepers; they are in no folder.
std::set<std::string> keepers() {
  std::ifstream sockets("/proc/net/unix");
  std::set<std::string> found;
  for (std::string line; std::getline(sockets, line);) {
    if (const auto at = line.find("@sheaf-"); at != std::string::npos)
      found.insert(line.substr(at));
  }
  return found;
}

// Nobody is left to clean up, and nothing is left to be cleaned up: no process, no memory with a
// name, no socket, none of Open MPI's own files.
TEST(Faults, WhenEverythingIsKilledNothingIsLeft) {
  Job job;
  job.mpirun = true;
  const auto scratch = job / "scratch";
  std::filesystem::create_directories(scratch);
  job.environment["TMPDIR"] = scratch;
  const auto memory = names_in("/dev/shm");
  const auto sockets = keepers();
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  EXPECT_NE(keepers(), sockets) << "the ranks share memory";
  for (const pid_t pid : descendants()) ::kill(pid, SIGKILL);  // some are gone before their turn
  EXPECT_THAT(wait_for_descendants(kEnd), IsEmpty());
  EXPECT_EQ(names_in("/dev/shm"), memory);
  // The kernel may close what a killed process had open a moment after the process is gone.
  for (const auto end = std::chrono::steady_clock::now() + kEnd;
       keepers() != sockets && std::chrono::steady_clock::now() < end;) {
    std::this_thread::yield();
  }
  EXPECT_EQ(keepers(), sockets);
  EXPECT_THAT(names_in(scratch), IsEmpty());
}

// By hand rank 0 coordinates, too. With --enable-recovery mpirun lets the ranks end by themselves;
// without it, it kills all of them when one has died, and rank 0 may not come to write the result.
nlohmann::json result_by_hand(const std::function<void(Running&)>& strike) {
  Job job;
  job.mpirun = true;
  std::filesystem::create_directories(job.run());
  Command command = by_hand(job, 4);
  command.argv.insert(command.argv.begin() + 2, "--enable-recovery");
  Running running(job, command);
  EXPECT_TRUE(running.wait_for_training()) << running.errors();
  strike(running);
  EXPECT_TRUE(running.wait(kEnd)) << describe(descendants()) << running.errors();
  EXPECT_THAT(wait_for_descendants(kAllGone), IsEmpty());
  return running.result();
}

TEST(Faults, AKilledWorkerEndsAJobByHand) {
  const nlohmann::json result =
      result_by_hand([](Running& job) { job.signal("worker", 1, SIGKILL); });
  ASSERT_TRUE(result.is_object());
  EXPECT_EQ(result["exit"], 4);
  EXPECT_EQ(result["error"]["rank"], 3);
  EXPECT_THAT(result["error"]["phase"], HasSubstr("training step"));
}

// Nobody is left who could write a result.
TEST(Faults, AKilledFirstRankEndsAJobByHand) {
  const nlohmann::json result =
      result_by_hand([](Running& job) { job.signal("server", 0, SIGKILL); });
  EXPECT_TRUE(result.is_discarded());
}

}  // namespace
}  // namespace sheaf::harness
