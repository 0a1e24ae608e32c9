// Jobs under a real Slurm, which this test starts for itself (slurm.sh): preempted and requeued
// they go on by themselves, to the bits of a job that nobody interrupted.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "tests/harness/checkpoint_job.h"

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

// A Slurm that ends with this object, and with its process. It is no descendant of the test, which
// kills those of its jobs.
class PrivateSlurm {
 public:
  explicit PrivateSlurm(const std::filesystem::path& folder) : folder_(folder) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("pipe");
    }
    int adopts = 0;
    ::prctl(PR_GET_CHILD_SUBREAPER, &adopts);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (::fork() != 0) ::_exit(0);
      ::setsid();
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::dup2(out[1], 2);
      ::execl(SHEAF_SOURCE_DIR "/tests/slurm/slurm.sh", "slurm.sh", folder.c_str(), nullptr);
      ::_exit(127);
    }
    ::waitpid(pid, nullptr, 0);
    ::prctl(PR_SET_CHILD_SUBREAPER, adopts);
    ::close(in[0]);
    ::close(out[1]);
    alive_ = in[1];
    says_ = out[0];
    std::string said;
    for (char c = 0; !said.ends_with("up\n") && ::read(says_, &c, 1) == 1;) said += c;
    if (said.ends_with("up\n")) return;
    if (said.find("slurm: skipped: ") == std::string::npos) throw std::runtime_error(said);
    missing_ = said;
  }
  ~PrivateSlurm() {
    ::close(alive_);
    for (char c = 0; ::read(says_, &c, 1) == 1;) {  // until it has ended
    }
    ::close(says_);
  }
  PrivateSlurm(const PrivateSlurm&) = delete;
  PrivateSlurm& operator=(const PrivateSlurm&) = delete;

  const std::string& missing() const { return missing_; }

  // Runs a line of shell with it; what it says on both streams.
  std::string run(const std::string& line) const {
    const std::filesystem::path log = folder_ / "said";
    const std::string whole = "cd '" + folder_.string() + "' && SLURM_CONF='" +
                              (folder_ / "slurm.conf").string() + "' && export SLURM_CONF && { " +
                              line + "; } >'" + log.string() + "' 2>&1";
    code_ = std::system(whole.c_str());
    return contents_of(log);
  }
  int code() const { return WEXITSTATUS(code_); }  // of the last one

 private:
  std::filesystem::path folder_;
  int alive_ = -1;  // slurm.sh reads the other end: that it is open keeps it
  int says_ = -1;
  std::string missing_;
  mutable int code_ = 0;
};

class Slurm : public testing::Test {
 protected:
  Slurm() : slurm_(job_ / "slurm") { file_ = job_.write_job(); }
  void SetUp() override {
    if (!slurm_.missing().empty()) GTEST_SKIP() << slurm_.missing();
  }
  std::string log(const std::string& id) const {
    return contents_of(job_ / "slurm" / ("small-" + id + ".log"));
  }
  nlohmann::json result() const {
    return nlohmann::json::parse(contents_of(job_.run() / "result.json"), nullptr, false);
  }
  std::uint64_t newest() const {
    const auto steps = checkpoints_of(job_);
    return steps.empty() ? 0 : steps.front();
  }

  SmallJob job_;
  PrivateSlurm slurm_;
  std::filesystem::path file_;
};

TEST_F(Slurm, APreemptedJobIsRequeuedAndGoesOnToTheSameBits) {
  const std::string program = SHEAF_PROGRAM;
  ASSERT_THAT(slurm_.run("'" + program + "' slurm '" + file_.string() + "' run.dir='" +
                         job_.run().string() + "' >job.sbatch"),
              "");
  // Its name is that of the job file.
  const std::string submitted = slurm_.run("sbatch --parsable job.sbatch");
  const std::string id = submitted.substr(0, submitted.find('\n'));
  ASSERT_EQ(slurm_.code(), 0) << submitted;
  for (int n = 1; n <= 2; ++n) {
    const std::uint64_t before = newest();
    ASSERT_TRUE(wait_until([&] { return newest() > before; }, kSlurm)) << log(id);
    slurm_.run("sbatch --parsable --partition=high --ntasks=4 --output=/dev/null --wrap true");
    ASSERT_EQ(slurm_.code(), 0);
    const auto has_come = [&, key = contents_of(job_.run() / "control.json")] {
      return contents_of(job_.run() / "control.json") != key;
    };
    ASSERT_TRUE(wait_until(has_come, kSlurm)) << slurm_.run("squeue") << log(id);
    EXPECT_THAT(log(id), HasSubstr("goes on from step "));
  }
  const std::uint64_t before = newest();
  ASSERT_TRUE(wait_until([&] { return newest() > before; }, kSlurm)) << log(id);
  // As two minutes before its time limit: its own script has it requeued.
  const std::string key = contents_of(job_.run() / "control.json");
  slurm_.run("scancel --batch --signal=USR1 " + id);
  nlohmann::json drained;
  const auto has_ended = [&] { return (drained = result()).is_object(); };
  ASSERT_TRUE(wait_until(has_ended, kSlurm)) << log(id);
  EXPECT_TRUE(wait_until([&] { return contents_of(job_.run() / "control.json") != key; }, kSlurm))
      << slurm_.run("squeue") << log(id);
  slurm_.run("scancel " + id);
  const auto is_gone = [&] {
    return slurm_.run("squeue --noheader --states=all --format=%T --job " + id) == "CANCELLED\n";
  };
  EXPECT_TRUE(wait_until(is_gone, kSlurm)) << slurm_.run("squeue --states=all");
  EXPECT_EQ(drained["exit"], 75) << log(id);
  EXPECT_EQ(drained["model_sha256"], reference_model(drained["steps"]));
}

TEST_F(Slurm, SrunStartsTheRanksItself) {
  const std::string said =
      slurm_.run("srun --mpi=pmix --ntasks=4 '" + std::string(SHEAF_PROGRAM) + "' rank '" +
                 file_.string() + "' run.steps=50 run.dir='" + job_.run().string() + "'");
  ASSERT_EQ(slurm_.code(), 0) << said;
  EXPECT_EQ(result()["model_sha256"], reference_model(50));
}

}  // namespace
}  // namespace sheaf::harness
