#include "launcher/run/trace_check.h"

#include <gmock/gmock.h>

#include <fstream>

#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

// Two lanes that started at step 0, were killed, went on from step 4 and ended in peace at step 5.
class TraceCheckTest : public testing::Test {
 protected:
  TraceCheckTest() {
    write("server-0-lane-0-step-0-0", 0, "push 0 0 1 0\n");
    write("server-0-lane-1-step-0-0", 0, "");
    write("server-0-lane-0-step-4-1", 4, "push 0 0 1 4\nend 5 2\n");
    write("server-0-lane-1-step-4-1", 4, "push 1 0 1 4\nend 5 2\n");
  }
  void write(const std::string& name, Step first, const std::string& events) const {
    std::ofstream(folder_.path() / (name + ".trace"))
        << server::to_line(server::TraceHead{.partitions = 1, .first = first, .staleness = {}})
        << events;
  }

  const TemporaryFolder folder_;
};

TEST_F(TraceCheckTest, TheLastStartHasATraceOfEachLaneThatEnds) {
  const auto traces = check_traces(folder_.path());
  ASSERT_THAT(traces, SizeIs(4));
  for (const CheckedTrace& trace : traces) EXPECT_EQ(trace.findings.problem, "") << trace.file;
  EXPECT_EQ(check_ends(traces, 5), "");
}

TEST_F(TraceCheckTest, OneThatWasCutIsMissed) {
  write("server-0-lane-1-step-4-1", 4, "push 1 0 1 4\n");
  EXPECT_THAT(check_ends(check_traces(folder_.path()), 5),
              HasSubstr("found 1 that end at step 5, at which the job ended, expected 2"));
  write("server-0-lane-0-step-4-1", 4, "push 0 0 1 4\nend 5");
  EXPECT_THAT(check_ends(check_traces(folder_.path()), 5), HasSubstr("found 0 that end at step 5"));
}

// A lane's own traces of two starts that happen to end at one step are one lane.
TEST_F(TraceCheckTest, ALaneCountsOnce) {
  write("server-0-lane-1-step-4-1", 4, "");
  write("server-0-lane-0-step-5-2", 5, "end 5 2\n");
  EXPECT_THAT(check_ends(check_traces(folder_.path()), 5), HasSubstr("found 1"));
}

}  // namespace
}  // namespace sheaf::launcher
