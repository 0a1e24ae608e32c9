// Jobs under a real Slurm, which each test starts for itself, of this host or of three hosts:
// preempted and requeued they go on by themselves, a lost worker is replaced on its node, and they
// come to the bits of a job on one host that nobody interrupted.
#include <gmock/gmock.h>
#include <poll.h>

#include <csignal>
#include <functional>
#include <optional>
#include <set>

#include "launcher/system/process_identity.h"
#include "tests/harness/checkpoint_job.h"
#include "tests/harness/places.h"
#include "tests/slurm/private_slurm.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;

constexpr Limit kSlurm(60'000);  // to start a job again: credentials have to expire first

bool wait_until(const std::function<bool()>& holds, Limit limit) {
  const auto deadline = std::chrono::steady_clock::now() + patience(limit);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 50);
  }
  return true;
}

class Slurm : public testing::Test {
 protected:
  // `nodes` hosts of the test; 0: this host is the only node.
  explicit Slurm(unsigned nodes = 0) : nodes_(nodes) {}
  void SetUp() override {
    if (nodes_ > 0) {
      hosts_.emplace(nodes_);
      if (!hosts_->missing().empty()) GTEST_SKIP() << hosts_->missing();
    }
    slurm_.emplace(job_ / "slurm", hosts_ ? &*hosts_ : nullptr);
    if (!slurm_->missing().empty()) GTEST_SKIP() << slurm_->missing();
  }

  // Submits the script that `sheaf slurm` writes; sets id_.
  void submit(const std::string& arguments = "") {
    const std::string said = run("'" + test_program() + "' slurm '" + job_.write_job().string() +
                                 "' run.dir='" + job_.run().string() +
                                 "' >job.sbatch && sbatch --parsable " + arguments + " job.sbatch");
    ASSERT_EQ(slurm_->code(), 0) << said;
    id_ = said.substr(0, said.find('\n'));
  }
  // A job of the other partition takes all cores for a moment. Returns when ours is back.
  void preempt() {
    const std::string key = control();
    const std::string all = std::to_string(4 * std::max(nodes_, 1U));
    const std::string said =
        run("sbatch --partition=high --ntasks=" + all + " --output=/dev/null --wrap true");
    ASSERT_EQ(slurm_->code(), 0) << said;
    ASSERT_TRUE(wait_until([&] { return control() != key; }, kSlurm)) << what_happened();
    EXPECT_THAT(log(), HasSubstr("goes on from step "));
  }
  void wait_for_checkpoint() {
    const auto before = newest();
    ASSERT_TRUE(wait_until([&] { return newest() > before; }, kSlurm)) << what_happened();
  }
  // The signal goes to the script alone. Returns what the job has come to.
  nlohmann::json end_by(const std::string& signal) {
    run("scancel --batch --signal=" + signal + " " + id_);
    nlohmann::json ended;
    const auto has_ended = [&] { return (ended = result()).is_object(); };
    EXPECT_TRUE(wait_until(has_ended, kSlurm)) << what_happened();
    return ended;
  }
  static void expect_bits_of_one_host(const nlohmann::json& ended) {
    ASSERT_TRUE(ended.is_object());
    EXPECT_EQ(ended["model_sha256"], reference_model(ended["steps"]));
  }

  std::string run(const std::string& line) { return slurm_->run(line); }
  // What Slurm and the job say, for who reads that a test has failed.
  std::string what_happened() { return run("squeue -t all; grep -v ^epoch small-" + id_ + ".log"); }
  // Its name is that of the job file.
  std::string log() const { return contents_of(job_ / "slurm" / ("small-" + id_ + ".log")); }
  std::string control() const { return contents_of(job_.run() / "control.json"); }
  nlohmann::json result() const {
    return nlohmann::json::parse(contents_of(job_.run() / "result.json"), nullptr, false);
  }
  std::uint64_t newest() const {
    const auto steps = checkpoints_of(job_);
    return steps.empty() ? 0 : steps.front();
  }
  // The rows of processes.json.
  nlohmann::json ranks() const {
    const auto all =
        nlohmann::json::parse(contents_of(job_.run() / "processes.json"), nullptr, false);
    return all.is_object() ? all["processes"] : nlohmann::json::array();
  }
  std::set<std::string> hosts_of_ranks() const {
    std::set<std::string> names;
    for (const auto& row : ranks()) names.insert(row["host"]);
    return names;
  }
  bool is_gone(const std::string& state) {
    return run("squeue --noheader --states=all --format=%T --job " + id_) == state + "\n";
  }

  const unsigned nodes_;
  SmallJob job_;
  std::optional<TestHosts> hosts_;
  std::optional<PrivateSlurm> slurm_;
  std::string id_;
};

TEST_F(Slurm, APreemptedJobIsRequeuedAndGoesOnToTheSameBits) {
  ASSERT_NO_FATAL_FAILURE(submit());
  for (int n = 1; n <= 2; ++n) {
    ASSERT_NO_FATAL_FAILURE(wait_for_checkpoint());
    ASSERT_NO_FATAL_FAILURE(preempt());
  }
  ASSERT_NO_FATAL_FAILURE(wait_for_checkpoint());
  // As two minutes before its time limit: its own script has it requeued.
  const std::string key = control();
  const nlohmann::json drained = end_by("USR1");
  EXPECT_TRUE(wait_until([&] { return control() != key; }, kSlurm)) << what_happened();
  run("scancel " + id_);
  EXPECT_TRUE(wait_until([&] { return is_gone("CANCELLED"); }, kSlurm)) << what_happened();
  EXPECT_EQ(drained["exit"], 75) << what_happened();
  expect_bits_of_one_host(drained);
}

TEST_F(Slurm, SrunStartsTheRanksItself) {
  const std::string said =
      run("srun --mpi=pmix --ntasks=4 '" + test_program() + "' rank '" + job_.write_job().string() +
          "' run.steps=50 run.dir='" + job_.run().string() + "'");
  ASSERT_EQ(slurm_->code(), 0) << said;
  EXPECT_EQ(result()["steps"], 50);
  expect_bits_of_one_host(result());
}

// Of the ranks 0 to 3, servers first, the nodes h1, h2, h3 and h1 have one each.
class SlurmOfThree : public Slurm {
 protected:
  SlurmOfThree() : Slurm(3) {}
  const std::set<std::string> three_ = {"h1", "h2", "h3"};
};

TEST_F(SlurmOfThree, APreemptedJobIsRequeuedAndGoesOnToTheSameBits) {
  ASSERT_NO_FATAL_FAILURE(submit("--nodes=3"));
  ASSERT_NO_FATAL_FAILURE(wait_for_checkpoint());
  EXPECT_EQ(hosts_of_ranks(), three_);
  ASSERT_NO_FATAL_FAILURE(preempt());
  ASSERT_NO_FATAL_FAILURE(wait_for_checkpoint());
  EXPECT_EQ(hosts_of_ranks(), three_);
  const nlohmann::json drained = end_by("TERM");  // which nothing is requeued for
  EXPECT_TRUE(wait_until([&] { return is_gone("FAILED"); }, kSlurm)) << what_happened();
  EXPECT_EQ(drained["exit"], 75) << what_happened();
  expect_bits_of_one_host(drained);
}

TEST_F(SlurmOfThree, AWorkerThatIsKilledIsReplacedOnItsNode) {
  job_.tables["recovery"] = "restarts = 10\n";
  ASSERT_NO_FATAL_FAILURE(submit("--nodes=3"));
  ASSERT_NO_FATAL_FAILURE(wait_for_checkpoint());
  const auto first_worker = [&] {
    for (const auto& row : ranks()) {
      if (row["role"] == "worker" && row["id"] == 0) return row;
    }
    return nlohmann::json::object();
  };
  const nlohmann::json lost = first_worker();
  ASSERT_EQ(lost.value("host", ""), "h3") << lost;
  ASSERT_TRUE(launcher::send_signal({lost["pid"].get<pid_t>(), lost["started"]}, SIGKILL));
  const auto is_replaced = [&] {
    const nlohmann::json row = first_worker();
    return row.value("incarnation", 0) == 1 && row.value("state", "") == "running";
  };
  ASSERT_TRUE(wait_until(is_replaced, kSlurm)) << first_worker() << what_happened();
  EXPECT_EQ(first_worker().value("host", ""), "h3");
  ASSERT_NO_FATAL_FAILURE(wait_for_checkpoint());
  const nlohmann::json drained = end_by("TERM");
  EXPECT_EQ(drained["faults"]["replacements"], 1) << what_happened();
  EXPECT_EQ(drained["faults"]["restarts"], 0) << what_happened();
  EXPECT_EQ(drained["faults"]["rolled_back_steps"], 0);
  expect_bits_of_one_host(drained);
}

TEST_F(SlurmOfThree, SrunStartsTheRanksItself) {
  const std::string said =
      run("srun --mpi=pmix --nodes=3 --ntasks=4 '" + test_program() + "' rank '" +
          job_.write_job().string() + "' run.steps=50 run.dir='" + job_.run().string() + "'");
  ASSERT_EQ(slurm_->code(), 0) << said;
  EXPECT_EQ(hosts_of_ranks(), three_);
  EXPECT_EQ(result()["steps"], 50);
  expect_bits_of_one_host(result());
}

}  // namespace
}  // namespace sheaf::harness
