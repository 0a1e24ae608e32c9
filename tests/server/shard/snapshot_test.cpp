// A server that is killed at any moment, and another one that goes on with what it had committed:
// the workers send again what was not acknowledged, and the job ends as one that lost nothing. The
// reference is such a job, without a snapshot.
#include "server/shard/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint32_t kPartitions = 3;
constexpr Step kSteps = 4;

// What one worker sends; sent again until it is acknowledged.
struct Request {
  wire::Header header;
  float value = 0;
  bool settled = false;
};

bool answers(const Reply& reply, const Request& request) {
  const wire::Header& r = reply.header;
  const wire::Header& q = request.header;
  const auto type = q.type == wire::FrameType::init   ? wire::FrameType::init_ack
                    : q.type == wire::FrameType::push ? wire::FrameType::push_ack
                                                      : wire::FrameType::end_ack;
  return r.type == type && r.chunk == q.chunk && r.step == q.step && r.partitions == q.partitions;
}

class Workers {
 public:
  explicit Workers(ShardJob& job) : job_(job) {}

  // Everything of one step: partition 1 has nothing in the third one.
  void begin(Step step) {
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      if (step == 2 && p == 1) {
        open_.push_back({ShardJob::header(wire::FrameType::end, step, 0, {p, 1})});
        continue;
      }
      for (std::uint32_t c = 0; c < job_.chunks().size(); ++c) {
        Request push{ShardJob::header(wire::FrameType::push, step, c, {p, 1})};
        push.header.value = 1 + p;
        push.value = static_cast<float>(static_cast<int>(p + 1 + step) * (c % 2 == 0 ? 1 : -1));
        open_.push_back(push);
      }
    }
  }
  void initialise() {
    for (std::uint32_t c = 0; c < job_.chunks().size(); ++c) {
      open_.push_back({ShardJob::header(wire::FrameType::init, 0, c, {}), 0.5F});
    }
  }
  // Sends what is open, at most as many frames as are left; false: the server was killed before.
  bool send_all(std::size_t& left) {
    for (Request& request : open_) {
      if (left-- == 0) return false;
      std::vector<float> values(job_.chunks()[request.header.chunk].size, request.value);
      if (request.header.type == wire::FrameType::end) values.clear();
      try {
        job_.send(request.header, std::as_bytes(std::span(values)));
      } catch (const Descent::Died&) {
        return false;
      }
      settle();
    }
    return true;
  }
  void settle() {
    for (const Reply& reply : job_.replies) {
      for (Request& request : open_) request.settled |= answers(reply, request);
    }
    job_.replies.clear();
  }
  void drop_settled() {
    std::erase_if(open_, [](const Request& r) { return r.settled; });
  }
  const std::vector<Request>& open() const { return open_; }

 private:
  ShardJob& job_;
  std::vector<Request> open_;
};

struct Ending {
  std::vector<float> parameters;
  std::vector<float> state;
  bool operator==(const Ending&) const = default;
};

// Runs the job; kills the server before the frame of that number and, if `dies_at` is not 0, in
// that call of the optimizer.
Ending run(const ShardJobOptions& options, std::size_t frames, std::size_t dies_at, bool& over) {
  ShardJob job(options);
  job.optimizer().dies_at = dies_at;
  Workers workers(job);
  bool killed = false;
  const auto settle_all = [&] {
    while (true) {
      if (!workers.send_all(frames)) {
        EXPECT_FALSE(killed);
        killed = true;
        frames = 100000;
        job.optimizer().dies_at = 0;
        job.replace_server();
      }
      workers.drop_settled();
      if (workers.open().empty()) return;
    }
  };
  workers.initialise();
  settle_all();
  for (Step step = 0; step < kSteps; ++step) {
    workers.begin(step);
    settle_all();
  }
  over = !killed;
  Ending ending;
  for (std::uint32_t c = 0; c < job.chunks().size(); ++c) {
    const auto values = job.parameters(kSteps, c);
    ending.parameters.insert(ending.parameters.end(), values.begin(), values.end());
  }
  EXPECT_TRUE(job.shard().checkpoint_at(kSteps, true));
  for (const auto& saved : job.saved) {
    ending.state.insert(ending.state.end(), saved.values.begin(), saved.values.end());
  }
  return ending;
}

ShardJobOptions options_of(const std::string& gate, bool snapshot) {
  return {.tensors = {16, 16, 16},
          .partitions = kPartitions,
          .gate = gate,
          .gate_keys = gate == "ssp" ? "staleness = 1" : "",
          .snapshot = snapshot};
}

class SnapshotGates : public testing::TestWithParam<const char*> {};

TEST_P(SnapshotGates, AServerThatIsKilledBetweenAnyTwoFramesLosesNothing) {
  bool over = false;
  const Ending expected = run(options_of(GetParam(), false), 100000, 0, over);
  EXPECT_THAT(expected.parameters, SizeIs(48));
  over = false;
  for (std::size_t frames = 0; !over; ++frames) {
    EXPECT_EQ(run(options_of(GetParam(), true), frames, 0, over), expected) << frames << " frames";
  }
}

TEST_P(SnapshotGates, AServerThatIsKilledWithinAStepHasTheVersionBefore) {
  bool over = false;
  const Ending expected = run(options_of(GetParam(), false), 100000, 0, over);
  over = false;
  for (std::size_t call = 1; !over; ++call) {
    EXPECT_EQ(run(options_of(GetParam(), true), 100000, call, over), expected) << "call " << call;
  }
}

INSTANTIATE_TEST_SUITE_P(Gates, SnapshotGates, testing::Values("bsp", "ssp", "asp"),
                         [](const auto& row) { return std::string(row.param); });

TEST(SnapshotTest, APushIsAcknowledgedWhenItsStepIsCommitted) {
  ShardJob job({.partitions = 2, .snapshot = true});
  job.init_all();
  job.push(0, 0, {0, 1}, 1.0F);
  EXPECT_THAT(job.replies, IsEmpty());
  job.push(0, 0, {0, 1}, 1.0F, 1, 1);  // a repetition waits like the first
  EXPECT_THAT(job.replies, IsEmpty());
  EXPECT_EQ(job.shard().clock(0), 0U);
  job.push(0, 0, {1, 1}, 1.0F);
  EXPECT_THAT(job.replies, SizeIs(3));
}

TEST(SnapshotTest, BothVersionsOfAChunkCanBeReadAgain) {
  ShardJob job({.partitions = 2, .snapshot = true});
  job.init_all(1);
  for (const std::uint32_t p : {0U, 1U}) job.push(0, 0, {p, 1}, 1.0F);
  job.replace_server();
  EXPECT_THAT(job.parameters(0, 0), Each(1.0F));  // for a step that another chunk lacks
  EXPECT_THAT(job.parameters(1, 0), Each(0.0F));
}

TEST(SnapshotTest, AnotherShapeIsRefused) {
  const Snapshot::Shape shape{.chunks = {16, 16}, .runs = 1, .clocks = 0, .parameters = true};
  AlignedBuffer<std::byte> memory(Snapshot::bytes(shape));
  EXPECT_THROW(Snapshot::adopt(memory.span(), shape), Error);  // nobody has begun there
  const Snapshot begun = Snapshot::begin(memory.span(), shape);
  EXPECT_NO_THROW(Snapshot::adopt(memory.span(), shape));
  Snapshot::Shape other = shape;
  other.runs = 0;
  other.parameters = false;
  AlignedBuffer<std::byte> smaller(Snapshot::bytes(other));
  std::ranges::copy(memory.span().first(smaller.size()), smaller.span().begin());
  EXPECT_THROW(Snapshot::adopt(smaller.span(), other), Error);
}

// The words of a slot by hand: 6 is void while 7 and then 8 are written over 5 and 6.
TEST(SnapshotTest, ASlotIsVoidWhileItIsWritten) {
  const Snapshot::Shape shape{.chunks = {16}, .runs = 0, .clocks = 0, .parameters = true};
  AlignedBuffer<std::byte> memory(Snapshot::bytes(shape));
  const Snapshot snapshot = Snapshot::begin(memory.span(), shape);
  EXPECT_FALSE(snapshot.newest(0));
  snapshot.commit(0, 6);
  snapshot.open(0, 7);
  EXPECT_EQ(snapshot.newest(0), 6U);
  snapshot.commit(0, 7);
  EXPECT_EQ(snapshot.newest(0), 7U);
  EXPECT_TRUE(snapshot.has(0, 6));
  snapshot.open(0, 8);
  EXPECT_EQ(snapshot.newest(0), 7U);
  EXPECT_FALSE(snapshot.has(0, 6));
}

}  // namespace
}  // namespace sheaf::server
