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

constexpr char kSsp[] = "sheaf-trace 2 partitions 2 first 0 staleness 1\n";

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
  const std::string begin = "sheaf-trace 2 partitions 2 first 4 synchronous\n";
  EXPECT_EQ(check_text(begin + "pull 0 0 2 4 4\npush 0 0 2 4\npull 0 0 2 5 5\n").problem, "");
  EXPECT_THAT(check_text(begin + "push 0 0 1 4\npull 0 0 2 5 5\n").problem,
              HasSubstr("the slowest has 4"));
  EXPECT_THAT(check_text(begin + "pull 0 0 2 4 5\n").problem, HasSubstr("with version 5"));
}

// What another process has left is where a chunk begins, each partition where it was.
TEST(TraceTest, AChunkMayBeginWhereAnotherProcessHasEnded) {
  const std::string begin =
      "sheaf-trace 3 partitions 2 first 0 staleness 1\n"
      "begin 0 0 1 5\nbegin 0 1 1 6\n";
  EXPECT_EQ(check_text(begin + "pull 0 1 1 6 11\npush 0 0 1 5\nend 6 1\n").problem, "");
  EXPECT_THAT(check_text(begin + "push 0 0 1 4\n").problem, HasSubstr("it counts twice"));
  EXPECT_THAT(check_text(begin + "push 0 1 1 7\n").problem, HasSubstr("one was lost"));
  EXPECT_THAT(check_text(begin + "push 0 0 1 5\nbegin 0 0 2 5\n").problem,
              HasSubstr("line 5: chunk 0 begins at clock 5, expected at least 0, before anything"));
  EXPECT_EQ(check_text(begin + "push 1 0 1 0\n").problem, "");  // that one has nothing yet
  EXPECT_THAT(check_text("sheaf-trace 3 partitions 2 first 4 synchronous\nbegin 0 0 2 3\n").problem,
              HasSubstr("expected at least 4"));
  EXPECT_EQ(check_text("sheaf-trace 3 partitions 3 first 0 backup 1\nbegin 0 0 3 7\n"
                       "push 0 0 1 7\npush 0 2 1 7\npull 0 1 1 8 8\n")
                .problem,
            "");
}

TEST(TraceTest, NothingBoundsAnUnboundedOne) {
  const std::string begin = "sheaf-trace 2 partitions 2 first 0 unbounded\n";
  const auto found = check_text(begin + "push 0 0 1 0\npush 0 0 1 1\npull 0 0 1 2 2\n");
  EXPECT_EQ(found.problem, "");
  EXPECT_EQ(found.most_ahead, 2U);
}

// Three partitions, of which a step may go without one.
TEST(TraceTest, AStepWithBackupHasEnoughAndTheSameInEveryChunk) {
  const std::string begin = "sheaf-trace 2 partitions 3 first 4 backup 1\npush 0 0 1 4\n";
  const std::string step = begin + "push 0 2 1 4\npull 0 0 1 5 5\n";
  EXPECT_EQ(check_text(step).problem, "");
  EXPECT_EQ(check_text(step + "pull 0 1 1 4 5\n").problem, "");  // of one who was left behind
  EXPECT_EQ(check_text(step + "push 1 2 1 4\npush 1 0 1 4\npull 1 1 1 4 5\n").problem, "");
  EXPECT_EQ(check_text(step + "push 0 1 1 5\npush 0 0 1 5\npush 0 1 1 6\n").problem, "");
  // All three may have come before it was taken.
  EXPECT_EQ(check_text(begin + "push 0 1 1 4\npush 0 2 1 4\npull 0 0 1 5 5\n").problem, "");
  EXPECT_THAT(
      check_text(begin + "pull 0 0 1 5 5\n").problem,
      HasSubstr("line 3: chunk 0 takes step 4 with 1 of 3 partitions, expected at least 2"));
  EXPECT_THAT(check_text(step + "push 1 2 1 4\npush 1 1 1 4\npull 1 1 1 5 5\n").problem,
              HasSubstr("other partitions than other chunks"));
  EXPECT_THAT(check_text(step + "push 0 1 1 4\n").problem,
              HasSubstr("chunk 0 is at step 4, expected 5 or 6"));
  EXPECT_THAT(check_text(begin + "push 0 0 1 4\n").problem, HasSubstr("it counts twice"));
  EXPECT_THAT(check_text(step + "pull 0 0 1 6 5\n").problem,
              HasSubstr("answers a pull at clock 6 with version 5"));
  EXPECT_THAT(check_text("sheaf-trace 2 partitions 3 first 4 backup 0\n").problem,
              HasSubstr("line 1"));
}

// What is written is what is read.
TEST(TraceTest, LinesAreReadAsTheyAreWritten) {
  const TraceHead head{.partitions = 3, .first = 2, .synchronous = false, .staleness = 4};
  const std::string text =
      to_line(head) + to_line(TraceEvent{TraceEvent::Kind::begin, 7, {1, 2}, 2, 0}) +
      to_line(TraceEvent{TraceEvent::Kind::push, 7, {1, 2}, 2, 0}) +
      to_line(TraceEvent{TraceEvent::Kind::pull, 7, {1, 2}, 3, 8}) + to_line(TraceEnd{3, 5});
  EXPECT_EQ(text,
            "sheaf-trace 3 partitions 3 first 2 staleness 4\nbegin 7 1 2 2\npush 7 1 2 2\n"
            "pull 7 1 2 3 8\nend 3 5\n");
  const TraceFindings found = check_text(text);
  EXPECT_EQ(found.problem, "");
  ASSERT_TRUE(found.end);
  EXPECT_EQ(found.end->step, 3U);
  EXPECT_EQ(found.end->traces, 5U);
  EXPECT_THAT(check_text(text + "end 3 5\n").problem,
              HasSubstr("line 6: found more behind the end"));
  EXPECT_EQ(to_line(TraceHead{.partitions = 3, .backup = 2, .staleness = {}}),
            "sheaf-trace 3 partitions 3 first 0 backup 2\n");
}

TEST(TraceTest, WhatIsNoTraceIsSaidWithItsLine) {
  EXPECT_THAT(check_text("something\n").problem, HasSubstr("line 1: found no head"));
  EXPECT_THAT(check_text("sheaf-trace 1 partitions 2 first 0 unbounded\n").problem,
              HasSubstr("line 1"));
  EXPECT_THAT(check_text("sheaf-trace 2 partitions 2 first 0 staleness\n").problem,
              HasSubstr("line 1"));
  EXPECT_THAT(check_text(std::string(kSsp) + "pul 0\n").problem, HasSubstr("line 2: found no ev"));
  EXPECT_THAT(check_text(std::string(kSsp) + "push 0 0 1\n").problem, HasSubstr("line 2"));
}

// A killed process leaves half a line, or nothing.
TEST(TraceTest, AnUnfinishedLineIsNotRead) {
  EXPECT_EQ(check_text("").problem, "");
  EXPECT_EQ(check_text(std::string(kSsp) + "push 0 0 1 0\npull 0 0").problem, "");
  EXPECT_FALSE(check_text(std::string(kSsp) + "push 0 0 1 0\nend 1 4").end);
}

}  // namespace
}  // namespace sheaf::server
