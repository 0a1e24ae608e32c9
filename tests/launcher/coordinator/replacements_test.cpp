// Who takes the place of a lost worker, when, and where it begins; expected values are those that
// the header promises.
#include "launcher/coordinator/replacements.h"

#include <gmock/gmock.h>

#include <limits>
#include <vector>

namespace sheaf::launcher {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr ProcessId kWorker0{Role::worker, 0};
constexpr ProcessId kWorker1{Role::worker, 1};
constexpr Step kNoChunks = std::numeric_limits<Step>::max();

// Two servers; two workers with partitions 0..2 and 3..5.
class ReplacementsTest : public testing::Test {
 protected:
  static TimePoint at(int t) { return TimePoint(seconds(t)); }
  static wire::ProcessInfo info(ProcessId process) {
    wire::ProcessInfo info;
    info.process = process;
    return info;
  }
  auto lose(ProcessId process, int t, std::optional<Step> newest = 0) {
    return replacements_.on_lost(info(process), newest, at(t));
  }
  // To the n-th question, or the one that was asked last.
  wire::PartitionClock answer(Step step, std::optional<std::size_t> n = std::nullopt) const {
    wire::PartitionClock answer = n ? asked_.at(*n) : asked_.back();
    answer.step = step;
    return answer;
  }
  // Its successor registers, and the servers say how far its partitions are.
  void arrive(ProcessId worker, Step first_server, Step second_server) {
    replacements_.on_registered(worker);
    replacements_.on_clock(0, answer(first_server));
    replacements_.on_clock(1, answer(second_server));
  }

  Restarts budget_{2};
  std::vector<std::pair<ProcessId, std::uint32_t>> started_;
  std::vector<wire::PartitionClock> asked_;
  std::vector<std::pair<ProcessId, Step>> begun_;
  Replacements replacements_{
      {.servers = 2,
       .workers = 2,
       .partitions = 6,
       .incarnation = 4,
       .budget = &budget_,
       .start =
           [this](const wire::ProcessInfo& lost, std::uint32_t incarnation) {
             started_.emplace_back(lost.process, incarnation);
           },
       .ask = [this](const wire::PartitionClock& question) { asked_.push_back(question); },
       .begin = [this](ProcessId worker, Step first) { begun_.emplace_back(worker, first); }}};
};

TEST_F(ReplacementsTest, ItBeginsAtTheFirstStepThatSomeServerLacks) {
  const auto successor = lose(kWorker1, 10);
  ASSERT_TRUE(successor);
  EXPECT_EQ(successor->incarnation, 5U);
  EXPECT_EQ(successor->pause, Duration{0});
  EXPECT_THAT(started_, ElementsAre(Pair(kWorker1, 5U)));
  replacements_.on_registered(kWorker1);
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_EQ(asked_[0].first, 3U);
  EXPECT_EQ(asked_[0].count, 3U);
  EXPECT_EQ(asked_[0].worker, 1U);  // whose predecessors are fenced off
  EXPECT_EQ(asked_[0].incarnation, 5U);
  replacements_.on_clock(1, answer(17));
  EXPECT_THAT(begun_, IsEmpty());  // one server has not answered
  replacements_.on_clock(0, answer(18));
  EXPECT_THAT(begun_, ElementsAre(Pair(kWorker1, 17U)));
}

TEST_F(ReplacementsTest, AServerWithoutChunksSaysNothing) {
  lose(kWorker0, 0);
  arrive(kWorker0, kNoChunks, 3);
  EXPECT_THAT(begun_, ElementsAre(Pair(kWorker0, 3U)));
}

TEST_F(ReplacementsTest, TwoAtOnceDoNotMix) {
  lose(kWorker0, 0);
  lose(kWorker1, 0, 5);
  replacements_.on_registered(kWorker0);
  replacements_.on_registered(kWorker1);
  replacements_.on_clock(0, answer(7, 0));
  replacements_.on_clock(0, answer(8, 1));
  replacements_.on_clock(1, answer(9, 1));
  replacements_.on_clock(1, answer(9, 0));
  EXPECT_THAT(begun_, ElementsAre(Pair(kWorker1, 8U), Pair(kWorker0, 7U)));
}

TEST_F(ReplacementsTest, TheSecondInARowWaitsAndThenThereAreTooMany) {
  EXPECT_TRUE(lose(kWorker0, 0));
  arrive(kWorker0, 1, 1);
  const auto second = lose(kWorker0, 20);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->incarnation, 6U);
  EXPECT_EQ(second->pause, Duration{seconds(1)});
  EXPECT_EQ(started_.size(), 1U);
  replacements_.on_tick(at(20));
  EXPECT_EQ(started_.size(), 1U);
  replacements_.on_tick(at(21));
  replacements_.on_tick(at(22));
  EXPECT_THAT(started_, ElementsAre(Pair(kWorker0, 5U), Pair(kWorker0, 6U)));
  arrive(kWorker0, 1, 1);
  EXPECT_FALSE(lose(kWorker0, 30));
}

TEST_F(ReplacementsTest, AHostFullOfWorkersIsOneLoss) {
  Restarts one(1);
  std::vector<ProcessId> started;
  Replacements replacements({.servers = 1,
                             .workers = 4,
                             .partitions = 4,
                             .budget = &one,
                             .start = [&](const wire::ProcessInfo& lost, std::uint32_t) {
                               started.push_back(lost.process);
                             }});
  for (const std::uint32_t id : {2U, 0U, 3U}) {
    const auto successor = replacements.on_lost(info({Role::worker, id}), 0, at(0));
    ASSERT_TRUE(successor);
    EXPECT_EQ(successor->pause, Duration{0});
  }
  EXPECT_EQ(started.size(), 3U);
  EXPECT_FALSE(replacements.on_lost(info(kWorker0), 0, at(1)));  // again
}

TEST_F(ReplacementsTest, ASuccessorThatIsLostBeforeItBeginsHasASuccessor) {
  lose(kWorker0, 0);
  replacements_.on_registered(kWorker0);
  lose(kWorker0, 0, 5);
  replacements_.on_clock(0, answer(2));  // what the first one was to be told
  replacements_.on_registered(kWorker0);
  replacements_.on_clock(1, answer(2, 0));
  replacements_.on_clock(0, answer(2));
  EXPECT_THAT(begun_, IsEmpty());  // nor does this count for the second
  arrive(kWorker0, 2, 2);
  EXPECT_THAT(begun_, ElementsAre(Pair(kWorker0, 2U)));
}

// Then it begins as ever. What ends one host after the other is not handed on for ever.
TEST_F(ReplacementsTest, WhoIsTakenOnByASurvivorBeginsAsEver) {
  const auto incarnation = replacements_.on_moved(info(kWorker1), 0, at(0));
  EXPECT_EQ(incarnation, 5U);
  EXPECT_THAT(started_, IsEmpty());
  EXPECT_TRUE(replacements_.awaits(kWorker1));
  arrive(kWorker1, 17, 18);
  EXPECT_THAT(begun_, ElementsAre(Pair(kWorker1, 17U)));
  EXPECT_EQ(asked_.back().worker, 1U);
  EXPECT_EQ(asked_.back().incarnation, 5U);
  EXPECT_FALSE(replacements_.on_moved(info(kWorker1), 0, at(1)));
  EXPECT_TRUE(replacements_.on_moved(info(kWorker0), 0, at(1)));
  EXPECT_TRUE(replacements_.on_moved(info(kWorker1), 20, at(2)));
}

TEST_F(ReplacementsTest, AServerIsNotReplaced) {
  EXPECT_FALSE(lose({Role::server, 0}, 0));
  EXPECT_THAT(started_, IsEmpty());
}

// Two servers that keep snapshots; two workers as above.
class ReplacedServersTest : public ReplacementsTest {
 protected:
  auto lose(ProcessId process, int t) { return servers_too_.on_lost(info(process), 0, at(t)); }

  std::vector<ProcessId> adopted_;
  Restarts often_{100};
  Replacements servers_too_{
      {.servers = 2,
       .workers = 2,
       .partitions = 6,
       .budget = &often_,
       .servers_return = true,
       .start = [](const wire::ProcessInfo&, std::uint32_t) {},
       .ask = [this](const wire::PartitionClock& question) { asked_.push_back(question); },
       .begin = [this](ProcessId worker, Step first) { begun_.emplace_back(worker, first); },
       .adopt = [this](const wire::ProcessInfo& lost) { adopted_.push_back(lost.process); }}};
};

constexpr ProcessId kServer1{Role::server, 1};

TEST_F(ReplacedServersTest, GoOnWithWhatTheLostOneHasLeft) {
  EXPECT_TRUE(lose(kServer1, 0));
  servers_too_.on_registered(kServer1);
  EXPECT_THAT(adopted_, ElementsAre(kServer1));
  EXPECT_TRUE(servers_too_.on_adopted(kServer1));
  EXPECT_FALSE(servers_too_.on_adopted(kServer1));
  EXPECT_TRUE(lose(kServer1, 1));  // the next one
}

TEST_F(ReplacedServersTest, WhoIsLostWhileItAdoptsHasNoSuccessor) {
  lose(kServer1, 0);
  servers_too_.on_registered(kServer1);
  EXPECT_FALSE(lose(kServer1, 0));
}

TEST_F(ReplacedServersTest, AWorkerLostBesideWaitsForItsAnswer) {
  lose(kServer1, 0);
  lose(kWorker0, 0);
  servers_too_.on_registered(kWorker0);
  servers_too_.on_clock(0, answer(7));
  EXPECT_THAT(begun_, IsEmpty());
  servers_too_.on_registered(kServer1);
  asked_.clear();
  servers_too_.on_adopted(kServer1);
  ASSERT_EQ(asked_.size(), 1U);  // both servers, once more
  servers_too_.on_clock(0, answer(7));
  servers_too_.on_clock(1, answer(6));
  EXPECT_THAT(begun_, ElementsAre(Pair(kWorker0, 6U)));
}

TEST_F(ReplacedServersTest, WhatALostOneHasAnsweredDoesNotCount) {
  lose(kWorker0, 0);
  servers_too_.on_registered(kWorker0);
  servers_too_.on_clock(0, answer(7));
  lose({Role::server, 0}, 1);
  servers_too_.on_clock(1, answer(7));
  EXPECT_THAT(begun_, IsEmpty());  // nobody knows yet where its successor is
  servers_too_.on_registered({Role::server, 0});
  servers_too_.on_adopted({Role::server, 0});
  servers_too_.on_clock(0, answer(7));
  EXPECT_THAT(begun_, ElementsAre(Pair(kWorker0, 7U)));
}

// Four servers in a ring, each of which has its replica on the next one alone.
class ReplicatedServersTest : public testing::Test {
 protected:
  bool lose(std::uint32_t server) {
    wire::ProcessInfo lost;
    lost.process = {Role::server, server};
    return replacements_.on_lost(lost, 0, TimePoint{}).has_value();
  }
  Restarts often_{100};
  Replacements replacements_{{.servers = 4,
                              .budget = &often_,
                              .servers_return = true,
                              .backups = {1, 2, 3, 0},
                              .start = [](const wire::ProcessInfo&, std::uint32_t) {},
                              .adopt = [](const wire::ProcessInfo&) {}}};
};

TEST_F(ReplicatedServersTest, TwoThatKeepNothingOfEachOtherAreReplaced) {
  EXPECT_TRUE(lose(0));
  EXPECT_TRUE(lose(2));
}

TEST_F(ReplicatedServersTest, OneThatIsLostWithItsReplicaIsNot) {
  EXPECT_TRUE(lose(1));
  EXPECT_FALSE(lose(0));  // its replica is on the one before
}

TEST_F(ReplicatedServersTest, OneThatIsLostWithWhatItKeptIsNot) {
  EXPECT_TRUE(lose(0));
  EXPECT_FALSE(lose(1));
}

TEST_F(ReplicatedServersTest, OneAfterTheOtherAre) {
  EXPECT_TRUE(lose(0));
  replacements_.on_registered({Role::server, 0});
  EXPECT_TRUE(replacements_.on_adopted({Role::server, 0}));
  EXPECT_TRUE(lose(1));
}

TEST(ReplacementsOfNobodyTest, WithoutABudgetNobodyIs) {
  Replacements replacements({});
  wire::ProcessInfo lost;
  lost.process = kWorker0;
  EXPECT_FALSE(replacements.on_lost(lost, 0, TimePoint{}));
}

}  // namespace
}  // namespace sheaf::launcher
