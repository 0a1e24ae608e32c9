// Control bodies. This file replaces operator new of the whole test program by one that notes the
// largest request, to show what a claim from the wire can make the reader allocate.
#include "common/wire/messages.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

#include "common/wire/bytes.h"

namespace {

std::atomic<std::size_t> largest_request{0};

void* noted(std::size_t size) {
  largest_request = std::max(largest_request.load(), size);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return noted(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  largest_request = std::max(largest_request.load(), size);
  return std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace sheaf::wire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Bytes = std::vector<std::byte>;

Registration registration() {
  Registration m;
  m.info.process = {Role::worker, 3};
  m.info.incarnation = 2;
  m.info.pid = 4711;
  m.info.started = 0x123456789abcdef0;
  m.info.host = "n2";
  m.info.address = "10.0.0.2";
  m.info.ports = {20000, 65535};
  m.numerics = "core, 1 thread";
  m.data_digest = "ab";
  m.layout.add("layers.0.weight", {3, 4}, {1, 1});
  m.layout.add("layers.0.bias", {4}, {1, 0});
  m.layout.add("frozen", {2, 3, 4}, {0, 1});
  m.task = 1;
  m.outputs = 4;
  m.targets = 1;
  m.steps = 1000;
  m.has_residuals = true;
  m.residuals_of = 7;
  m.steps_per_epoch = 10;
  m.keeper_pid = 77;
  m.keeper_started = 1234567;
  return m;
}

// One message of each type, with every field set.
template <typename Visit>
void each_message(Visit visit) {
  visit(registration());
  visit(Start{{registration().info, registration().info},
              registration().layout,
              "/runs/a/checkpoints",
              120,
              "{}",
              "00ff",
              1.5,
              registration().info,
              {1, 0}});
  visit(Released{7, 1, 2, 16, {1, 2, 3, 4}});
  visit(registration().info);
  visit(Return{registration(), 1, 2, 3, true, true, 4, {5, 6}, {1, 0}, {{6, 3}}});
  visit(Losses{{{5, 1, 32, 0.25, false}, {6, 0, 0, 0, true}}, {100, 200, 300, 400}});
  visit(Contribution{"validation 10", false, {{0, {1.5, -2.5}}, {7, {}}}});
  visit(Total{"t", {0.1, std::numeric_limits<double>::infinity()}});
  visit(Log{true, "a warning\nof two lines"});
  visit(Failure{{Role::server, 1}, 6, "training", "not finite"});
  visit(Drain{99});
  visit(Finished{
      {1, 2, 3, 4}, 5, 6.5, 7, 8.5, 9, 10, 11, 12.5, 13, 14, {0.25, 0.5}, Survives::snapshot});
  visit(CheckpointAt{120, true, true});
  visit(CheckpointAnswer{120, false, true});
  visit(CheckpointBase{120, 90});
  visit(Saved{120,
              "no space",
              {{"step-120/server-0",
                10,
                2,
                3,
                "n2",
                {{0, 16, 64, 7}, {16, 1, 4, 9}},
                {{3, 1, {0, 16, 64, 7}}}},
               {"step-90/server-0", 1, 2, 3, "n2", {{17, 1, 4, 9}}}}});
}

template <typename Message>
std::string refusal(const Bytes& bytes) {
  try {
    from_bytes<Message>(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "was accepted";
  return {};
}

// Equal bytes after a second writing: every field that is written is read, and the other way round.
TEST(MessagesTest, EveryTypeSurvivesTheRoundTrip) {
  each_message([](const auto& message) {
    using Message = std::decay_t<decltype(message)>;
    const Bytes bytes = to_bytes(message);
    EXPECT_EQ(to_bytes(from_bytes<Message>(bytes)), bytes);
  });
}

TEST(MessagesTest, FieldsArriveInTheirPlaces) {
  const auto back = from_bytes<Registration>(to_bytes(registration()));
  EXPECT_EQ(back.info.process, (ProcessId{Role::worker, 3}));
  EXPECT_EQ(back.info.started, 0x123456789abcdef0U);
  EXPECT_EQ(back.info.host, "n2");
  EXPECT_THAT(back.info.ports, ElementsAre(20000, 65535));
  EXPECT_EQ(back.steps_per_epoch, 10U);
  const params::Layout expected = registration().layout;
  EXPECT_EQ(back.layout.size(), expected.size());
  EXPECT_EQ(back.layout.groups(), expected.groups());
  for (std::size_t i = 0; i < expected.tensors().size(); ++i) {
    EXPECT_EQ(back.layout.tensors()[i].name, expected.tensors()[i].name);
    EXPECT_EQ(back.layout.tensors()[i].shape, expected.tensors()[i].shape);
    EXPECT_EQ(back.layout.tensors()[i].offset, expected.tensors()[i].offset);
    EXPECT_EQ(back.layout.tensors()[i].group, expected.tensors()[i].group);
  }
  const auto contribution =
      from_bytes<Contribution>(to_bytes(Contribution{"tag", false, {{7, {1.5}}}}));
  EXPECT_EQ(contribution.tag, "tag");
  EXPECT_FALSE(contribution.sum);
  EXPECT_THAT(contribution.values, ElementsAre(testing::Pair(7U, ElementsAre(1.5))));
}

// Little-endian and without padding: u64 length, the text, then what follows.
TEST(MessagesTest, HaveTheBytesOneExpects) {
  EXPECT_EQ(to_bytes(Drain{0x0102030405060708}),
            (Bytes{std::byte{8}, std::byte{7}, std::byte{6}, std::byte{5}, std::byte{4},
                   std::byte{3}, std::byte{2}, std::byte{1}}));
  EXPECT_EQ(to_bytes(Log{true, "x"}),
            (Bytes{std::byte{1}, std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0},
                   std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{'x'}}));
}

TEST(MessagesTest, CutOffAtAnyLengthTheyAreRefused) {
  each_message([](const auto& message) {
    using Message = std::decay_t<decltype(message)>;
    const Bytes bytes = to_bytes(message);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      refusal<Message>(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)));
    }
  });
}

TEST(MessagesTest, BytesTooManyAreRefused) {
  each_message([](const auto& message) {
    using Message = std::decay_t<decltype(message)>;
    Bytes bytes = to_bytes(message);
    bytes.push_back(std::byte{0});
    EXPECT_THAT(refusal<Message>(bytes), HasSubstr("1 bytes too many"));
  });
}

// 12 bytes that claim 2^29 elements: where a container believes them, it asks for 4 GiB.
TEST(MessagesTest, AShortBodyCannotClaimMuchMemory) {
  for (const std::uint64_t claim : {std::uint64_t{1} << 29, std::uint64_t{1} << 63,
                                    std::numeric_limits<std::uint64_t>::max(), std::uint64_t{5}}) {
    Bytes bytes(12);
    put<std::uint64_t>(bytes, 0, claim);
    largest_request = 0;
    EXPECT_THAT(refusal<Start>(bytes), HasSubstr("elements with 4 bytes left"));
    EXPECT_THAT(refusal<Losses>(bytes), HasSubstr("elements"));
    EXPECT_THAT(refusal<Contribution>(bytes), HasSubstr("elements"));
    EXPECT_THAT(refusal<Total>(bytes), HasSubstr("elements"));
    EXPECT_LT(largest_request, 4096U);
  }
}

// What a container asks for is bounded by the length of the message it stands in: an element of the
// widest type takes at least one byte.
TEST(MessagesTest, AClaimCostsAtMostSomeTimesTheMessage) {
  Bytes bytes(8 + 100000);
  put<std::uint64_t>(bytes, 0, 100000);
  largest_request = 0;
  refusal<Start>(bytes);
  refusal<Losses>(bytes);
  EXPECT_LE(largest_request, bytes.size() * sizeof(ProcessInfo));
}

TEST(MessagesTest, AnImpossibleTruthValueIsRefused) {
  Bytes bytes = to_bytes(Log{true, ""});
  bytes[0] = std::byte{2};
  EXPECT_THAT(refusal<Log>(bytes), HasSubstr("truth value"));
}

TEST(MessagesTest, AnUnknownRoleIsRefused) {
  Bytes bytes = to_bytes(Failure{{Role::server, 1}, 6, "", ""});
  for (const int role : {0, 4, 255}) {
    bytes[0] = static_cast<std::byte>(role);
    EXPECT_THAT(refusal<Failure>(bytes), HasSubstr("role"));
  }
}

// One tensor "t" with this shape, written by hand: its extents are what the message says.
Bytes start_with_shape(const std::vector<std::uint32_t>& shape) {
  Bytes bytes(8 + 8 + 8 + 1 + 8 + 4 * shape.size() +
              17 +                   // of its group four floats, and that it is not averaged
              5 * 8);                // at the end, no checkpoint, no secret
  put<std::uint64_t>(bytes, 8, 1);   // no processes; one tensor
  put<std::uint64_t>(bytes, 16, 1);  // its name
  bytes[24] = std::byte{'t'};
  put<std::uint64_t>(bytes, 25, shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) put(bytes, 33 + 4 * i, shape[i]);
  const Bytes nobody = to_bytes(ProcessInfo{});  // no predecessor
  bytes.insert(bytes.end(), nobody.begin(), nobody.end());
  bytes.resize(bytes.size() + 3 * 8);  // no backups, no branches of noise
  return bytes;
}

TEST(MessagesTest, ImpossibleShapesAreRefused) {
  EXPECT_EQ(from_bytes<Start>(start_with_shape({3, 5})).layout.size(), 15U);
  EXPECT_EQ(from_bytes<Start>(start_with_shape({1U << 20, 1U << 20})).layout.size(),
            std::size_t{1} << 40);
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  for (const std::vector<std::uint32_t>& shape : std::vector<std::vector<std::uint32_t>>{
           {0},
           {3, 0},
           {kMost, kMost},
           {1U << 20, (1U << 20) + 1},
           {1U << 20, 1U << 20, 1U << 24},             // the product is 2^64: 0 when it overflows
           {1U << 31, 1U << 9, (1U << 24) + 1, 1}}) {  // and here a little more
    EXPECT_THAT(refusal<Start>(start_with_shape(shape)), HasSubstr("impossible shape of tensor t"));
  }
}

}  // namespace
}  // namespace sheaf::wire
