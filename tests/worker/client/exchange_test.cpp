#include "worker/client/exchange.h"

#include <gmock/gmock.h>

#include <cstring>
#include <functional>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using wire::FrameType;
using wire::Header;
using wire::PushStatus;

// Notes what the conversation has brought about, one word an event.
class Events final : public ExchangeEvents {
 public:
  void on_arrived(std::uint32_t chunk, Step version, Version, std::size_t bytes) override {
    log.push_back(fmt::format("arrived {} v{} {}", chunk, version, bytes));
  }
  void on_difference(std::uint32_t chunk, Step version, Version, std::size_t bytes) override {
    log.push_back(fmt::format("difference {} v{} {}", chunk, version, bytes));
  }
  void on_settled(const Header& request) override {
    log.push_back(fmt::format("settled {} {}", to_string(request.type), request.chunk));
  }
  void on_partial(const Header& request, std::span<const std::uint32_t> missing) override {
    log.push_back(fmt::format("partial {} [{}]", request.chunk, fmt::join(missing, " ")));
    if (then) then(missing);
  }
  std::vector<std::string> log;
  std::function<void(std::span<const std::uint32_t>)> then;
};

class ExchangeTest : public testing::Test {
 protected:
  static constexpr PartitionRange kHosted{0, 4};
  static TimePoint at(int milliseconds) {
    return TimePoint(std::chrono::milliseconds(milliseconds));
  }

  Exchange make(std::uint32_t window = 8, int resend_milliseconds = 0) {
    return Exchange({.partitions = 12,
                     .window = window,
                     .largest_reply = 64,
                     .resend_after = std::chrono::milliseconds(resend_milliseconds)},
                    events_);
  }

  // Everything that may be sent now, as words.
  static std::vector<std::string> sent(Exchange& exchange, TimePoint now = {}) {
    std::vector<std::string> words;
    while (const auto frame = exchange.next(now)) {
      const Header& h = frame->header;
      words.push_back(fmt::format("{} {} of {}", to_string(h.type), h.chunk, h.step));
      EXPECT_EQ(h.payload_bytes, frame->payload.size());
    }
    return words;
  }

  static Header answer(FrameType type, Step step, std::uint32_t chunk, PartitionRange partitions,
                       PushStatus status = PushStatus::added) {
    Header header;
    header.type = type;
    header.step = step;
    header.chunk = chunk;
    header.partitions = partitions;
    header.status = static_cast<std::uint8_t>(status);
    return header;
  }
  static void deliver(Exchange& exchange, Header header,
                      const std::vector<std::byte>& payload = {}) {
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    const auto into = exchange.receive_into(header);
    ASSERT_EQ(into.size(), payload.size());
    std::ranges::copy(payload, into.begin());
    exchange.on_frame(header);
  }
  static std::string refusal(Exchange& exchange, Header header, std::uint32_t bytes) {
    header.payload_bytes = bytes;
    try {
      (void)exchange.receive_into(header);
      exchange.on_frame(header);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::network);
      return error.message();
    }
    ADD_FAILURE() << "was accepted";
    return {};
  }

  Events events_;
  std::vector<std::byte> payload_{16};
  std::vector<std::byte> into_{64};
};

TEST_F(ExchangeTest, SendsInTheOrderGiven) {
  Exchange exchange = make();
  EXPECT_TRUE(exchange.idle());
  exchange.push(5, 3, kHosted, 10, payload_);
  exchange.pull(6, 3, kHosted, into_);
  exchange.push(5, 1, kHosted, 10, payload_);
  exchange.end(5, kHosted, 10);
  EXPECT_FALSE(exchange.idle());
  EXPECT_THAT(sent(exchange),
              ElementsAre("push 3 of 5", "pull 3 of 6", "push 1 of 5", "end 0 of 5"));
  EXPECT_THAT(sent(exchange), IsEmpty());
}

TEST_F(ExchangeTest, FramesSayWhatWasGiven) {
  Exchange exchange = make();
  exchange.push(5, 3, {4, 2}, 10, payload_);
  const auto frame = exchange.next({});
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->header.table, kVectorTable);
  EXPECT_EQ(frame->header.round, 0);
  EXPECT_EQ(frame->header.partitions, (PartitionRange{4, 2}));
  EXPECT_EQ(frame->header.value, 10U);
  EXPECT_EQ(frame->payload.data(), payload_.data());  // from where it lies
}

TEST_F(ExchangeTest, AnswersSettleWhateverTheirOrder) {
  Exchange exchange = make();
  exchange.init(2, payload_);
  exchange.push(5, 3, kHosted, 10, payload_);
  exchange.end(5, kHosted, 10);
  sent(exchange);
  deliver(exchange, answer(FrameType::end_ack, 5, 0, kHosted));
  deliver(exchange, answer(FrameType::push_ack, 5, 3, kHosted, PushStatus::duplicate));
  deliver(exchange, answer(FrameType::init_ack, 0, 2, {}));
  EXPECT_THAT(events_.log, ElementsAre("settled end 0", "settled push 3", "settled init 2"));
  EXPECT_TRUE(exchange.idle());
}

TEST_F(ExchangeTest, ParametersAreReceivedIntoTheirPlace) {
  Exchange exchange = make();
  exchange.pull(7, 3, kHosted, into_);
  sent(exchange);
  Header header = answer(FrameType::pull_reply, 7, 3, kHosted);
  header.payload_bytes = 40;
  EXPECT_EQ(exchange.receive_into(header).data(), into_.data());
  deliver(exchange, answer(FrameType::pull_reply, 7, 3, kHosted), std::vector<std::byte>(40));
  EXPECT_THAT(events_.log, ElementsAre("arrived 3 v7 40"));
}

// ---- credit

TEST_F(ExchangeTest, PushesWaitForCredit) {
  Exchange exchange = make(2);
  for (std::uint32_t c = 4; c-- > 0;) exchange.push(0, c, kHosted, 1, payload_);
  EXPECT_THAT(sent(exchange), ElementsAre("push 3 of 0", "push 2 of 0"));
  deliver(exchange, answer(FrameType::push_ack, 0, 2, kHosted));
  EXPECT_THAT(sent(exchange), ElementsAre("push 1 of 0"));
  deliver(exchange, answer(FrameType::push_ack, 0, 1, kHosted));
  deliver(exchange, answer(FrameType::push_ack, 0, 3, kHosted));
  EXPECT_THAT(sent(exchange), ElementsAre("push 0 of 0"));
}

TEST_F(ExchangeTest, EverySetOfPartitionsHasCreditOfItsOwn) {
  Exchange exchange = make(1);
  exchange.push(0, 3, {0, 4}, 1, payload_);
  exchange.push(0, 3, {4, 2}, 1, payload_);
  EXPECT_THAT(sent(exchange), ElementsAre("push 3 of 0", "push 3 of 0"));
}

TEST_F(ExchangeTest, PullsAndEndsNeedNoCredit) {
  Exchange exchange = make(1);
  exchange.push(0, 3, kHosted, 1, payload_);
  exchange.pull(1, 3, kHosted, into_);
  exchange.end(0, kHosted, 1);
  EXPECT_THAT(sent(exchange), ElementsAre("push 3 of 0", "pull 3 of 1", "end 0 of 0"));
}

// ---- loss and repetition

TEST_F(ExchangeTest, WhatIsNotAnsweredInTimeIsSentAgain) {
  Exchange exchange = make(8, 10);
  exchange.push(0, 1, kHosted, 1, payload_);
  exchange.push(0, 2, kHosted, 1, payload_);
  sent(exchange, at(0));
  exchange.on_tick(at(9));
  EXPECT_THAT(sent(exchange, at(9)), IsEmpty());
  deliver(exchange, answer(FrameType::push_ack, 0, 1, kHosted));
  exchange.on_tick(at(10));
  EXPECT_THAT(sent(exchange, at(10)), ElementsAre("push 2 of 0"));
  exchange.on_tick(at(15));
  EXPECT_THAT(sent(exchange, at(15)), IsEmpty());
  exchange.on_tick(at(20));
  EXPECT_THAT(sent(exchange, at(20)), ElementsAre("push 2 of 0"));
}

TEST_F(ExchangeTest, ALostPushGivesItsCreditBack) {
  Exchange exchange = make(1, 10);
  exchange.push(0, 1, kHosted, 1, payload_);
  exchange.push(0, 2, kHosted, 1, payload_);
  EXPECT_THAT(sent(exchange, at(0)), ElementsAre("push 1 of 0"));
  exchange.on_tick(at(10));
  EXPECT_THAT(sent(exchange, at(10)), ElementsAre("push 1 of 0"));
  deliver(exchange, answer(FrameType::push_ack, 0, 1, kHosted));
  EXPECT_THAT(sent(exchange, at(10)), ElementsAre("push 2 of 0"));
}

TEST_F(ExchangeTest, ANewConnectionGetsEverythingUnanswered) {
  Exchange exchange = make(2);
  exchange.push(0, 1, kHosted, 1, payload_);
  exchange.pull(1, 1, kHosted, into_);
  exchange.push(0, 2, kHosted, 1, payload_);
  exchange.push(0, 3, kHosted, 1, payload_);
  sent(exchange);
  deliver(exchange, answer(FrameType::push_ack, 0, 1, kHosted));
  exchange.on_reconnected();
  EXPECT_THAT(sent(exchange), ElementsAre("pull 1 of 1", "push 2 of 0", "push 3 of 0"));
}

TEST_F(ExchangeTest, RepeatedAnswersAreIgnored) {
  Exchange exchange = make();
  exchange.push(0, 1, kHosted, 1, payload_);
  exchange.pull(1, 1, kHosted, into_);
  sent(exchange);
  for (int i = 0; i < 3; ++i) {
    deliver(exchange, answer(FrameType::push_ack, 0, 1, kHosted));
    deliver(exchange, answer(FrameType::pull_reply, 1, 1, kHosted), std::vector<std::byte>(64));
  }
  EXPECT_THAT(events_.log, ElementsAre("settled push 1", "arrived 1 v1 64"));
  EXPECT_TRUE(exchange.idle());
}

TEST_F(ExchangeTest, WhoHasTheVersionBeforeTakesADifference) {
  const auto difference = [](std::uint32_t chunk, Version version) {
    Header header = answer(FrameType::pull_reply, 3, chunk, kHosted);
    header.status = static_cast<std::uint8_t>(wire::PullStatus::difference);
    header.value = version;
    return header;
  };
  Exchange exchange = make();
  for (const std::uint32_t chunk : {1U, 2U, 3U}) exchange.pull(3, chunk, kHosted, into_, 3);
  exchange.pull(3, 4, kHosted, into_);  // it has none
  sent(exchange);
  deliver(exchange, difference(1, 3), std::vector<std::byte>(5));
  deliver(exchange, difference(1, 3), std::vector<std::byte>(5));  // a repetition
  Header whole = answer(FrameType::pull_reply, 3, 2, kHosted);
  whole.value = 3;
  deliver(exchange, whole, std::vector<std::byte>(64));
  EXPECT_THAT(events_.log, ElementsAre("difference 1 v3 5", "arrived 2 v3 64"));
  EXPECT_THAT(refusal(exchange, difference(3, 4), 5),
              HasSubstr("new in version 4, expected that of 3"));
  EXPECT_THAT(refusal(exchange, difference(4, 3), 5), HasSubstr("expected the whole version"));
}

TEST_F(ExchangeTest, ALateReplyDoesNotTouchWhatIsBeingReceivedNow) {
  Exchange exchange = make();
  exchange.pull(1, 1, kHosted, into_);
  sent(exchange);
  Header late = answer(FrameType::pull_reply, 0, 1, kHosted);
  late.payload_bytes = 64;
  EXPECT_NE(exchange.receive_into(late).data(), into_.data());
  exchange.on_frame(late);
  EXPECT_THAT(events_.log, IsEmpty());
  EXPECT_FALSE(exchange.idle());
}

// Table, round, chunk, step and set of partitions: an answer that differs in one settles nothing.
TEST_F(ExchangeTest, OnlyTheWholeIdentityCounts) {
  Exchange exchange = make();
  exchange.push(5, 3, kHosted, 10, payload_);
  sent(exchange);
  const Header right = answer(FrameType::push_ack, 5, 3, kHosted);
  for (const auto& change : std::vector<std::function<void(Header&)>>{
           [](Header& h) { h.table = 1; }, [](Header& h) { h.round = 1; },
           [](Header& h) { h.chunk = 2; }, [](Header& h) { h.step = 4; },
           [](Header& h) { h.partitions = {0, 2}; },
           [](Header& h) { h.type = FrameType::end_ack; }}) {
    Header wrong = right;
    change(wrong);
    deliver(exchange, wrong);
    EXPECT_FALSE(exchange.idle());
  }
  deliver(exchange, right);
  EXPECT_TRUE(exchange.idle());
}

// ---- partial answers

TEST_F(ExchangeTest, APartialAnswerNamesWhatIsMissing) {
  Exchange exchange = make();
  exchange.push(0, 1, {0, 11}, 11, payload_);
  sent(exchange);
  events_.then = [&](std::span<const std::uint32_t> missing) {
    for (const std::uint32_t p : missing) exchange.push(0, 1, {p, 1}, 1, payload_);
  };
  deliver(exchange, answer(FrameType::push_ack, 0, 1, {0, 11}, PushStatus::partial),
          {std::byte{0b10000001}, std::byte{0b00000100}});
  EXPECT_THAT(events_.log, ElementsAre("partial 1 [0 7 10]"));
  EXPECT_THAT(sent(exchange), ElementsAre("push 1 of 0", "push 1 of 0", "push 1 of 0"));
}

// ---- what is refused

TEST_F(ExchangeTest, WhatNoServerSaysIsRefused) {
  Exchange exchange = make();
  EXPECT_THAT(refusal(exchange, answer(FrameType::push, 0, 0, {}), 0), HasSubstr("no answer"));
  EXPECT_THAT(refusal(exchange, answer(FrameType::control, 0, 0, {}), 0), HasSubstr("no answer"));
}

TEST_F(ExchangeTest, PayloadsBeyondWhatWasAskedForAreRefused) {
  Exchange exchange = make();
  exchange.pull(1, 1, kHosted, std::span(into_).first(32));
  exchange.push(0, 1, kHosted, 1, payload_);
  sent(exchange);
  EXPECT_THAT(refusal(exchange, answer(FrameType::pull_reply, 1, 1, kHosted), 33),
              HasSubstr("found 33 bytes of payload, expected at most 32"));
  EXPECT_THAT(refusal(exchange, answer(FrameType::pull_reply, 9, 9, kHosted), 65),
              HasSubstr("at most 64"));
  EXPECT_THAT(refusal(exchange, answer(FrameType::push_ack, 0, 1, kHosted), 1),
              HasSubstr("at most 0"));
  EXPECT_THAT(refusal(exchange, answer(FrameType::push_ack, 0, 1, kHosted, PushStatus::partial), 2),
              HasSubstr("at most 1"));
  EXPECT_THAT(refusal(exchange, answer(FrameType::push_ack, 0, 1, kHosted, PushStatus::partial), 0),
              HasSubstr("a set of 0 bytes for 4 partitions"));
  EXPECT_THAT(
      refusal(exchange, answer(FrameType::push_ack, 0, 1, {0, 0xffffffff}, PushStatus::partial),
              0xffffffff),
      HasSubstr("at most"));
}

TEST_F(ExchangeTest, TheOldestOpenRequestIsKnown) {
  Exchange exchange = make();
  EXPECT_FALSE(exchange.oldest());
  exchange.push(5, 3, kHosted, 10, payload_);
  exchange.pull(6, 3, kHosted, into_);
  sent(exchange);
  deliver(exchange, answer(FrameType::push_ack, 5, 3, kHosted));
  ASSERT_TRUE(exchange.oldest());
  EXPECT_EQ(exchange.oldest()->type, FrameType::pull);
}

}  // namespace
}  // namespace sheaf::worker
