// A worker that shares memory with a lane, without the worker: the test writes into its rings.
#include "server/shared_session.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "common/base/error.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::HasSubstr;
using wire::FrameType;

constexpr std::size_t kCapacity = 8;
constexpr std::size_t kOutgoing = 4096;

class SharedSessionTest : public testing::Test {
 protected:
  SharedSessionTest() {
    auto links = net::SharedMemory::create("links", cluster::SharedLinks::bytes(1, kCapacity));
    auto outgoing = net::SharedMemory::create("outgoing", kOutgoing);
    links_ = net::SharedMemory::map(links.descriptor().duplicate(), links.bytes().size(),
                                    net::SharedMemory::Access::write);
    outgoing_ = net::SharedMemory::map(outgoing.descriptor().duplicate(), kOutgoing,
                                       net::SharedMemory::Access::write);
    const auto view =
        cluster::SharedLinks::make(links_.bytes(), {.lanes = 1, .capacity = kCapacity});
    requests_ = view.requests(0);
    answers_ = view.answers(0);
    SharedSession::Memory memory;
    memory.links = std::move(links);
    memory.outgoing = std::move(outgoing);
    session_ = std::make_unique<SharedSession>(
        5, 0, std::move(memory),
        cluster::SharedLinks::open(links_.bytes(), {.lanes = 1, .capacity = kCapacity}),
        job_.shard());
  }

  void request(FrameType type, Step step, std::uint32_t chunk, PartitionRange partitions,
               std::size_t floats, std::uint64_t at) {
    net::RingFrame frame;
    frame.header = ShardJob::header(type, step, chunk, partitions);
    frame.header.value = partitions.count;
    frame.header.payload_bytes = static_cast<std::uint32_t>(floats * sizeof(float));
    frame.at = at;
    ASSERT_TRUE(requests_.push(frame));
  }
  static wire::OutFrame plain_answer(Step step) {
    wire::OutFrame answer;
    answer.header = ShardJob::header(FrameType::push_ack, step, 0, {0, 1});
    return answer;
  }
  static wire::OutFrame partial_answer(Step step, std::span<const std::byte> bits) {
    wire::OutFrame answer;
    const auto partitions = static_cast<std::uint32_t>(8 * bits.size());
    answer.header = ShardJob::header(FrameType::push_ack, step, 1, {0, partitions});
    answer.header.payload_bytes = static_cast<std::uint32_t>(bits.size());
    answer.payload = bits;
    return answer;
  }
  // 1, 2, 3 … in 8 bytes each, the lowest first.
  std::span<const std::byte> numbered_words(std::size_t count) {
    bits_.assign(8 * count, std::byte{0});
    for (std::size_t i = 0; i < count; ++i) bits_[8 * i] = static_cast<std::byte>(i + 1);
    return bits_;
  }
  net::Doorbell& bell() {
    return cluster::SharedLinks::open(links_.bytes(), {.lanes = 1, .capacity = kCapacity}).bell();
  }
  std::string complaint() {
    try {
      session_->poll();
    } catch (const Error& error) {
      return error.message();
    }
    return "none";
  }

  ShardJob job_{{}};
  std::size_t size_ = job_.chunks()[0].size;
  net::SharedMemory links_, outgoing_;
  net::FrameRing requests_, answers_;
  std::vector<std::byte> bits_;
  std::unique_ptr<SharedSession> session_;
};

// Values are read where they lie: what is acknowledged only when they have been used.
TEST_F(SharedSessionTest, APushIsAcknowledgedWhenItsStepIsApplied) {
  job_.init_all(1);
  job_.replies.clear();
  std::ranges::fill(outgoing_.floats().first(size_), 2.0F);
  request(FrameType::push, 0, 0, {0, 2}, size_, 0);
  EXPECT_TRUE(session_->poll());
  EXPECT_TRUE(job_.replies.empty());
  std::ranges::fill(outgoing_.floats().first(size_), 4.0F);  // the lane has not copied it
  job_.push(0, 0, {2, 2}, 4.0F, 2);
  std::size_t acknowledged = 0;
  for (const auto& reply : job_.replies) {
    if (reply.header.type == FrameType::push_ack && reply.session == 5) ++acknowledged;
  }
  EXPECT_EQ(acknowledged, 1U);
  // in - (4 + 4) / 4
  EXPECT_THAT(job_.parameters(1, 0), testing::Each(-1.0F));
}

TEST_F(SharedSessionTest, APushThatIsNeededBackIsCopied) {
  job_.init_all(1);
  job_.replies.clear();
  std::ranges::fill(outgoing_.floats().first(size_), 2.0F);
  net::RingFrame frame;
  frame.header = ShardJob::header(FrameType::push, 0, 0, {0, 2});
  frame.header.value = 2;
  frame.header.status = 1;
  frame.header.payload_bytes = static_cast<std::uint32_t>(size_ * sizeof(float));
  requests_.push(frame);
  session_->poll();
  ASSERT_EQ(job_.replies.size(), 1U);
  EXPECT_EQ(job_.replies[0].header.type, FrameType::push_ack);
  std::ranges::fill(outgoing_.floats().first(size_), 99.0F);
  job_.push(0, 0, {2, 2}, 2.0F, 2);
  EXPECT_THAT(job_.parameters(1, 0), testing::Each(0.0F));  // 1 - (2 + 2) / 4
}

TEST_F(SharedSessionTest, ARepeatedPushIsAcknowledgedAtOnceAndOnce) {
  job_.init_all(1);
  request(FrameType::push, 0, 0, {0, 2}, size_, 0);
  session_->poll();
  job_.replies.clear();
  request(FrameType::push, 0, 0, {0, 2}, size_, 0);
  session_->poll();
  ASSERT_EQ(job_.replies.size(), 1U);
  EXPECT_EQ(job_.replies[0].header.status, static_cast<std::uint8_t>(wire::PushStatus::duplicate));
}

TEST_F(SharedSessionTest, APayloadOutsideTheSharedMemoryIsRefused) {
  job_.init_all(1);
  const std::uint64_t bad[] = {kOutgoing, kOutgoing - 4, ~std::uint64_t{0}, ~std::uint64_t{0} - 3,
                               2};
  for (const std::uint64_t at : bad) {
    request(FrameType::push, 0, 0, {0, 2}, size_, at);
    EXPECT_THAT(complaint(), HasSubstr("of shared memory")) << at;
  }
  request(FrameType::push, 0, 0, {0, 2}, size_ + 1, 0);
  EXPECT_THAT(complaint(), HasSubstr("of shared memory"));
}

TEST_F(SharedSessionTest, WhatIsNoRequestIsRefused) {
  job_.init_all(1);
  request(FrameType::control, 0, 0, {0, 1}, 0, 0);
  EXPECT_THAT(complaint(), HasSubstr("no frame for a server"));
  request(FrameType::push, 0, 999, {0, 2}, size_, 0);
  EXPECT_THAT(complaint(), HasSubstr("chunk 999"));
}

// Answers nobody takes: the lane does not wait for them, and says whose they are.
TEST_F(SharedSessionTest, AWorkerThatTakesNoAnswersIsRefused) {
  const wire::OutFrame answer = plain_answer(0);
  for (std::size_t i = 0; i < 2 * kCapacity; ++i)
    session_->send(answer);  // in the ring, and behind
  EXPECT_EQ(complaint(), "none");
  session_->send(answer);
  EXPECT_THAT(complaint(), HasSubstr("ring of answers: full"));
}

TEST_F(SharedSessionTest, ASetOfPartitionsComesInWords) {
  std::vector<std::byte> bits(10);
  bits[0] = std::byte{0xA5};
  bits[9] = std::byte{0x5A};
  session_->send(partial_answer(3, bits));
  net::RingFrame word;
  ASSERT_TRUE(answers_.pop(word));
  EXPECT_EQ(word.at, 0U);
  EXPECT_EQ(word.header.value, 0xA5U);
  ASSERT_TRUE(answers_.pop(word));
  EXPECT_EQ(word.at, 8U);
  EXPECT_EQ(word.header.value, 0x5A00U);
  EXPECT_FALSE(answers_.pop(word));
}

// 20 words and what comes behind them through a ring of 8: in order, as the worker makes room.
TEST_F(SharedSessionTest, WordsThatDoNotFitAreSentAsTheWorkerTakesAnswers) {
  constexpr std::size_t kWords = 20;
  session_->send(partial_answer(3, numbered_words(kWords)));
  session_->send(plain_answer(4));
  net::RingFrame frame;
  for (std::size_t i = 0; i < kWords; ++i) {
    ASSERT_TRUE(answers_.pop(frame)) << i;
    EXPECT_EQ(frame.header.step, 3U);
    EXPECT_EQ(frame.at, 8 * i);
    EXPECT_EQ(frame.header.value, i + 1);
    // One frame was taken, one of the 21 follows it into the ring, until all are there.
    EXPECT_EQ(session_->poll(), kCapacity + i < kWords + 1) << i;
  }
  ASSERT_TRUE(answers_.pop(frame));
  EXPECT_EQ(frame.header.step, 4U);
  EXPECT_EQ(frame.header.payload_bytes, 0U);
  EXPECT_FALSE(answers_.pop(frame));
}

// The bound is on requests, however long their answers are: a worker may have one open for each
// frame of the ring.
TEST_F(SharedSessionTest, EveryRequestThatAWorkerMayHaveOpenCanBeAnsweredInWords) {
  constexpr std::size_t kWords = 20;
  for (std::size_t i = 0; i < kCapacity; ++i) {
    session_->send(partial_answer(i, numbered_words(kWords)));
  }
  EXPECT_EQ(complaint(), "none");
  std::size_t taken = 0;
  do {
    for (net::RingFrame frame; answers_.pop(frame); ++taken) {
      EXPECT_EQ(frame.header.step, taken / kWords);
      EXPECT_EQ(frame.at, taken % kWords * 8);
    }
  } while (session_->poll());
  EXPECT_EQ(taken, kCapacity * kWords);
}

// The worker is woken for words that were sent late, too.
TEST_F(SharedSessionTest, TheBellRingsForWordsThatHadToWait) {
  session_->send(partial_answer(0, numbered_words(kCapacity + 1)));
  session_->ring();
  net::RingFrame frame;
  ASSERT_TRUE(answers_.pop(frame));
  answers_.ask_wake();
  const std::uint32_t before = bell().count();
  session_->poll();
  session_->ring();
  EXPECT_NE(bell().count(), before);
  answers_.ask_wake();
  const std::uint32_t after = bell().count();
  session_->poll();  // nothing is left
  session_->ring();
  EXPECT_EQ(bell().count(), after);
}

// A worker that waits for all of its pushes is woken once; a partial one it must push again, and
// others may wait for that.
TEST_F(SharedSessionTest, TheBellRingsWhenTheWorkerHasWhatItWaitsFor) {
  answers_.ask_wake(3);
  for (Step step : {0U, 1U}) {
    session_->send(plain_answer(step));
    session_->ring();
  }
  EXPECT_EQ(bell().count(), 0U);
  session_->send(plain_answer(2));
  session_->ring();
  EXPECT_EQ(bell().count(), 1U);
  answers_.ask_wake(3);
  session_->send(partial_answer(3, numbered_words(1)));
  session_->ring();
  EXPECT_EQ(bell().count(), 2U);
}

}  // namespace
}  // namespace sheaf::server
