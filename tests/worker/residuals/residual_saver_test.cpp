// A worker's part of a checkpoint has what its pushes had left out when it came to the step, though
// the worker goes on; what comes too late, or is taken back, is not written.
#include "worker/residuals/residual_saver.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <deque>
#include <fstream>
#include <limits>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/reader.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::worker {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

params::Layout saved_layout() {
  params::Layout layout;
  layout.add("w", {40}, {});
  return layout;
}

class ResidualSaverTest : public testing::Test {
 protected:
  struct Done {
    Version version = 0;
    std::optional<checkpoint::WrittenFile> written;
    std::string error;
  };
  ResidualSaver::Options options(Step first) {
    return {.folder = folder_.path() / "checkpoints",
            .file = {.layout = layout_,
                     .chunks = chunks_,
                     .partitions = residuals_.hosted(),
                     .job = "job",
                     .worker = 1,
                     .host = "here"},
            .first = first,
            .on_answer = [this](Version v, bool in_time) { answers_.emplace_back(v, in_time); },
            .on_done =
                [this](Version version, std::optional<checkpoint::WrittenFile> written,
                       const std::string& error) {
                  const std::lock_guard lock(mutex_);
                  done_.push_back({version, std::move(written), error});
                  changed_.notify_all();
                }};
  }
  Done next_done() {
    std::unique_lock lock(mutex_);
    const bool is_here =
        changed_.wait_for(lock, std::chrono::seconds(30), [&] { return !done_.empty(); });
    EXPECT_TRUE(is_here);
    Done done = is_here ? std::move(done_.front()) : Done{};
    if (is_here) done_.pop_front();
    return done;
  }
  // Partition p leaves out 100 p + step after the step.
  void take(Step step) {
    for (std::uint32_t p = 2; p < 4; ++p) {
      for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
        std::ranges::fill(residuals_.of(p).open(c, step), static_cast<float>(100 * p + step));
        residuals_.of(p).commit(c, step, {});
      }
    }
  }
  // What a checkpoint that is made of the file has left out of a partition.
  std::vector<float> read(const Done& done, std::uint32_t partition) {
    checkpoint::Manifest manifest;
    manifest.step = done.version;
    manifest.layout = layout_;
    manifest.add(done.written.value());
    EXPECT_EQ(manifest.residuals.size(), 2 * chunks_.size());
    checkpoint::Reader reader(disk_, folder_.path() / "checkpoints", manifest);
    std::vector<float> values(40);
    reader.read_residual(partition, 0, 0, values);
    return values;
  }

  params::Layout layout_ = saved_layout();
  params::ChunkMap chunks_{layout_, 64};
  launcher::TemporaryFolder folder_;
  checkpoint::PosixDisk disk_;
  Residuals residuals_{{.chunks = chunks_, .hosted = {2, 2}, .push_bytes = 8}};
  std::vector<std::pair<Version, bool>> answers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Done> done_;  // guarded
};

TEST_F(ResidualSaverTest, SavesWhatIsLeftOutBeforeTheStep) {
  std::filesystem::create_directories(folder_.path() / "checkpoints");
  residuals_.begin(0);
  ResidualSaver saver(disk_, residuals_, options(0));
  saver.order(3);
  for (Step step = 0; step < 6; ++step) {
    saver.on_begin(step);
    take(step);
  }
  const Done done = next_done();
  EXPECT_EQ(done.error, "");
  EXPECT_EQ(done.written.value().file.name, "step-000000000003/worker-1.safetensors");
  EXPECT_THAT(read(done, 2), Each(202.0F));
  EXPECT_THAT(read(done, 3), Each(302.0F));
  EXPECT_THAT(answers_, ElementsAre(Pair(3, true)));
}

TEST_F(ResidualSaverTest, WhatComesTooLateIsSaidAndNotSaved) {
  std::filesystem::create_directories(folder_.path() / "checkpoints");
  residuals_.begin(4);
  ResidualSaver saver(disk_, residuals_, options(4));
  saver.on_begin(4);
  saver.order(3);
  saver.order(4);
  saver.order(5);
  EXPECT_THAT(answers_, ElementsAre(Pair(3, false), Pair(4, false), Pair(5, true)));
  take(4);
  saver.on_begin(5);
  EXPECT_EQ(next_done().version, 5U);
}

TEST_F(ResidualSaverTest, TheLastVersionMayBeOrderedWhenNoStepIsTakenAnyMore) {
  std::filesystem::create_directories(folder_.path() / "checkpoints");
  residuals_.begin(0);
  ResidualSaver saver(disk_, residuals_, options(0));
  saver.on_begin(0);
  take(0);
  saver.on_end(1);
  saver.order(1);
  const Done done = next_done();
  EXPECT_EQ(done.version, 1U);
  EXPECT_THAT(read(done, 3), Each(300.0F));
}

// A worker that others went on without comes to a later step.
TEST_F(ResidualSaverTest, AVersionThatWasPassedOverIsSavedAsItIs) {
  std::filesystem::create_directories(folder_.path() / "checkpoints");
  residuals_.begin(0);
  ResidualSaver saver(disk_, residuals_, options(0));
  saver.on_begin(0);
  take(0);
  saver.order(4);
  saver.on_begin(7);
  EXPECT_THAT(read(next_done(), 2), Each(200.0F));
}

TEST_F(ResidualSaverTest, WhatIsTakenBackIsNotSaved) {
  std::filesystem::create_directories(folder_.path() / "checkpoints");
  residuals_.begin(0);
  ResidualSaver saver(disk_, residuals_, options(0));
  saver.order(1);
  saver.order(2);
  saver.abandon(1);
  for (Step step = 0; step < 3; ++step) {
    saver.on_begin(step);
    take(step);
  }
  EXPECT_EQ(next_done().version, 2U);
  EXPECT_FALSE(
      std::filesystem::exists(folder_.path() / "checkpoints" / checkpoint::folder_name(1)));
}

TEST_F(ResidualSaverTest, AFileThatCannotBeWrittenIsSaid) {
  std::ofstream(folder_.path() / "checkpoints") << "no folder";
  residuals_.begin(0);
  ResidualSaver saver(disk_, residuals_, options(0));
  saver.order(1);
  saver.on_end(1);
  const Done done = next_done();
  EXPECT_FALSE(done.written);
  EXPECT_THAT(done.error, HasSubstr("checkpoints"));
}

TEST_F(ResidualSaverTest, WhatIsNotFiniteIsNotSaved) {
  std::filesystem::create_directories(folder_.path() / "checkpoints");
  residuals_.begin(0);
  residuals_.of(3).open(0, 0)[5] = std::numeric_limits<float>::quiet_NaN();
  residuals_.of(3).commit(0, 0, {});
  ResidualSaver saver(disk_, residuals_, options(0));
  saver.order(1);
  saver.on_end(1);
  EXPECT_THAT(next_done().error, HasSubstr("what partition 3 left out of w[0:16] is not finite"));
}

}  // namespace
}  // namespace sheaf::worker
