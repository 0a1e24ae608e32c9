// Who waits for whom: what servers are asked, and what becomes of their answers. Time and answers
// are the test's.
#include "launcher/coordinator/waits.h"

#include <gmock/gmock.h>

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr TimePoint kStart{seconds(1000)};

class WaitsTest : public testing::Test {
 protected:
  Waits waits_{{.servers = 2,
                .workers = 2,
                .partitions = 4,
                .still = seconds(5),
                .limit = seconds(1),
                .ask = [this] { ++asked_; },
                .warn = [this](std::string_view text) { warnings_.emplace_back(text); }},
               10,
               kStart};
  Waits::Done take() {
    return [this](const std::vector<std::string>& lines) { answers_.push_back(lines); };
  }
  int asked_ = 0;
  std::vector<std::string> warnings_;
  std::vector<std::vector<std::string>> answers_;
};

TEST_F(WaitsTest, NamesTheWorkersOfTheMissingPartitions) {
  waits_.ask(kStart, take());
  waits_.on_answer(0, {"step 3 of chunk 1 waits for partitions 2, 3", {2, 3}});
  EXPECT_THAT(answers_, IsEmpty());
  waits_.on_answer(1, {});
  EXPECT_THAT(
      answers_,
      ElementsAre(ElementsAre("server 0: step 3 of chunk 1 waits for partitions 2, 3 (worker 1)")));
}

TEST_F(WaitsTest, AServerThatDoesNotAnswerIsNamed) {
  waits_.ask(kStart, take());
  waits_.on_answer(1, {"initial values of chunk 0", {}});
  waits_.on_tick(kStart + milliseconds(999), 10);
  EXPECT_THAT(answers_, IsEmpty());
  waits_.on_tick(kStart + milliseconds(1001), 10);
  EXPECT_THAT(answers_, ElementsAre(ElementsAre("server 0 does not answer",
                                                "server 1: initial values of chunk 0")));
  waits_.on_answer(0, {"too late", {}});
  EXPECT_EQ(answers_.size(), 1);
}

TEST_F(WaitsTest, WhoAsksMeanwhileGetsTheSame) {
  waits_.ask(kStart, take());
  waits_.ask(kStart, take());
  EXPECT_EQ(asked_, 1);
  waits_.on_answer(0, {});
  waits_.on_answer(1, {});
  EXPECT_THAT(answers_, ElementsAre(IsEmpty(), IsEmpty()));
}

TEST_F(WaitsTest, AStallIsSaidOnceWithTheMissingOnes) {
  waits_.on_tick(kStart + seconds(1), 11);
  waits_.on_tick(kStart + seconds(5), 11);
  EXPECT_EQ(asked_, 0);
  EXPECT_EQ(waits_.still(kStart + seconds(5)), Duration(seconds(4)));
  waits_.on_tick(kStart + seconds(6), 11);
  waits_.on_answer(0, {});
  waits_.on_answer(1, {"step 10 of chunk 1 waits for partitions 0", {0}});
  EXPECT_THAT(warnings_,
              ElementsAre("warning: step 10 has taken 5.0 s so far: server 1: step 10 of "
                          "chunk 1 waits for partitions 0 (worker 0)"));
  waits_.on_tick(kStart + seconds(12), 11);
  EXPECT_EQ(asked_, 1);
  waits_.on_tick(kStart + seconds(13), 12);
  waits_.on_tick(kStart + seconds(18), 12);
  EXPECT_EQ(asked_, 2);
}

// Data are loaded before the first step, and between steps the model is evaluated.
TEST_F(WaitsTest, APauseIsNoStall) {
  waits_.on_tick(kStart + seconds(60), 10);
  EXPECT_EQ(asked_, 0);
  waits_.on_tick(kStart + seconds(61), 11);
  waits_.on_tick(kStart + seconds(90), 11);
  waits_.on_answer(0, {});
  waits_.on_answer(1, {});
  EXPECT_THAT(warnings_, IsEmpty());
}

}  // namespace
}  // namespace sheaf::launcher
