// Checkpoints of a job of which little changes: most weights have inputs that are always zero. What
// has not changed stays in the files of older checkpoints, and the job goes on from there as if
// everything had been written each time. The reference is the count of steps, and a job that nobody
// interrupts.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>

#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"
#include "tests/harness/counting_job.h"
#include "tests/process/keeping_job.h"
#include "tests/process/orphaned_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr unsigned kActive = 200;  // of 1500 inputs: the first of six chunks, and the bias

std::vector<checkpoint::Checkpoint> checkpoints_in(const Job& job) {
  checkpoint::PosixDisk disk;
  return checkpoint::Store(disk, job.run() / "checkpoints").list();
}

std::uint64_t bytes_on_disk(const Job& job) {
  std::uint64_t bytes = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(job.run() / "checkpoints")) {
    if (entry.is_regular_file() && entry.path().filename() != "MANIFEST")
      bytes += entry.file_size();
  }
  return bytes;
}

// Several checkpoints later it is asked to end.
nlohmann::json end_after_some(const Job& job, Running& running) {
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(saves_another(job, running)) << running.errors();
  running.signal(SIGTERM);
  EXPECT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  return running.result();
}

// Both that are kept are whole and share no file; one at least names files of older steps that have
// no checkpoint any more (of those under way at the end one may have no base); every step counts.
void expect_increments(const Job& job, const nlohmann::json& result) {
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
  EXPECT_THAT(verified.output, HasSubstr("of them in files of older steps"));
  EXPECT_THAT(verified.output, testing::Not(HasSubstr("leftover")));
  const auto checkpoints = checkpoints_in(job);
  ASSERT_THAT(checkpoints, testing::SizeIs(2));
  std::uint64_t held = 0;
  std::set<std::string> names;
  unsigned increments = 0;
  for (const auto& checkpoint : checkpoints) {
    ASSERT_TRUE(checkpoint.manifest);
    held += checkpoint.manifest->bytes();
    if (2 * checkpoint.manifest->written_bytes() < checkpoint.manifest->bytes()) ++increments;
    for (const auto& file : checkpoint.manifest->files) {
      EXPECT_TRUE(names.insert(file.name).second) << file.name;
    }
  }
  EXPECT_GT(increments, 0U);
  EXPECT_LE(bytes_on_disk(job), 2 * held);
  EXPECT_LT(4 * result["checkpoint"]["written_bytes"].get<double>(),
            3 * result["checkpoint"]["bytes"].get<double>());
  EXPECT_EQ(result["faults"]["failed_checkpoints"], 0);
  EXPECT_EQ(count_of(job, kActive), result["steps"]);
}

TEST(IncrementalCheckpoints, GoOnWithOtherServersToTheSameBits) {
  CountingJob job("kind = \"bsp\"\n", kActive);
  nlohmann::json result;
  {
    Running running(job);
    result = end_after_some(job, running);
  }
  expect_increments(job, result);
  std::uint64_t steps = result["steps"];
  for (const unsigned servers : {3U, 1U, 2U}) {
    job.set_size(servers, 2);
    steps += 30;
    Running running(job, job.resume({fmt::format("run.servers={}", servers),
                                     fmt::format("run.steps={}", steps)}));
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
    EXPECT_EQ(running.result()["steps"], steps);
    EXPECT_EQ(count_of(job, kActive), steps) << servers;
    const Said verified = say(job, {"verify"});
    EXPECT_EQ(verified.code, 0) << verified.output;
    result = running.result();
  }
  CountingJob whole("kind = \"bsp\"\n", kActive);
  whole.overrides = {fmt::format("run.steps={}", steps)};
  Running running(whole);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["model_sha256"], result["model_sha256"]);
}

// The one before the newest names files of older ones, too.
TEST(IncrementalCheckpoints, GoBackToAnOlderOne) {
  CountingJob job("kind = \"bsp\"\n", kActive);
  {
    Running running(job);
    end_after_some(job, running);
  }
  const std::uint64_t older = checkpoints_of(job).at(1);
  const std::uint64_t steps = older + 40;
  Running running(job, job.resume({"--resume-step", std::to_string(older),
                                   fmt::format("run.steps={}", steps)}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(count_of(job, kActive), steps);
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
  EXPECT_THAT(verified.output, testing::Not(HasSubstr("leftover")));
}

// A chunk that lies in a file of an older step, of the newest checkpoint that has one.
struct KeptChunk {
  std::uint64_t step, at;
  std::string file;
};
std::optional<KeptChunk> find_kept_chunk(const Job& job) {
  for (const auto& [step, manifest, damage] : checkpoints_in(job)) {
    for (const auto& chunk : manifest->chunks) {
      const std::string& name = manifest->files[chunk.file].name;
      if (!name.starts_with(fmt::format("step-{:012}", step)))
        return KeptChunk{step, chunk.at, name};
    }
  }
  return std::nullopt;
}

// Damage in a file of an older step is that of whoever names it, and of one checkpoint alone.
TEST(IncrementalCheckpoints, DamageInAnOlderFileIsNamedAndTheOtherCheckpointIsWhole) {
  CountingJob job("kind = \"bsp\"\n", kActive);
  {
    Running running(job);
    end_after_some(job, running);
  }
  const auto kept = find_kept_chunk(job);
  ASSERT_TRUE(kept);
  {
    std::fstream file(job.run() / "checkpoints" / kept->file,
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(kept->at));
    file.put('!');
  }
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 5);
  EXPECT_THAT(verified.output,
              HasSubstr(fmt::format("step {}: damaged: {}: ", kept->step, kept->file)));
  const auto steps = checkpoints_of(job);
  const std::uint64_t whole = steps.at(0) == kept->step ? steps.at(1) : steps.at(0);
  Running running(job, job.resume({fmt::format("run.steps={}", whole + 30)}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(count_of(job, kActive), whole + 30);
}

// Another server in the place of a lost one, and another supervisor.
TEST(IncrementalCheckpoints, GoOnAfterALostServerAndAnotherSupervisor) {
  Orphaned<CountingJob> job("60s", std::string("kind = \"bsp\"\n"), kActive);
  Running first(job);
  kill_supervisor(job, first);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over at step", kRun)) << second.errors();
  second.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(second, "server", 1, 1)) << second.errors();
  const nlohmann::json result = end_after_some(job, second);
  EXPECT_EQ(result["faults"]["rolled_back_steps"], 0);
  expect_increments(job, result);
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());
}

}  // namespace
}  // namespace sheaf::harness
