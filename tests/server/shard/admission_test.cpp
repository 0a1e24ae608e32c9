#include "server/shard/admission.h"

#include <gmock/gmock.h>

#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Optional;

// Three partitions, of which a step may go without one, over two lanes of two chunks.
class AdmissionTest : public testing::Test {
 protected:
  void all_here(Step step, std::uint32_t partition, std::uint64_t examples = 1) {
    admission_.on_push(step, partition, examples);
    admission_.on_push(step, partition, examples);
    admission_.on_here(step, partition, 1);
  }
  std::unique_ptr<Gate> gate_ = make_gate("drop");
  Admission admission_{{.partitions = 3, .chunks = 2, .lanes = 2, .all_lanes = 3}};
};

TEST_F(AdmissionTest, APartitionIsInWhenAllLanesHaveAllOfIt) {
  EXPECT_FALSE(admission_.on_push(0, 1, 5));
  EXPECT_TRUE(admission_.on_push(0, 1, 5));
  EXPECT_FALSE(admission_.on_here(0, 1, 0));
  EXPECT_FALSE(admission_.on_here(0, 1, 0)) << "the same lane again";
  EXPECT_FALSE(admission_.in(0, 1));
  EXPECT_TRUE(admission_.on_here(0, 1, 1));
  EXPECT_TRUE(admission_.in(0, 1));
  EXPECT_FALSE(admission_.in(1, 1));
}

TEST_F(AdmissionTest, AStepIsClosedWhenEnoughAreIn) {
  all_here(0, 2);
  admission_.on_here(0, 2, 0);
  EXPECT_EQ(admission_.close(0, *gate_), std::nullopt);
  all_here(0, 0);
  admission_.on_here(0, 0, 0);
  EXPECT_THAT(admission_.close(0, *gate_), Optional(2U));
  EXPECT_FALSE(admission_.complete(0, 1));
  EXPECT_TRUE(admission_.complete(0, 2));
  all_here(0, 1);  // too late
  EXPECT_FALSE(admission_.on_here(0, 1, 0));
  EXPECT_FALSE(admission_.in(0, 1));
  EXPECT_EQ(admission_.close(0, *gate_), std::nullopt) << "once";
}

TEST_F(AdmissionTest, AStepWaitsForExamples) {
  for (const std::uint32_t p : {0U, 1U}) {
    all_here(0, p, 0);
    admission_.on_here(0, p, 0);
  }
  EXPECT_EQ(admission_.close(0, *gate_), std::nullopt);
  all_here(0, 2, 4);
  admission_.on_here(0, 2, 0);
  EXPECT_THAT(admission_.close(0, *gate_), Optional(3U));
}

// Nobody has examples: then there are none to wait for.
TEST_F(AdmissionTest, AStepOfNobodyIsAStep) {
  for (const std::uint32_t p : {0U, 1U, 2U}) {
    all_here(0, p, 0);
    admission_.on_here(0, p, 0);
  }
  EXPECT_THAT(admission_.close(0, *gate_), Optional(3U));
}

TEST_F(AdmissionTest, OtherLanesAreToldInAnyOrderAndMoreThanOnce) {
  admission_.on_closed(4, 2);
  admission_.on_in(4, 2);
  admission_.on_in(4, 2);
  EXPECT_FALSE(admission_.complete(4, 1));
  admission_.on_in(4, 0);
  EXPECT_TRUE(admission_.complete(4, 2));
  admission_.on_in(5, 1);  // the next step begins anew
  EXPECT_FALSE(admission_.in(5, 2));
  admission_.on_in(4, 1);  // and the one before is over
  EXPECT_FALSE(admission_.in(4, 1));
  EXPECT_FALSE(admission_.complete(5, 1));
}

}  // namespace
}  // namespace sheaf::server
