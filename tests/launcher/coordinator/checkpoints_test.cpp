// When a coordinator orders checkpoints and what it makes of the answers. Files are real; servers
// are played by the test, which writes their parts as a server does.
#include "launcher/coordinator/checkpoints.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "common/checkpoint/data_file.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/residual_file.h"
#include "common/params/chunk_map.h"
#include "launcher/system/background.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr TimePoint kStart{seconds(1000)};

class CheckpointsTest : public testing::Test {
 protected:
  // Of a job in which so many workers keep residuals.
  explicit CheckpointsTest(std::uint32_t workers = 0) {
    layout_.add("w", {64}, {});
    Checkpoints::Options o;
    o.folder = folder_.path() / "checkpoints";
    o.host = "here";
    o.servers = 2;
    o.workers = workers;
    o.every = seconds(30);
    o.keep = 2;
    o.last = 1'000'000;
    o.manifest.job = "job";
    o.manifest.layout = layout_;
    o.order = [this](Role role, const wire::CheckpointAt& order) {
      if (role == Role::worker) return to_workers_.push_back(order.version);
      (order.abandoned ? abandoned_ : ordered_).push_back(order.version);
    };
    o.name_base = [this](const wire::CheckpointBase& base) {
      bases_.emplace_back(base.version, base.base);
    };
    o.in_background = [this](std::function<void()> task) { background_.run(std::move(task)); };
    o.post = [this](std::function<void()> task) {
      const std::lock_guard lock(mutex_);
      posted_.push_back(std::move(task));
      changed_.notify_all();
    };
    o.warn = [this](std::string_view text) { warnings_.emplace_back(text); };
    o.on_settled = [this] { ++settled_; };
    std::filesystem::create_directories(o.folder);
    path_ = o.folder;
    checkpoints_ = std::make_unique<Checkpoints>(std::move(o), disk_, std::nullopt, kStart);
  }

  // Both servers answer.
  void answer(Version version, bool in_time = true) {
    checkpoints_->on_answer({Role::server, 0}, {version, in_time, true});
    checkpoints_->on_answer({Role::server, 1}, {version, true, true});
  }
  // A server has written its half, which is the same as in `same`.
  void save(Version version, std::uint32_t server, Version same = 0) {
    const params::ChunkMap chunks(layout_, 128);  // two chunks of 32 floats
    checkpoint::DataFileWriter writer(disk_, path_,
                                      {.layout = layout_,
                                       .chunks = chunks,
                                       .ids = {server},
                                       .state_per_parameter = 0,
                                       .job = "job",
                                       .step = version,
                                       .server = server,
                                       .host = "here"},
                                      checkpoint::Base::open(disk_, path_, same));
    const std::vector<float> values(32, static_cast<float>(same != 0 ? same : version));
    writer.write(server, values, {});
    checkpoints_->on_saved({Role::server, server}, saved_message(version, writer.finish()));
  }
  // What the files' thread has to say, in ours, once or until a version is settled.
  void run_posted_once() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, seconds(30), [&] { return !posted_.empty(); }));
    const auto task = std::move(posted_.front());
    posted_.pop_front();
    lock.unlock();
    task();
  }
  void run_posted() {
    for (const int before = settled_; settled_ == before;)
      ASSERT_NO_FATAL_FAILURE(run_posted_once());
  }
  void make(Version version, Version same = 0, bool end = false) {
    checkpoints_->take(version, end);
    answer(version);
    save(version, 0, same);
    save(version, 1, same);
    run_posted();
  }
  std::vector<Step> on_disk() {
    std::vector<Step> steps;
    for (const auto& c : checkpoint::Store(disk_, path_).list()) steps.push_back(c.step);
    return steps;
  }

  TemporaryFolder folder_;
  std::filesystem::path path_;
  params::Layout layout_;
  checkpoint::PosixDisk disk_;
  std::vector<Version> ordered_, abandoned_, to_workers_;
  std::vector<std::pair<Version, Version>> bases_;
  std::vector<std::string> warnings_;
  int settled_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> posted_;
  std::unique_ptr<Checkpoints> checkpoints_;
  Background background_;  // last: it posts
};

TEST_F(CheckpointsTest, PartsOfAllServersMakeOne) {
  checkpoints_->take(7, true);
  EXPECT_THAT(ordered_, ElementsAre(7));
  answer(7);
  save(7, 1);
  EXPECT_FALSE(checkpoints_->settled(7));
  save(7, 0);
  run_posted();
  EXPECT_TRUE(checkpoints_->settled(7));
  EXPECT_EQ(checkpoints_->newest(), 7);
  EXPECT_EQ(settled_, 1);
  EXPECT_THAT(on_disk(), ElementsAre(7));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(CheckpointsTest, WhatAReplacedServerHadNotSavedIsOrderedOfItsSuccessor) {
  checkpoints_->take(7, true);
  checkpoints_->take(9, false);
  answer(7);
  answer(9);
  save(9, 0);
  save(7, 1);
  std::vector<Version> again;
  const auto order = [&](const wire::CheckpointAt& at) {
    EXPECT_EQ(at.end, at.version == 7);
    again.push_back(at.version);
  };
  checkpoints_->on_replaced({Role::server, 1}, order);
  EXPECT_THAT(again, ElementsAre(9));  // its part of 7 is on the disk
  save(7, 0);
  run_posted();
  EXPECT_EQ(checkpoints_->newest(), 7);
  checkpoints_->on_answer({Role::server, 1}, {9, true, true});
  save(9, 1);
  run_posted();
  EXPECT_EQ(checkpoints_->newest(), 9);
  EXPECT_THAT(abandoned_, IsEmpty());
}

TEST_F(CheckpointsTest, OlderOnesGoWhenNewerOnesAreThere) {
  for (const Version version : {1U, 2U, 3U}) {
    checkpoints_->take(version, true);
    answer(version);
    save(version, 0);
    save(version, 1);
    run_posted();
  }
  EXPECT_THAT(on_disk(), ElementsAre(3, 2));
}

TEST_F(CheckpointsTest, AVersionAheadOfTheJobIsOrderedWhenItIsTime) {
  checkpoints_->on_tick(kStart + seconds(1), 100);
  checkpoints_->on_tick(kStart + seconds(29), 2900);
  EXPECT_THAT(ordered_, IsEmpty());
  checkpoints_->on_tick(kStart + seconds(30), 3000);
  EXPECT_THAT(ordered_, ElementsAre(3052));  // 2 steps, and half a second at 100 a second
  checkpoints_->on_tick(kStart + seconds(90), 9000);
  EXPECT_THAT(ordered_, SizeIs(1));  // one at a time
}

// What the coordinator knows of a job comes with the beats of its workers, and may be older than
// what servers have saved: for ever so, if that worker is lost.
TEST_F(CheckpointsTest, TheNextOneIsAheadOfWhatIsSavedAlsoIfTheJobIsKnownToBeBehind) {
  checkpoints_->on_tick(kStart, 100);
  checkpoints_->on_tick(kStart + seconds(30), 100);
  ASSERT_THAT(ordered_, SizeIs(1));
  const Version first = ordered_.front();
  ASSERT_GT(first, 100U);
  answer(first);
  save(first, 0);
  save(first, 1);
  run_posted();
  ASSERT_EQ(checkpoints_->newest(), first);
  checkpoints_->on_tick(kStart + seconds(60), 100);
  ASSERT_THAT(ordered_, SizeIs(2));
  EXPECT_GT(ordered_.back(), first);
  EXPECT_FALSE(checkpoints_->settled(ordered_.back()));
}

// The coordinator of a job that it took over has seen no step; those before it are no rate.
TEST_F(CheckpointsTest, StepsBeforeTheFirstTickAreNoRate) {
  checkpoints_->on_tick(kStart + seconds(30), 1'000'000 / 2);
  ASSERT_THAT(ordered_, SizeIs(1));
  EXPECT_LT(ordered_.front(), 1'000'000 / 2 + 10);
}

TEST_F(CheckpointsTest, WhatComesTooLateIsOrderedAgainFurtherAhead) {
  checkpoints_->on_tick(kStart + seconds(29), 2900);
  checkpoints_->on_tick(kStart + seconds(30), 3000);
  answer(3052, false);
  EXPECT_THAT(abandoned_, ElementsAre(3052));
  EXPECT_TRUE(checkpoints_->settled(3052));
  EXPECT_TRUE(checkpoints_->was_due(3052));  // nothing ends there
  EXPECT_FALSE(checkpoints_->was_due(3053));
  checkpoints_->on_tick(kStart + seconds(31), 3100);
  EXPECT_THAT(ordered_, ElementsAre(3052, 3202));
  checkpoints_->on_saved({Role::server, 1}, wire::Saved{3052, ""});  // what was abandoned
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(CheckpointsTest, APartThatCannotBeWrittenCostsThisOneOnly) {
  checkpoints_->take(1, true);
  answer(1);
  save(1, 0);
  save(1, 1);
  run_posted();
  checkpoints_->take(2, true);
  answer(2);
  save(2, 0);
  checkpoints_->on_saved({Role::server, 1}, wire::Saved{2, "no space"});
  EXPECT_TRUE(checkpoints_->settled(2));
  EXPECT_EQ(checkpoints_->newest(), 1);
  EXPECT_EQ(checkpoints_->failed(), 1);
  ASSERT_THAT(warnings_, SizeIs(1));
  EXPECT_EQ(warnings_[0],
            "warning: no checkpoint of step 2: server 1: no space; the newest is of step 1");
  EXPECT_THAT(on_disk(), ElementsAre(1));
}

// Servers hand a version over once: a job that is asked to end at one that has failed would wait
// for ever. What it has left makes room for the next one.
TEST_F(CheckpointsTest, AVersionThatFailedIsNotOrderedAgainAndLeavesNoFiles) {
  checkpoints_->take(1, true);
  answer(1);
  save(1, 0);
  checkpoints_->on_saved({Role::server, 1}, wire::Saved{1, "no space"});
  checkpoints_->take(1, true);
  EXPECT_THAT(ordered_, ElementsAre(1));
  EXPECT_TRUE(checkpoints_->settled(1));
  checkpoints_->take(2, true);
  answer(2);
  save(2, 0);
  save(2, 1);
  run_posted();
  EXPECT_EQ(checkpoints_->newest(), 2);
  EXPECT_FALSE(std::filesystem::exists(path_ / checkpoint::folder_name(1)));
}

// Of a coordinator before: servers hand a version over once, and have begun with it.
TEST_F(CheckpointsTest, WhatWasGivenUpIsNotOrderedAgain) {
  checkpoints_->give_up(102);
  EXPECT_THAT(abandoned_, ElementsAre(102));
  checkpoints_->on_tick(kStart, 100);
  checkpoints_->on_tick(kStart + seconds(30), 100);  // a step that takes as long
  ASSERT_THAT(ordered_, SizeIs(1));
  EXPECT_GT(ordered_.front(), 102U);
}

// ---- the checkpoint whose files the next ones may name ------------------------------------------

using Named = std::pair<Version, Version>;

TEST_F(CheckpointsTest, TheBaseIsTheOneBeforeTheNewest) {
  make(1);
  make(2);
  EXPECT_THAT(bases_, IsEmpty());
  make(3);
  make(4);
  checkpoints_->take(5, false);
  checkpoints_->take(5, false);
  EXPECT_THAT(bases_, ElementsAre(Named(3, 1), Named(4, 2), Named(5, 3)));
}

// Whichever of two in a row is damaged, the other is not.
TEST_F(CheckpointsTest, TheNewestTwoShareNoFile) {
  make(1);
  make(2);
  make(3);
  make(4, 2);  // what has not changed since
  make(5, 3);
  std::set<std::string> names;
  for (const Version version : {4U, 5U}) {
    const auto manifest = checkpoint::Store(disk_, path_).manifest(version);
    ASSERT_TRUE(manifest);
    for (const auto& file : manifest->files) {
      EXPECT_TRUE(file.name.starts_with(checkpoint::folder_name(version - 2)));
      EXPECT_TRUE(names.insert(file.name).second) << file.name;
    }
  }
  checkpoints_->take(6, false);
  EXPECT_THAT(bases_, ElementsAre(Named(3, 1), Named(4, 2), Named(5, 3), Named(6, 4)));
}

// It is ordered when the job begins; what is the newest then is of no use in the end.
TEST_F(CheckpointsTest, TheLastOneHasABaseWhenItIsNear) {
  constexpr Version kLast = 1'000'000;
  make(1);
  make(2);
  checkpoints_->take(kLast, true);
  checkpoints_->on_tick(kStart, kLast - 1000);
  EXPECT_THAT(bases_, IsEmpty());
  checkpoints_->on_tick(kStart + seconds(1), kLast - 100);  // 900 steps a second, half a second
  checkpoints_->on_tick(kStart + seconds(2), kLast - 50);
  EXPECT_THAT(bases_, ElementsAre(Named(kLast, 1)));
}

TEST_F(CheckpointsTest, ABaseStaysUntilWhoeverMayNameItIsSettled) {
  make(1);
  make(2);
  checkpoints_->take(9, false);
  for (const Version version : {3U, 4U, 5U}) make(version);
  EXPECT_THAT(bases_, ElementsAre(Named(9, 1))) << "of those under way one has a base";
  EXPECT_THAT(on_disk(), ElementsAre(5, 4, 1));
  answer(9);
  save(9, 0);
  save(9, 1);
  run_posted();
  EXPECT_THAT(on_disk(), ElementsAre(9, 5));
}

TEST_F(CheckpointsTest, ABaseThatFailedVersionsHadGoesWithTheNext) {
  make(1);
  make(2);
  checkpoints_->take(9, false);
  make(3);
  answer(9);
  save(9, 0);
  checkpoints_->on_saved({Role::server, 1}, wire::Saved{9, "no space"});
  make(10);
  EXPECT_THAT(bases_, ElementsAre(Named(9, 1), Named(10, 2)));
  EXPECT_THAT(on_disk(), ElementsAre(10, 3));
}

// A version that is about to be the newest has its base still.
TEST_F(CheckpointsTest, ABaseIsNamedBeforeItIsKnownWhichOnesGo) {
  make(1);
  make(2);
  checkpoints_->take(3, true);
  answer(3);
  save(3, 0);
  save(3, 1);
  run_posted_once();  // 3 is on the disk
  checkpoints_->take(5, false);
  run_posted();
  checkpoints_->take(6, false);
  EXPECT_THAT(bases_, ElementsAre(Named(3, 1), Named(6, 2)));
  EXPECT_THAT(on_disk(), ElementsAre(3, 2));
  make(7);
  EXPECT_THAT(on_disk(), ElementsAre(7, 3, 2));
}

TEST_F(CheckpointsTest, WhereTheJobEndsNothingWaitsForABase) {
  make(1);
  make(2);
  checkpoints_->take(9, false);  // ahead of a job that is asked to end before
  make(3);
  EXPECT_THAT(on_disk(), ElementsAre(3, 2, 1));
  make(4, 0, true);
  EXPECT_THAT(on_disk(), ElementsAre(4, 3));
}

TEST_F(CheckpointsTest, ASuccessorIsToldTheBaseOfItsPredecessor) {
  make(1);
  make(2);
  checkpoints_->take(9, false);
  bases_.clear();
  checkpoints_->on_replaced({Role::server, 1}, [](const wire::CheckpointAt&) {});
  EXPECT_THAT(bases_, ElementsAre(Named(9, 1)));
}

TEST_F(CheckpointsTest, WhatAnotherCoordinatorHasNamedStays) {
  make(1);
  make(2);
  bases_.clear();
  checkpoints_->take(9, true, {1});
  EXPECT_THAT(bases_, IsEmpty());
  make(3);
  make(4);
  EXPECT_THAT(on_disk(), ElementsAre(4, 3, 1));
}

// With error feedback workers have parts, too, of all versions but the first.
class ResidualCheckpointsTest : public CheckpointsTest {
 protected:
  ResidualCheckpointsTest() : CheckpointsTest(1) {}
  void save_residuals(Version version) {
    const params::ChunkMap chunks(layout_, 128);
    checkpoint::ResidualFileWriter writer(disk_, path_,
                                          {.layout = layout_,
                                           .chunks = chunks,
                                           .partitions = {0, 1},
                                           .job = "job",
                                           .step = version,
                                           .worker = 0,
                                           .host = "here"});
    for (const std::uint32_t c : {0U, 1U}) writer.write(0, 0, c, std::vector<float>(32, 1.0F));
    checkpoints_->on_saved(kWorker, saved_message(version, {writer.finish()}));
  }
  static constexpr ProcessId kWorker{Role::worker, 0};
};

TEST_F(ResidualCheckpointsTest, WorkersHaveTheirPart) {
  checkpoints_->take(7, true);
  EXPECT_THAT(ordered_, ElementsAre(7));
  EXPECT_THAT(to_workers_, ElementsAre(7));
  answer(7);
  save(7, 0);
  save(7, 1);
  EXPECT_FALSE(checkpoints_->settled(7));
  checkpoints_->on_answer(kWorker, {7, true, true});
  save_residuals(7);
  run_posted();
  EXPECT_EQ(checkpoints_->newest(), 7);
  EXPECT_THAT(warnings_, IsEmpty());
  const auto newest = checkpoint::Store(disk_, path_).newest_verified();
  ASSERT_TRUE(newest.manifest);
  EXPECT_THAT(newest.manifest->residuals, SizeIs(2));
}

TEST_F(ResidualCheckpointsTest, NothingIsLeftOutBeforeTheFirstStep) {
  checkpoints_->take(0, false);
  EXPECT_THAT(to_workers_, IsEmpty());
  answer(0);
  save(0, 0);
  save(0, 1);
  run_posted();
  EXPECT_EQ(checkpoints_->newest(), 0);
}

TEST_F(ResidualCheckpointsTest, AWorkerThatIsPastItIsLateLikeAServer) {
  checkpoints_->take(7, true);
  answer(7);
  checkpoints_->on_answer(kWorker, {7, false, true});
  EXPECT_THAT(abandoned_, ElementsAre(7));
  EXPECT_THAT(to_workers_, ElementsAre(7, 7));  // and they are told
}

TEST_F(ResidualCheckpointsTest, ASuccessorIsOrderedWhatItsPredecessorHadNotSaved) {
  checkpoints_->take(7, true);
  answer(7);
  checkpoints_->on_answer(kWorker, {7, true, true});
  std::vector<Version> again;
  checkpoints_->on_replaced(kWorker,
                            [&](const wire::CheckpointAt& at) { again.push_back(at.version); });
  EXPECT_THAT(again, ElementsAre(7));
  save(7, 0);
  save(7, 1);
  EXPECT_FALSE(checkpoints_->settled(7));
  checkpoints_->on_answer(kWorker, {7, true, true});
  save_residuals(7);
  run_posted();
  EXPECT_EQ(checkpoints_->newest(), 7);
}

TEST_F(CheckpointsTest, AServerWithoutChunksHasNoPart) {
  checkpoints_->take(5, true);
  checkpoints_->on_answer({Role::server, 0}, {5, true, true});
  checkpoints_->on_answer({Role::server, 1}, {5, true, false});
  save(5, 0);
  run_posted();
  EXPECT_TRUE(checkpoints_->settled(5));
  EXPECT_THAT(warnings_, SizeIs(1));  // half of the vector is nowhere, and that is noticed
}

}  // namespace
}  // namespace sheaf::launcher
