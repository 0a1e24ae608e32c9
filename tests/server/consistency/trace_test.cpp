// The checker of histories, held against histories that keep a promise and, changed in one place,
// do not. Written by hand from the definitions in docs/consistency.md.
#include "server/consistency/trace.h"

#include <gmock/gmock.h>

#include <sstream>

namespace sheaf::server {
namespace {

using testing::HasSubstr;

TraceFindings check_text(const std::string& text) {
  std::istringstream in(text);
  return check_trace(in);
}

constexpr char kSsp[] = "sheaf-trace 1 partitions 2 first 0 staleness 1\n";

TEST(TraceTest, AHistoryWithinItsBoundIsFine) {
  const TraceFindings found = check_text(std::string(kSsp) +
                                         "pull 0 0 1 0 0\n"
                                         "pull 0 1 1 0 0\n"
                                         "push 0 0 1 0\n"
                                         "pull 0 0 1 1 1\n"  // one ahead of partition 1
                                         "push 0 1 1 0\n"
                                         "push 0 0 1 1\n"
                                         "pull 0 0 1 2 3\n");
  EXPECT_EQ(found.problem, "");
  EXPECT_EQ(found.pushes, 3U);
  EXPECT_EQ(found.pulls, 4U);
  EXPECT_EQ(found.most_ahead, 1U);
}

TEST(TraceTest, EveryWayToBreakAPromiseIsFound) {
  const std::string begin = std::string(kSsp) + "push 0 0 1 0\n";
  // Two ahead of partition 1.
  EXPECT_THAT(check_text(begin + "push 0 0 1 1\npull 0 0 1 2 2\n").problem,
              HasSubstr("line 4: chunk 0 answers a pull at clock 2 while the slowest has 0"));
  // Without its own push.
  EXPECT_THAT(check_text(begin + "pull 0 1 1 1 1\n").problem, HasSubstr("without its step 0"));
  EXPECT_THAT(check_text(begin + "push 0 0 1 0\n").problem, HasSubstr("it counts twice"));
  EXPECT_THAT(check_text(begin + "push 0 0 1 2\n").problem, HasSubstr("one was lost"));
  // A version that says more, or less, than was pushed.
  EXPECT_THAT(check_text(begin + "pull 0 0 1 1 0\n").problem, HasSubstr("version 0 after 1 push"));
  EXPECT_THAT(check_text(begin + "pull 0 2 1 0 1\n").problem, HasSubstr("partitions 2..3 of 2"));
  EXPECT_EQ(check_text(begin + "push 1 0 1 0\n").problem, "");  // chunks have clocks of their own
}

TEST(TraceTest, ASynchronousVersionIsTheStepOfAll) {
  const std::string begin = "sheaf-trace 1 partitions 2 first 4 synchronous\n";
  EXPECT_EQ(check_text(begin + "pull 0 0 2 4 4\npush 0 0 2 4\npull 0 0 2 5 5\n").problem, "");
  EXPECT_THAT(check_text(begin + "push 0 0 1 4\npull 0 0 2 5 5\n").problem,
              HasSubstr("the slowest has 4"));
  EXPECT_THAT(check_text(begin + "pull 0 0 2 4 5\n").problem, HasSubstr("with version 5"));
}

TEST(TraceTest, NothingBoundsAnUnboundedOne) {
  const std::string begin = "sheaf-trace 1 partitions 2 first 0 unbounded\n";
  const auto found = check_text(begin + "push 0 0 1 0\npush 0 0 1 1\npull 0 0 1 2 2\n");
  EXPECT_EQ(found.problem, "");
  EXPECT_EQ(found.most_ahead, 2U);
}

// What is written is what is read.
TEST(TraceTest, LinesAreReadAsTheyAreWritten) {
  const TraceHead head{.partitions = 3, .first = 2, .synchronous = false, .staleness = 4};
  const std::string text = to_line(head) +
                           to_line(TraceEvent{TraceEvent::Kind::push, 7, {1, 2}, 2, 0}) +
                           to_line(TraceEvent{TraceEvent::Kind::pull, 7, {1, 2}, 3, 8});
  EXPECT_EQ(text, "sheaf-trace 1 partitions 3 first 2 staleness 4\npush 7 1 2 2\npull 7 1 2 3 8\n");
  EXPECT_EQ(check_text(text).problem, "");
}

TEST(TraceTest, WhatIsNoTraceIsSaidWithItsLine) {
  EXPECT_THAT(check_text("something\n").problem, HasSubstr("line 1: found no head"));
  EXPECT_THAT(check_text("sheaf-trace 2 partitions 2 first 0 unbounded\n").problem,
              HasSubstr("line 1"));
  EXPECT_THAT(check_text("sheaf-trace 1 partitions 2 first 0 staleness\n").problem,
              HasSubstr("line 1"));
  EXPECT_THAT(check_text(std::string(kSsp) + "pul 0\n").problem, HasSubstr("line 2: found no ev"));
  EXPECT_THAT(check_text(std::string(kSsp) + "push 0 0 1\n").problem, HasSubstr("line 2"));
}

// A killed process leaves half a line, or nothing.
TEST(TraceTest, AnUnfinishedLineIsNotRead) {
  EXPECT_EQ(check_text("").problem, "");
  EXPECT_EQ(check_text(std::string(kSsp) + "push 0 0 1 0\npull 0 0").problem, "");
}

}  // namespace
}  // namespace sheaf::server
