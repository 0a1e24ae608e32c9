#include "launcher/run/progress.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <stdlib.h>
#include <unistd.h>

#include <limits>
#include <optional>

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const TimePoint kBegin{seconds(1000)};

class ProgressTest : public ::testing::Test {
 protected:
  Progress make(ProgressStyle style) {
    return Progress(
        {.style = style, .epochs = 8, .steps = 6752},
        [this](std::string_view text) { output_.emplace_back(text); }, kBegin);
  }
  // What was written since the last call.
  std::vector<std::string> written() { return std::exchange(output_, {}); }

  std::vector<std::string> output_;
};

MetricRow row_at(std::uint64_t step) {
  MetricRow row;
  row.step = step;
  row.epoch = 3;
  row.loss = 0.34118;
  row.examples_per_s = 20187;
  row.push_bytes_per_s = 12.34e6;
  row.pull_bytes_per_s = 11.06e6;
  return row;
}

const std::string kLine =
    "epoch 3/8  step 1688/6752  loss 0.3412  20.2k examples/s  push 12.3 pull 11.1 MB/s  ETA 0:30";

constexpr ProgressStyle kTerminal{.in_place = true, .colour = false, .columns = 120};
constexpr ProgressStyle kColour{.in_place = true, .colour = true, .columns = 120};
constexpr ProgressStyle kPlain{};

TEST_F(ProgressTest, TerminalLineIsRedrawnInPlace) {
  Progress progress = make(kTerminal);
  // A quarter of the steps in 10 s: 30 s remain.
  progress.update(row_at(1688), kBegin + seconds(10));
  EXPECT_THAT(written(), ElementsAre("\r" + kLine + "\x1b[K"));
}

TEST_F(ProgressTest, APrivateJobShowsWhatItHasSpentInsteadOfALoss) {
  Progress progress = make(kTerminal);
  MetricRow row = row_at(1688);
  row.loss = std::numeric_limits<double>::quiet_NaN();
  row.epsilon = 1.25;
  progress.update(row, kBegin + seconds(10));
  EXPECT_THAT(written(),
              ElementsAre("\repoch 3/8  step 1688/6752  epsilon 1.2500  20.2k examples/s  "
                          "push 12.3 pull 11.1 MB/s  ETA 0:30\x1b[K"));
}

TEST_F(ProgressTest, TerminalIsNotFloodedButEndsUpToDate) {
  Progress progress = make(kTerminal);
  progress.update(row_at(1000), kBegin + seconds(10));
  written();
  progress.update(row_at(1100), kBegin + seconds(10) + milliseconds(50));
  EXPECT_THAT(written(), IsEmpty());
  progress.update(row_at(1688), kBegin + seconds(10) + milliseconds(99));
  progress.finish();
  EXPECT_THAT(written(), ElementsAre("\r" + kLine + "\x1b[K", "\n"));
  progress.finish();
  EXPECT_THAT(written(), IsEmpty());
}

TEST_F(ProgressTest, LineFitsTheTerminalWithoutTouchingItsLastColumn) {
  const std::vector<std::pair<std::size_t, std::string>> expected = {
      {93, kLine},
      {92, "epoch 3/8  step 1688/6752  loss 0.3412  20.2k ex/s  12.3+11.1 MB/s  ETA 0:30"},
      {77, "epoch 3/8  step 1688/6752  loss 0.3412  20.2k ex/s  12.3+11.1 MB/s  ETA 0:30"},
      {76, "epoch 3/8  step 1688/6752  loss 0.3412  20.2k ex/s  ETA 0:30"},
      {60, "epoch 3/8  step 1688/6752  loss 0.3412  ETA 0:30"},
      {40, "epoch 3/8  step 1688/6752  loss 0.3412"},
      {30, "epoch 3/8  loss 0.3412"},
      {12, "loss 0.3412"},
      {6, "loss "},
  };
  for (const auto& [columns, line] : expected) {
    Progress progress = make({.in_place = true, .colour = false, .columns = columns});
    progress.update(row_at(1688), kBegin + seconds(10));
    EXPECT_THAT(written(), ElementsAre("\r" + line + "\x1b[K")) << columns << " columns";
    EXPECT_LT(line.size(), columns);
  }
}

TEST_F(ProgressTest, WarningsStandAboveTheMovingLine) {
  Progress progress = make(kTerminal);
  progress.warning({Role::worker, 1}, "host2", "slow disk");
  EXPECT_THAT(written(), ElementsAre("worker 1@host2: slow disk\n"));
  progress.update(row_at(1688), kBegin + seconds(10));
  written();
  progress.warning({Role::server, 0}, "host1", "slow disk");
  EXPECT_THAT(written(), ElementsAre("\r\x1b[Kserver 0@host1: slow disk\n" + kLine));
}

TEST_F(ProgressTest, WarningsAreColouredOnlyWhereColourIsWanted) {
  make(kColour).warning({Role::worker, 1}, "host2", "slow disk");
  EXPECT_THAT(written(), ElementsAre("\x1b[33mworker 1@host2: slow disk\x1b[0m\n"));
}

TEST_F(ProgressTest, TextOfARankCannotSteerTheTerminal) {
  make(kTerminal).warning({Role::worker, 1}, "h", "two\nlines \x1b[2J and a bell\a\n");
  EXPECT_THAT(written(), ElementsAre("worker 1@h: two lines  [2J and a bell\n"));
}

TEST_F(ProgressTest, PlainLinesComeAtMostEveryFiveSeconds) {
  Progress progress = make(kPlain);
  progress.update(row_at(100), kBegin + milliseconds(4999));
  EXPECT_THAT(written(), IsEmpty());
  progress.update(row_at(1688), kBegin + seconds(10));
  EXPECT_THAT(written(), ElementsAre(kLine + "\n"));
  progress.update(row_at(2000), kBegin + milliseconds(14999));
  EXPECT_THAT(written(), IsEmpty());
  progress.update(row_at(2100), kBegin + seconds(15));
  EXPECT_EQ(written().size(), 1U);
  progress.finish();
  EXPECT_THAT(written(), IsEmpty());
}

TEST_F(ProgressTest, EveryEpochLeavesALineWithItsValidationFigures) {
  const std::string line =
      "epoch 3/8 done  train loss 0.3521  validation loss 0.3600  accuracy 0.8712  macro f1 0.8700";
  const std::vector<std::pair<std::string, double>> figures = {
      {"loss", 0.36}, {"accuracy", 0.8712}, {"macro_f1", 0.87}};
  make(kPlain).epoch(3, 0.3521, figures);
  EXPECT_THAT(written(), ElementsAre(line + "\n"));
  Progress progress = make(kTerminal);
  progress.update(row_at(1688), kBegin + seconds(10));
  written();
  progress.epoch(3, 0.3521, figures);
  EXPECT_THAT(written(), ElementsAre("\r\x1b[K" + line + "\n" + kLine));
  make(kPlain).epoch(3, 0.3521, {});
  EXPECT_THAT(written(), ElementsAre("epoch 3/8 done  train loss 0.3521\n"));
}

TEST_F(ProgressTest, TimeLeftCountsFromTheFirstStepOfThisRun) {
  // 1000 of the remaining 2000 steps in 10 s, the first 4752 were done before.
  Progress progress(
      {.style = kPlain, .epochs = 8, .steps = 6752, .first_step = 4752},
      [this](std::string_view text) { output_.emplace_back(text); }, kBegin);
  progress.update(row_at(5752), kBegin + seconds(10));
  EXPECT_THAT(written(), ElementsAre(::testing::EndsWith("ETA 0:10\n")));
}

// An environment variable, put back at the end.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = ::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) {
    if (value == nullptr) {
      ::unsetenv(name_);
    } else {
      ::setenv(name_, value, 1);
    }
  }
  const char* name_;
  std::optional<std::string> before_;
};

TEST(ProgressStyle, FileIsPlain) {
  const int file = ::open("/dev/null", O_WRONLY);
  const ProgressStyle style = style_of(file);
  ::close(file);
  EXPECT_FALSE(style.in_place);
  EXPECT_FALSE(style.colour);
  EXPECT_EQ(style.columns, 80U);
}

TEST(ProgressStyle, TerminalIsRedrawnInItsWidth) {
  int keeper = -1;
  int terminal = -1;
  const winsize size{.ws_row = 24, .ws_col = 132, .ws_xpixel = 0, .ws_ypixel = 0};
  if (::openpty(&keeper, &terminal, nullptr, nullptr, &size) != 0) {
    GTEST_SKIP() << "needs a pseudo-terminal";
  }
  {
    const Variable term("TERM", "xterm");
    const Variable no_color("NO_COLOR", nullptr);
    EXPECT_TRUE(style_of(terminal).in_place);
    EXPECT_TRUE(style_of(terminal).colour);
    EXPECT_EQ(style_of(terminal).columns, 132U);
  }
  {
    const Variable term("TERM", "xterm");
    const Variable no_color("NO_COLOR", "1");
    EXPECT_TRUE(style_of(terminal).in_place);
    EXPECT_FALSE(style_of(terminal).colour);
  }
  {
    const Variable term("TERM", "dumb");
    EXPECT_FALSE(style_of(terminal).in_place);
  }
  ::close(terminal);
  ::close(keeper);
}

}  // namespace
}  // namespace sheaf::launcher
