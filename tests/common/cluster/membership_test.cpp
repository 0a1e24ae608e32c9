#include "common/cluster/membership.h"

#include <gmock/gmock.h>

#include "common/base/error.h"

namespace sheaf::cluster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Kind = Membership::Event::Kind;

constexpr ProcessId kServer{Role::server, 0};
constexpr ProcessId kWorker0{Role::worker, 0};
constexpr ProcessId kWorker1{Role::worker, 1};

// One server, two workers, and a clock that the test turns: to arrive within 60 s, suspect after 5,
// dead after 10.
class MembershipTest : public testing::Test {
 protected:
  static TimePoint at(double t) {
    return TimePoint(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(t)));
  }
  void register_all(double t) {
    for (const ProcessId process : {kServer, kWorker0, kWorker1}) {
      wire::ProcessInfo info;
      info.process = process;
      info.host = "n2";
      info.pid = 812;
      members_.on_registered(info, at(t));
    }
  }
  void hear_all_but(ProcessId silent, double t) {
    for (const ProcessId process : {kServer, kWorker0, kWorker1}) {
      if (process != silent) members_.on_heard(process, at(t));
    }
  }
  std::vector<std::pair<Kind, ProcessId>> tick(double t) {
    std::vector<std::pair<Kind, ProcessId>> kinds;
    texts_.clear();
    for (const auto& event : members_.on_tick(at(t))) {
      kinds.emplace_back(event.kind, event.process);
      texts_ += event.text + "\n";
    }
    return kinds;
  }
  MemberState state(ProcessId process) const { return members_.member(process).state; }

  Membership members_{{.servers = 1,
                       .workers = 2,
                       .start = std::chrono::seconds(60),
                       .suspect = std::chrono::seconds(5),
                       .dead = std::chrono::seconds(10)},
                      at(0)};
  std::string texts_;
};

TEST_F(MembershipTest, ServersComeBeforeWorkersAsTheRanksDo) {
  EXPECT_EQ(members_.rank_of(kServer), 0U);
  EXPECT_EQ(members_.rank_of(kWorker1), 2U);
  EXPECT_TRUE(members_.expects(kWorker1));
  EXPECT_FALSE(members_.expects({Role::worker, 2}));
  EXPECT_FALSE(members_.expects({Role::server, 1}));
  EXPECT_FALSE(members_.expects({Role::coordinator, 0}));
  EXPECT_THROW(members_.on_heard({Role::worker, 2}, at(0)), Error);
}

TEST_F(MembershipTest, AJobRunsFromRegistrationToTheEnd) {
  EXPECT_FALSE(members_.everybody_registered());
  register_all(1);
  EXPECT_TRUE(members_.everybody_registered());
  EXPECT_EQ(state(kWorker0), MemberState::starting);
  members_.on_running();
  EXPECT_EQ(state(kWorker0), MemberState::running);
  members_.on_finished(kWorker0);
  EXPECT_FALSE(members_.all_finished(Role::worker));
  members_.on_finished(kWorker1);
  EXPECT_TRUE(members_.all_finished(Role::worker));
  EXPECT_FALSE(members_.all_finished(Role::server));
  EXPECT_FALSE(members_.on_closed(kWorker1, "closed"));  // it had finished
}

TEST_F(MembershipTest, WhoHasNotArrivedInTimeIsMissing) {
  wire::ProcessInfo info;
  info.process = kServer;
  members_.on_registered(info, at(59));
  members_.on_heard(kWorker0, at(59));  // has proved the key, has not registered
  EXPECT_THAT(tick(60), IsEmpty());
  EXPECT_THAT(tick(60.5),
              ElementsAre(std::pair(Kind::missing, kWorker0), std::pair(Kind::missing, kWorker1)));
  EXPECT_THAT(texts_, HasSubstr("worker 1 (rank 2) has not arrived within 60.0 s"));
}

TEST_F(MembershipTest, SilenceIsFirstSuspiciousAndThenDeath) {
  register_all(0);
  members_.on_running();
  hear_all_but(kWorker1, 4);
  EXPECT_THAT(tick(4.9), IsEmpty());
  hear_all_but(kWorker1, 5);
  EXPECT_THAT(tick(5), ElementsAre(std::pair(Kind::suspected, kWorker1)));
  EXPECT_THAT(texts_, HasSubstr("worker 1 on n2 (pid 812) has been silent for 5.0 s"));
  EXPECT_THAT(tick(6), IsEmpty());  // said once
  hear_all_but(kWorker1, 10);
  EXPECT_THAT(tick(10), ElementsAre(std::pair(Kind::dead, kWorker1)));
  EXPECT_THAT(texts_, HasSubstr("silent for 10.0 s: taken for dead"));
  EXPECT_EQ(state(kWorker1), MemberState::dead);
  hear_all_but(kWorker1, 11);
  EXPECT_THAT(tick(12), IsEmpty());
}

TEST_F(MembershipTest, WhoIsHeardAgainRecovers) {
  register_all(0);
  members_.on_running();
  hear_all_but(kWorker0, 5);
  EXPECT_THAT(tick(6), ElementsAre(std::pair(Kind::suspected, kWorker0)));
  members_.on_heard(kWorker0, at(6.5));
  hear_all_but(kWorker0, 7);
  EXPECT_THAT(tick(7), ElementsAre(std::pair(Kind::recovered, kWorker0)));
  EXPECT_EQ(state(kWorker0), MemberState::running);
  hear_all_but(kWorker0, 11);
  EXPECT_THAT(tick(11.6), ElementsAre(std::pair(Kind::suspected, kWorker0)));
}

// After a jump of the clock (the coordinator itself was stopped) everybody gets one more tick.
TEST_F(MembershipTest, NobodyDiesWithoutHavingBeenSuspected) {
  register_all(0);
  members_.on_running();
  EXPECT_EQ(tick(1000).size(), 3U);
  EXPECT_EQ(state(kServer), MemberState::suspected);
  hear_all_but(kWorker1, 1000);
  EXPECT_THAT(tick(1000.2),
              ElementsAre(std::pair(Kind::recovered, kServer), std::pair(Kind::recovered, kWorker0),
                          std::pair(Kind::dead, kWorker1)));
}

TEST_F(MembershipTest, AClosedConnectionIsDeathOnceAndNamesTheReason) {
  register_all(0);
  members_.on_running();
  const auto event = members_.on_closed(kServer, "connection reset");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, Kind::dead);
  EXPECT_EQ(event->text, "server 0 on n2 (pid 812) is gone: connection reset");
  EXPECT_FALSE(members_.on_closed(kServer, "again"));
  hear_all_but(kServer, 20);
  EXPECT_THAT(tick(21), IsEmpty());
}

TEST_F(MembershipTest, WhoLeavesBeforeRegisteringMayComeAgain) {
  members_.on_heard(kWorker0, at(1));
  EXPECT_FALSE(members_.on_closed(kWorker0, "closed"));
  register_all(2);
  EXPECT_TRUE(members_.everybody_registered());
}

TEST_F(MembershipTest, FinishedProcessesMayBeSilent) {
  register_all(0);
  members_.on_running();
  for (const ProcessId process : {kServer, kWorker0, kWorker1}) members_.on_finished(process);
  EXPECT_THAT(tick(1000), IsEmpty());
}

TEST_F(MembershipTest, ASuccessorIsAwaitedFromTheLossOn) {
  register_all(1);
  members_.on_running();
  ASSERT_TRUE(members_.on_closed(kWorker1, "reset"));
  members_.await_successor(kWorker1, 3, at(100), std::chrono::seconds(20));
  EXPECT_EQ(state(kWorker1), MemberState::absent);
  EXPECT_EQ(members_.member(kWorker1).info.incarnation, 3U);
  EXPECT_EQ(members_.member(kWorker1).follows.pid, 812U);
  members_.await_successor(kWorker1, 3, at(100), std::chrono::seconds(20));  // the first never came
  EXPECT_EQ(members_.member(kWorker1).follows.pid, 812U);
  hear_all_but(kWorker1, 120);
  EXPECT_THAT(tick(120), IsEmpty());
  hear_all_but(kWorker1, 121);
  EXPECT_THAT(tick(121), ElementsAre(std::pair(Kind::missing, kWorker1)));
  wire::ProcessInfo successor;
  successor.process = kWorker1;
  successor.incarnation = 3;
  members_.on_registered(successor, at(121));
  EXPECT_EQ(members_.member(kWorker1).follows.pid, 0U);
  members_.on_running();
  EXPECT_EQ(state(kWorker1), MemberState::running);
  EXPECT_EQ(state(kWorker0), MemberState::running);
}

}  // namespace
}  // namespace sheaf::cluster
