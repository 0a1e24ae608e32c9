#include "server/shard/shard.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "common/base/error.h"
#include "common/base/random.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using wire::FrameType;
using wire::PushStatus;

std::vector<PushStatus> statuses(const ShardJob& job) {
  std::vector<PushStatus> all;
  for (const Reply& reply : job.replies) {
    if (reply.header.type == FrameType::push_ack) {
      all.push_back(static_cast<PushStatus>(reply.header.status));
    }
  }
  return all;
}

std::string refusal(const std::function<void()>& run, Fault fault = Fault::network) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), fault) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "was accepted";
  return {};
}

// ---- the path of a step -------------------------------------------------------------------------

// Sum of the gradients over the count of examples: 8 - (1 + 2 + 3 + 4) / (1 + 1 + 2 + 1) = 6.
TEST(ShardTest, TheLastPushMakesTheNextVersion) {
  ShardJob job({});
  job.init_all(8);
  job.push(0, 1, {0, 1}, 1.0F, 1);
  job.push(0, 1, {2, 1}, 2.0F, 1);
  job.push(0, 1, {1, 1}, 3.0F, 2);
  EXPECT_THAT(job.optimizer().calls, IsEmpty());
  job.push(0, 1, {3, 1}, 4.0F, 1);
  EXPECT_THAT(job.optimizer().calls, SizeIs(1));
  EXPECT_THAT(job.parameters(1, 1), Each(6.0F));
  EXPECT_EQ(job.replies.back().header.step, 1U);
  EXPECT_EQ(job.replies.back().header.partitions, (PartitionRange{0, 1}));
}

TEST(ShardTest, ChunksOfOneShardAdvanceOnTheirOwn) {
  ShardJob job({});
  job.init_all(1);
  job.push(0, 2, {0, 4}, 4.0F, 4);
  EXPECT_THAT(job.parameters(1, 2), Each(0.0F));
  EXPECT_THAT(job.parameters(0, 1), Each(1.0F));
  EXPECT_EQ(job.shard().step(), 0U);
  job.push(0, 0, {0, 4}, 4.0F, 4);
  job.push(0, 1, {0, 4}, 4.0F, 4);
  EXPECT_EQ(job.shard().step(), 1U);
}

TEST(ShardTest, APullWaitsForItsVersion) {
  ShardJob job({});
  job.pull(0, 0, 7);
  EXPECT_THAT(job.replies, IsEmpty());
  job.init(0, 3);
  ASSERT_THAT(job.replies, SizeIs(2));  // the acknowledgement, the parameters
  EXPECT_EQ(job.replies[0].header.type, FrameType::init_ack);
  EXPECT_EQ(job.replies[1].session, 7U);
  EXPECT_THAT(job.replies[1].floats(), Each(3.0F));

  job.replies.clear();
  job.pull(1, 0, 7);
  job.pull(1, 0, 7);  // sent again by an impatient worker: one answer is enough
  job.push(0, 0, {0, 4}, 4.0F, 4);
  ASSERT_THAT(job.replies, SizeIs(2));
  EXPECT_EQ(job.replies[0].header.type, FrameType::pull_reply);
  EXPECT_THAT(job.replies[0].floats(), Each(2.0F));
  EXPECT_EQ(job.replies[1].header.type, FrameType::push_ack);  // once it is applied
}

TEST(ShardTest, PullsOfAClosedSessionAreForgotten) {
  ShardJob job({});
  job.pull(0, 0, 7);
  job.pull(0, 0, 8);
  job.shard().on_closed(7);
  job.init(0, 3);
  ASSERT_THAT(job.replies, SizeIs(2));
  EXPECT_EQ(job.replies[1].session, 8U);
}

TEST(ShardTest, RepeatedInitChangesNothing) {
  ShardJob job({});
  job.init(0, 3);
  job.init(0, 5);
  EXPECT_THAT(job.parameters(0, 0), Each(3.0F));
}

// Version t is there until t + 2 is written; a pull that comes too late gets no answer.
TEST(ShardTest, AVersionStaysPullableUntilTheNextButOneIsWritten) {
  ShardJob job({});
  job.init_all(10);
  for (Step step = 0; step < 5; ++step) {
    EXPECT_THAT(job.parameters(step, 0), Each(10.0F - static_cast<float>(step)));
    if (step > 0) {
      EXPECT_THAT(job.parameters(step - 1, 0), Each(11.0F - static_cast<float>(step)));
    }
    if (step > 1) {
      EXPECT_THAT(job.parameters(step - 2, 0), IsEmpty());
    }
    // With all but one partition in, the open step can still be recomputed.
    job.push(step, 0, {0, 2}, 2.0F, 2);
    job.push(step, 0, {2, 1}, 1.0F, 1);
    EXPECT_THAT(job.parameters(step, 0), Each(10.0F - static_cast<float>(step)));
    job.push(step, 0, {3, 1}, 1.0F, 1);
  }
}

// ---- identity of a push -------------------------------------------------------------------------

TEST(ShardTest, ARepeatedPushIsAcknowledgedAgainAndCountedOnce) {
  ShardJob job({});
  job.init_all(8);
  job.push(0, 0, {0, 2}, 2.0F, 2);
  job.push(0, 0, {0, 2}, 2.0F, 2);     // the same again
  job.push(0, 0, {1, 1}, 1.0F, 1, 1);  // a part of it, from another worker
  job.push(0, 0, {2, 2}, 2.0F, 2);
  job.push(0, 0, {2, 2}, 2.0F, 2);  // after the step was applied
  job.push(0, 0, {0, 4}, 4.0F, 4);
  using enum PushStatus;
  EXPECT_THAT(statuses(job), ElementsAre(added, duplicate, duplicate, added, duplicate, duplicate));
  EXPECT_THAT(job.parameters(1, 0), Each(7.0F));
  EXPECT_EQ(job.shard().duplicates(), 4U);
}

TEST(ShardTest, AnOverlappingPushIsAnsweredWithWhatIsMissing) {
  ShardJob job({.tensors = {16}, .partitions = 11});
  job.init_all(8);
  job.push(0, 0, {1, 1}, 1.0F);
  job.push(0, 0, {8, 1}, 1.0F);
  job.replies.clear();
  job.push(0, 0, {0, 11}, 11.0F, 11);
  ASSERT_THAT(job.replies, SizeIs(1));
  const Reply& reply = job.replies[0];
  EXPECT_EQ(reply.header.type, FrameType::push_ack);
  EXPECT_EQ(reply.header.status, static_cast<std::uint8_t>(PushStatus::partial));
  EXPECT_EQ(reply.header.partitions, (PartitionRange{0, 11}));
  // FORMAT.md: one bit per partition, 1 = missing. Partitions 1 and 8 are there.
  EXPECT_THAT(reply.payload, ElementsAre(std::byte{0b11111101}, std::byte{0b00000110}));

  job.push(0, 0, {0, 1}, 1.0F);
  for (std::uint32_t p = 2; p < 11; ++p) {
    if (p != 8) job.push(0, 0, {p, 1}, 1.0F);
  }
  EXPECT_THAT(job.parameters(1, 0), Each(7.0F));
}

// The sum and its bits do not tell who pushed what: all ways to cover 5 partitions by two workers.
TEST(ShardTest, EveryGroupingGivesTheSameBits) {
  const params::PartitionTree tree(5);
  std::vector<std::vector<float>> gradients;
  for (std::uint32_t p = 0; p < 5; ++p) {
    Stream stream(4, Purpose::test, p);
    gradients.emplace_back(16);
    for (float& value : gradients.back()) {
      value = static_cast<float>(std::ldexp(stream.normal(), static_cast<int>(p) * 5));
    }
  }
  const std::function<std::vector<float>(PartitionRange)> sum = [&](PartitionRange node) {
    if (node.count == 1) return gradients[node.first];
    std::vector<float> left = sum(tree.left(node));
    const std::vector<float> right = sum(tree.right(node));
    for (std::size_t i = 0; i < left.size(); ++i) left[i] += right[i];
    return left;
  };
  std::vector<float> first;
  for (std::uint32_t cut = 0; cut <= 5; ++cut) {
    ShardJob job({.tensors = {16}, .partitions = 5});
    job.init_all(1);
    for (const PartitionRange range : {PartitionRange{cut, 5 - cut}, PartitionRange{0, cut}}) {
      for (const PartitionRange node : tree.cover(range)) {
        job.push(0, 0, node, sum(node), node.count);
      }
    }
    const auto parameters = job.parameters(1, 0);
    ASSERT_THAT(parameters, SizeIs(16));
    if (first.empty()) first = parameters;
    EXPECT_EQ(std::memcmp(first.data(), parameters.data(), 64), 0);
  }
}

// ---- partitions without examples ----------------------------------------------------------------

TEST(ShardTest, AnEndWithoutExamplesCoversItsPartitions) {
  ShardJob job({});
  job.init_all(8);
  job.push(0, 0, {0, 2}, 2.0F, 2);
  job.end(0, {0, 2}, 2);  // with examples: says nothing new
  job.end(0, {3, 1}, 0);
  job.end(0, {3, 1}, 0);  // repeated
  job.push(0, 0, {2, 1}, 2.0F, 2);
  EXPECT_THAT(job.parameters(1, 0), Each(7.0F));
  EXPECT_EQ(job.shard().step(), 0U);  // the other chunks wait for their pushes
}

TEST(ShardTest, AStepWithoutAnyExamplesKeepsTheParameters) {
  for (const bool lossy : {false, true}) {
    ShardJob job({.lossy_pull = lossy});
    job.init_all(8);
    job.end(0, {0, 4}, 0);
    EXPECT_EQ(job.shard().step(), 1U);
    EXPECT_THAT(job.parameters(1, 0), testing::Not(IsEmpty()));
    EXPECT_THAT(job.optimizer().calls, IsEmpty());
  }
}

TEST(ShardTest, ALateEndOfAnAppliedStepIsOnlyAcknowledged) {
  ShardJob job({});
  job.init_all(8);
  for (std::uint32_t c = 0; c < 3; ++c) job.push(0, c, {0, 4}, 4.0F, 4);
  job.replies.clear();
  job.end(0, {1, 1}, 0);
  ASSERT_THAT(job.replies, SizeIs(1));
  EXPECT_EQ(job.replies[0].header.type, FrameType::end_ack);
  EXPECT_EQ(job.shard().step(), 1U);
  EXPECT_EQ(job.shard().waiting_for().text, "");
}

// ---- groups -------------------------------------------------------------------------------------

// Three tensors in one chunk: the optimizer is asked range by range, with the group of each.
TEST(ShardTest, EveryRangeIsAskedForWithItsGroup) {
  params::Layout layout;
  layout.add("weight", {6}, {1, 1});
  layout.add("frozen", {3}, {0, 1});
  layout.add("bias", {5}, {0.5F, 0});
  const params::ChunkMap chunks(layout, 64);
  ASSERT_EQ(chunks.size(), 1U);
  const params::ShardMap shards(chunks, 1, 1);
  const auto gate = bsp_gate();
  const auto none = no_compressor();
  const Descent optimizer;
  const optimization::Schedule schedule(1.0, 0);
  struct Silent final : ShardOutput {
    std::vector<float> last;
    void reply(SessionId, wire::OutFrame frame) override {
      if (frame.payload.empty()) return;
      last.resize(frame.payload.size() / sizeof(float));
      std::memcpy(last.data(), frame.payload.data(), frame.payload.size());
    }
    void share_scalar(Step, std::uint32_t, double) override {}
  } output;
  Shard shard({.layout = layout,
               .chunks = chunks,
               .shards = shards,
               .lane = {0, 0},
               .partitions = 1,
               .connections = 1,
               .gate = *gate,
               .optimizer = optimizer,
               .schedule = schedule,
               .push = *none,
               .pull = *none},
              output);
  const auto send = [&](FrameType type, Step step, float value) {
    wire::Header header = ShardJob::header(type, step, 0, {0, 1});
    header.value = 1;
    header.payload_bytes = type == FrameType::pull ? 0 : 14 * sizeof(float);
    Buffer buffer = shard.take_buffer();
    std::ranges::fill(buffer.floats(14), value);
    shard.on_frame(0, header, std::move(buffer));
  };
  send(FrameType::init, 0, 1.0F);
  send(FrameType::push, 0, 0.5F);
  send(FrameType::pull, 1, 0);
  EXPECT_THAT(output.last, ElementsAre(0.5F, 0.5F, 0.5F, 0.5F, 0.5F, 0.5F, 1.0F, 1.0F, 1.0F, 0.75F,
                                       0.75F, 0.75F, 0.75F, 0.75F));
  ASSERT_THAT(optimizer.calls, SizeIs(3));
  EXPECT_EQ(optimizer.calls[0].size, 6U);
  EXPECT_EQ(optimizer.calls[1].step.group, (params::Group{0, 1}));
  EXPECT_EQ(optimizer.calls[2].step.group, (params::Group{0.5F, 0}));
}

// ---- what is refused ----------------------------------------------------------------------------

struct Broken {
  const char* name;
  std::function<void(wire::Header&)> change;
  const char* message;
};
class BrokenPushTest : public testing::TestWithParam<Broken> {};

TEST_P(BrokenPushTest, IsRefusedByName) {
  ShardJob job({.tensors = {16, 16, 16}, .servers = 2});
  job.init_all(1);
  const std::uint32_t chunk = job.shards().chunks_of({0, 0}).front();
  wire::Header header = ShardJob::header(FrameType::push, 0, chunk, {0, 2});
  header.value = 2;
  header.payload_bytes = 64;
  GetParam().change(header);
  const auto text = refusal([&] {
    Shard& shard = job.shard(0);
    const std::size_t limit = shard.payload_limit(header);
    if (header.payload_bytes > limit) fail(Fault::network, "above the limit {}", limit);
    Buffer buffer = shard.take_buffer();
    shard.on_frame(0, header, std::move(buffer));
  });
  EXPECT_THAT(text, HasSubstr(GetParam().message));
}
INSTANTIATE_TEST_SUITE_P(
    All, BrokenPushTest,
    testing::Values(
        Broken{"Table", [](auto& h) { h.table = 1; }, "push for table 1, expected table 0"},
        Broken{"Round", [](auto& h) { h.round = 1; }, "push for round 1, expected round 0"},
        Broken{"ForeignChunk", [](auto& h) { h.chunk = 1; }, "chunk 1, which server 0 lane 0"},
        Broken{"UnknownChunk", [](auto& h) { h.chunk = 9; }, "chunk 9, which server 0 lane 0"},
        Broken{"HugeChunk", [](auto& h) { h.chunk = 0xffffffff; }, "which server 0 lane 0"},
        Broken{"FutureStep", [](auto& h) { h.step = 1; }, "push for step 1 of chunk"},
        Broken{"NoNode", [](auto& h) { h.partitions = {1, 2}; },
               "partitions 1..3, which is no node"},
        Broken{"NoPartition", [](auto& h) { h.partitions = {0, 0}; }, "which is no node"},
        Broken{"PartitionTooHigh", [](auto& h) { h.partitions = {4, 1}; }, "over 4"},
        Broken{"TooShort", [](auto& h) { h.payload_bytes = 60; }, "found 60 bytes, expected 64"},
        Broken{"TooLong", [](auto& h) { h.payload_bytes = 68; }, "above the limit 64"},
        Broken{"WithoutExamples", [](auto& h) { h.value = 0; }, "without examples"},
        Broken{"Answer", [](auto& h) { h.type = FrameType::push_ack; }, "no frame for a server"},
        Broken{"Control", [](auto& h) { h.type = FrameType::control; }, "no frame for a server"}),
    [](const auto& test) { return test.param.name; });

TEST(ShardTest, BeforeTheFirstValuesOnlyPullsMakeSense) {
  ShardJob job({});
  EXPECT_THAT(refusal([&] { job.push(0, 0, {0, 4}, 1.0F); }), HasSubstr("push for step 0"));
  EXPECT_THAT(refusal([&] { job.end(0, {0, 4}, 0); }), HasSubstr("end of step 0"));
}

TEST(ShardTest, EndsThatMakeNoSenseAreRefused) {
  ShardJob job({});
  job.init_all(1);
  EXPECT_THAT(refusal([&] { job.end(1, {0, 1}, 0); }), HasSubstr("end of step 1, but chunk 0"));
  EXPECT_THAT(refusal([&] { job.end(0, {1, 2}, 0); }), HasSubstr("no node"));
}

// A worker asks for one version at a time: what waits is bounded, whatever is asked for.
TEST(ShardTest, PullsOfVersionsThatNobodyCanWaitForAreRefused) {
  ShardJob job({.partitions = 2});
  job.init_all(1);
  for (const SessionId session : {1U, 2U, 3U, 4U}) {
    for (const Step clock : {1U, 1U, 2U}) job.pull(clock, 0, session);  // each waits once
  }
  EXPECT_THAT(refusal([&] { job.pull(5, 0, 5); }),
              HasSubstr("pull of chunk 0 at clock 5: 4 pulls wait already"));
}

TEST(ShardTest, FirstValuesOfTheWrongLengthAreRefused) {
  ShardJob job({});
  const std::vector<std::byte> bytes(60);
  EXPECT_THAT(refusal([&] { job.send(ShardJob::header(FrameType::init, 0, 0, {}), bytes); }),
              HasSubstr("init of chunk 0: found 60 bytes, expected 64"));
}

TEST(ShardTest, APushTheCompressorCannotReadIsRefused) {
  ShardJob job({.lossy_push = true});
  job.init_all(1);
  wire::Header header = ShardJob::header(FrameType::push, 0, 0, {0, 1});
  header.value = 1;
  for (const std::size_t size : {0U, 31U}) {
    const std::vector<std::byte> bytes(size);
    EXPECT_THAT(refusal([&] { job.send(header, bytes); }), HasSubstr("expected 32"));
  }
}

// ---- compression --------------------------------------------------------------------------------

// Each push is decoded before it is added: 1 + 2^-10 loses its last bit in 16, and then 4 of them
// make exactly 4.
TEST(ShardTest, LossyPushesAreDecodedOneByOne) {
  ShardJob job({.lossy_push = true});
  job.init_all(8);
  for (std::uint32_t p = 0; p < 4; ++p) job.push(0, 0, {p, 1}, 1.0F + 0x1p-10F);
  EXPECT_THAT(job.parameters(1, 0), Each(7.0F));
}

// It would have been added to what partition 0 has pushed.
TEST(ShardTest, AMalformedPushLeavesWhatOthersHavePushed) {
  ShardJob job({.lossy_push = true});
  job.init_all(8);
  job.push(0, 0, {0, 1}, 1);
  wire::Header header = ShardJob::header(FrameType::push, 0, 0, {1, 1});
  header.value = 1;
  EXPECT_THAT(refusal([&] { job.send(header, std::vector<std::byte>(30)); }),
              HasSubstr("push of step 0, chunk 0: upper halves: found 30 bytes"));
  for (std::uint32_t p = 1; p < 4; ++p) job.push(0, 0, {p, 1}, 1);
  EXPECT_THAT(job.parameters(1, 0), Each(7.0F));
}

// The server goes on with what it has, not with what it has sent.
TEST(ShardTest, LossyPullsLeaveTheParametersAlone) {
  ShardJob job({.tensors = {16}, .lossy_pull = true});
  job.init_all(0);
  for (Step step = 0; step < 4; ++step) job.push(step, 0, {0, 4}, -4 * (1 + 0x1p-9F), 4);
  job.replies.clear();
  job.pull(4, 0);
  std::vector<float> got(16);
  UpperHalves().decode_add(job.replies.back().payload, {}, got);
  EXPECT_THAT(got, Each(4.0F));  // 4 + 2^-7 truncated to 8 bits of mantissa
  job.push(4, 0, {0, 4}, -4 * 4.0F, 4);
  job.push(5, 0, {0, 4}, 4 * 8.0F, 4);  // 4 + 2^-7 + 4 - 8 = 2^-7: the lost part is still there
  job.replies.clear();
  job.pull(6, 0);
  std::ranges::fill(got, 0.0F);
  UpperHalves().decode_add(job.replies.back().payload, {}, got);
  EXPECT_THAT(got, Each(0x1p-7F));
}

// ---- memory -------------------------------------------------------------------------------------

// The worst order of arrival in every chunk at once, while a slow connection still holds the last
// two versions, and each connection a half-received push.
void expect_bound_kept(bool lossy_push, bool lossy_pull) {
  for (const std::uint32_t partitions : {1U, 2U, 5U, 8U}) {
    ShardJob job({.tensors = {16, 16, 16, 48},
                  .partitions = partitions,
                  .lossy_push = lossy_push,
                  .lossy_pull = lossy_pull});
    job.init_all(1);
    const std::size_t bound = job.shard().memory_bound();
    std::vector<wire::OutFrame> older;
    for (Step step = 0; step < 6; ++step) {
      const Buffer half_received[] = {job.shard().take_buffer(), job.shard().take_buffer()};
      job.keep = true;
      for (std::uint32_t c = 0; c < job.chunks().size(); ++c) job.pull(step, c);
      job.keep = false;
      for (const std::uint32_t parity : {0U, 1U}) {
        for (std::uint32_t c = 0; c < job.chunks().size(); ++c) {
          for (std::uint32_t p = parity; p < partitions; p += 2) {
            job.push(step, c, {p, 1}, 1.0F);
          }
        }
      }
      older = std::exchange(job.kept, {});  // of the version before: written at last
      EXPECT_LE(job.shard().memory_used(), bound);
    }
    EXPECT_EQ(job.shard().step(), 6U);
    EXPECT_EQ(job.shard().memory_bound(), bound);
  }
}

TEST(ShardTest, TheMemoryBoundIsHonoured) { expect_bound_kept(false, false); }
TEST(ShardTest, TheMemoryBoundIsHonouredWithLossyPushes) { expect_bound_kept(true, false); }
TEST(ShardTest, TheMemoryBoundIsHonouredWithLossyPulls) { expect_bound_kept(true, true); }

TEST(ShardTest, MemoryDoesNotGrowFromStepToStep) {
  ShardJob job({});
  job.init_all(1);
  std::size_t used = 0;
  for (Step step = 0; step < 20; ++step) {
    for (std::uint32_t c = 0; c < 3; ++c) {
      for (const std::uint32_t p : {0U, 2U, 3U, 1U}) job.push(step, c, {p, 1}, 1.0F);
      job.pull(step + 1, c);
    }
    if (step == 2) used = job.shard().memory_used();
  }
  EXPECT_EQ(job.shard().memory_used(), used);
}

// ---- step scalars -------------------------------------------------------------------------------

// The norm of the mean gradient over all parameters, worked out here in one go, however the chunks
// are spread.
TEST(ShardTest, ClippingUsesTheNormOfTheWholeGradient) {
  const std::vector<std::uint32_t> tensors = {16, 7, 33, 16, 5, 16, 16};
  constexpr std::uint64_t kExamples = 10;
  for (const double clip : {0.25, 1e6}) {
    std::vector<std::vector<float>> first;
    for (const auto& [servers, lanes] :
         {std::pair{1U, 1U}, {1U, 3U}, {2U, 1U}, {3U, 2U}, {8U, 2U}}) {
      ShardJob job({.tensors = tensors,
                    .partitions = 2,
                    .servers = servers,
                    .lanes = lanes,
                    .clip_norm = clip});
      job.init_all(1);
      double squares = 0;
      for (std::uint32_t c = 0; c < job.chunks().size(); ++c) {
        for (std::uint32_t p = 0; p < 2; ++p) {
          Stream stream(6, Purpose::test, c, p);
          std::vector<float> gradient(job.chunks()[c].size);
          for (float& value : gradient) value = static_cast<float>(stream.normal());
          job.push(0, c, {p, 1}, gradient, kExamples / 2);
        }
        Stream left(6, Purpose::test, c, 0);
        Stream right(6, Purpose::test, c, 1);
        for (std::size_t i = 0; i < job.chunks()[c].size; ++i) {
          const float l = static_cast<float>(left.normal());
          const float sum = l + static_cast<float>(right.normal());
          squares += static_cast<double>(sum) * sum;
        }
        const bool last = c + 1 == job.chunks().size();
        EXPECT_EQ(job.optimizer().calls.empty(), !last);  // nothing moves before all is known
      }
      const double norm = std::sqrt(squares) / kExamples;
      const double expected = std::min(1.0, clip / norm) / kExamples;
      for (const auto& call : job.optimizer().calls) {
        EXPECT_NEAR(call.step.gradient_scale, expected, 1e-14);
      }
      std::vector<std::vector<float>> parameters;
      for (std::uint32_t c = 0; c < job.chunks().size(); ++c) {
        parameters.push_back(job.parameters(1, c));
        EXPECT_FALSE(parameters.back().empty());
      }
      if (first.empty()) first = parameters;
      EXPECT_EQ(parameters, first);  // the same bits for every spread
    }
  }
}

TEST(ShardTest, ClippingAStepWithoutExamplesKeepsTheParameters) {
  ShardJob job({.partitions = 2, .servers = 2, .clip_norm = 1});
  job.init_all(5);
  job.end(0, {0, 2}, 0, 0);
  job.end(0, {0, 2}, 0, 1);
  for (std::uint32_t c = 0; c < 3; ++c) EXPECT_THAT(job.parameters(1, c), Each(5.0F));
}

TEST(ShardTest, WhoIsMissingIsSaidByName) {
  ShardJob job({.tensors = {16, 16}, .partitions = 3, .servers = 2, .clip_norm = 1});
  EXPECT_THAT(job.shard(0).waiting_for().text, HasSubstr("initial values of chunk 1"));
  job.init_all(1);
  EXPECT_EQ(job.shard(0).waiting_for().text, "");
  job.push(0, 1, {1, 1}, 1.0F);
  EXPECT_EQ(job.shard(0).waiting_for().text, "step 0 of chunk 1 waits for partitions 0, 2");
  EXPECT_FALSE(job.shard(0).scalar_wait());
  job.push(0, 1, {0, 1}, 1.0F);
  job.push(0, 1, {2, 1}, 1.0F);
  EXPECT_EQ(job.shard(0).waiting_for().text, "step scalars of step 0 for chunk 1");
  const auto wait = job.shard(0).scalar_wait();
  ASSERT_TRUE(wait);
  EXPECT_EQ(wait->server, 1U);
  EXPECT_EQ(wait->chunk, 0U);
}

TEST(ShardTest, AScalarOfAnUnknownChunkIsRefused) {
  ShardJob job({.clip_norm = 1});
  EXPECT_THAT(refusal([&] { job.shard().on_scalar(0, 3, 1.0); }), HasSubstr("expected 0..2"));
}

}  // namespace
}  // namespace sheaf::server
