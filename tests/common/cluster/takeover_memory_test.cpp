// What is told again to another coordinator. Expected values are the rules of the header.
#include "common/cluster/takeover_memory.h"

#include <gmock/gmock.h>

namespace sheaf::cluster {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ControlFrame frame(unsigned number) {
  ControlFrame f;
  f.header.value = number;
  return f;
}

std::vector<std::uint64_t> numbers(const TakeoverMemory& memory) {
  std::vector<std::uint64_t> all;
  for (const ControlFrame& f : memory.frames()) all.push_back(f.header.value);
  return all;
}

// Another worker may wait for the total of what this one contributed at the same step, or not have
// contributed to it yet; what came before that step everybody has behind him.
TEST(TakeoverMemory, KeepsContributionsUntilOneOfALaterStepIsWhole) {
  TakeoverMemory memory;
  memory.on_contribution("validation 10", 10, frame(1));
  memory.on_contribution("before reading 20", 20, frame(2));
  memory.on_contribution("after reading 20", 20, frame(3));
  memory.on_total("validation 10");
  EXPECT_THAT(numbers(memory), ElementsAre(1, 2, 3));
  memory.on_total("after reading 20");
  EXPECT_THAT(numbers(memory), ElementsAre(2, 3));
  memory.on_total("a sum of others");
  EXPECT_THAT(numbers(memory), ElementsAre(2, 3));
  memory.on_end(frame(4));
  EXPECT_THAT(numbers(memory), ElementsAre(2, 3, 4));
}

// Whoever takes a worker's place sums over the data of all, at any time.
TEST(TakeoverMemory, KeepsWhatWasContributedBeforeTheFirstStep) {
  TakeoverMemory memory;
  memory.on_contribution("mean", 0, frame(1));
  memory.on_total("mean");
  memory.on_contribution("before reading 20", 20, frame(2));
  memory.on_contribution("before reading 30", 30, frame(3));
  memory.on_total("before reading 30");
  EXPECT_THAT(numbers(memory), ElementsAre(1, 3));
}

TEST(TakeoverMemory, KnowsFromWhichStepItsLossesHaveNoGap) {
  TakeoverMemory memory;
  EXPECT_EQ(memory.known_from(5), 5);
  constexpr std::size_t kPartitions = 3;
  std::vector<wire::StepLoss> rows;
  const Step steps = TakeoverMemory::kLosses / kPartitions + 1;  // one step more than fits
  for (Step step = 0; step < steps; ++step) {
    for (std::uint32_t p = 0; p < kPartitions; ++p) rows.push_back({step, p, 1, 0.5, false});
  }
  memory.on_losses(rows);
  ASSERT_EQ(memory.losses().size(), TakeoverMemory::kLosses);
  const Step known = memory.known_from(0);
  std::size_t of_that_step = 0;
  for (const wire::StepLoss& loss : memory.losses()) of_that_step += loss.step == known ? 1 : 0;
  EXPECT_EQ(of_that_step, kPartitions);
  EXPECT_EQ(known, 1);
  memory.forget_losses();
  EXPECT_THAT(memory.losses(), IsEmpty());
  EXPECT_EQ(memory.known_from(0), known);  // what was dropped stays unknown
}

TEST(TakeoverMemory, AnswersAnOrderThatItHasHadAsBefore) {
  TakeoverMemory memory;
  EXPECT_FALSE(memory.on_order({.version = 7}));
  EXPECT_THAT(memory.ordered(), ElementsAre(7));
  memory.on_answer({.version = 7, .in_time = true, .writes = true});
  wire::Saved saved;
  saved.version = 7;
  saved.files = {{"a", 1, 2, 3, "host", {}}};
  memory.on_saved(saved);
  EXPECT_THAT(memory.ordered(), IsEmpty());
  const auto given = memory.on_order({.version = 7});
  ASSERT_TRUE(given && given->answer && given->saved);
  ASSERT_EQ(given->saved->files.size(), 1U);
  EXPECT_EQ(given->saved->files[0].name, "a");
  memory.on_order({.version = 7, .abandoned = true});
  EXPECT_FALSE(memory.on_order({.version = 7}));
}

// Files of the base may be named by what was written with it, whoever makes a manifest of that.
TEST(TakeoverMemory, TellsTheBasesOfWhatIsWrittenToo) {
  TakeoverMemory memory;
  memory.on_base({.version = 7, .base = 5});
  memory.on_order({.version = 7});
  memory.on_order({.version = 9});
  memory.on_base({.version = 8, .base = 5});  // is not ordered any more
  wire::Saved saved;
  saved.version = 7;
  memory.on_saved(saved);
  const auto bases = memory.bases();
  ASSERT_EQ(bases.size(), 1U);
  EXPECT_EQ(bases[0].version, 7);
  EXPECT_EQ(bases[0].base, 5);
  memory.on_order({.version = 7, .abandoned = true});
  EXPECT_THAT(memory.bases(), IsEmpty());
}

TEST(TakeoverMemory, KeepsTheNewestTwoThatAreWritten) {
  TakeoverMemory memory;
  memory.on_order({.version = 100});  // of the end
  for (const Version version : {0U, 10U, 20U, 30U}) {
    memory.on_order({.version = version});
    wire::Saved saved;
    saved.version = version;
    memory.on_saved(saved);
  }
  EXPECT_THAT(memory.ordered(), ElementsAre(100));
  EXPECT_FALSE(memory.on_order({.version = 10}));
  EXPECT_TRUE(memory.on_order({.version = 20}));
  EXPECT_TRUE(memory.on_order({.version = 30}));
}

}  // namespace
}  // namespace sheaf::cluster
