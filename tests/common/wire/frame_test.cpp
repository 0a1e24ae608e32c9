#include "common/wire/frame.h"

#include <gmock/gmock.h>

#include <cstring>
#include <vector>

#include "common/wire/bytes.h"
#include "tests/common/wire/plain_crc.h"

namespace sheaf::wire {
namespace {

using testing::ElementsAreArray;

// A push of the two floats 1 and -2.5, field by field as FORMAT.md lays them out. Both checksums
// come from a bitwise CRC-32C outside this program.
constexpr unsigned char kGolden[] = {
    'S',  'H',  'F',  '1',                                       // magic
    1,    0,    3,    0,                                         // push, status 0, round 3
    0x04, 0x03, 0x02, 0x01,                                      // table 0x01020304
    5,    0,    0,    0,                                         // chunk 5
    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,              // step 0x1122334455667788
    6,    0,    0,    0,    2,    0,    0,    0,                 // partitions 6 and 7
    64,   0,    0,    0,    0,    0,    0,    0,                 // 64 examples
    8,    0,    0,    0,                                         // 8 bytes of payload
    0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 0, 0,  // reserved
    0xcb, 0x11, 0xbd, 0xd5,                                      // of the payload
    0xe9, 0xfd, 0xdc, 0x88,                                      // of the 60 bytes above
};

Header golden_header() {
  Header header;
  header.type = FrameType::push;
  header.round = 3;
  header.table = 0x01020304;
  header.chunk = 5;
  header.step = 0x1122334455667788;
  header.partitions = {6, 2};
  header.value = 64;
  header.payload_bytes = 8;
  const float payload[] = {1.0F, -2.5F};
  header.payload_crc = plain_crc32c(std::as_bytes(std::span(payload)));
  return header;
}

HeaderBytes golden_bytes() {
  HeaderBytes bytes;
  static_assert(sizeof kGolden == kHeaderBytes);
  std::memcpy(bytes.data(), kGolden, sizeof kGolden);
  return bytes;
}

TEST(FrameTest, HeaderHasTheBytesOfTheFormat) {
  EXPECT_THAT(encode(golden_header()), ElementsAreArray(golden_bytes()));
}

TEST(FrameTest, GoldenBytesAreRead) {
  Header header;
  ASSERT_EQ(decode(golden_bytes(), header), HeaderFault::none);
  EXPECT_EQ(header, golden_header());
}

TEST(FrameTest, EveryFieldSurvivesTheRoundTrip) {
  Header header;
  header.type = FrameType::tensor;
  header.status = 0xff;
  header.round = 0xfffe;
  header.table = 0xfffffffd;
  header.chunk = 0xfffffffc;
  header.step = 0xfffffffffffffffb;
  header.partitions = {0xfffffffa, 0xfffffff9};
  header.value = 0xfffffffffffffff8;
  header.payload_bytes = 0xfffffff7;
  header.payload_crc = 0xfffffff6;
  Header back;
  ASSERT_EQ(decode(encode(header), back), HeaderFault::none);
  EXPECT_EQ(back, header);
}

TEST(FrameTest, EveryFlippedBitIsRefusedAndLeavesTheHeaderAlone) {
  for (std::size_t bit = 0; bit < 8 * kHeaderBytes; ++bit) {
    HeaderBytes bytes = golden_bytes();
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    Header header;
    EXPECT_EQ(decode(bytes, header), bit < 32 ? HeaderFault::magic : HeaderFault::checksum);
    EXPECT_EQ(header, Header{});
  }
}

// With a checksum that is right: what it protects can still be nonsense.
HeaderFault fault_with(std::size_t at, std::byte value) {
  HeaderBytes bytes = golden_bytes();
  bytes[at] = value;
  put<std::uint32_t>(bytes, 60, plain_crc32c(std::span(bytes).first(60)));
  Header header;
  return decode(bytes, header);
}

TEST(FrameTest, UnknownTypesAreRefused) {
  for (int type = 0; type < 256; ++type) {
    const bool known = type >= 1 && type <= 18;
    EXPECT_EQ(fault_with(4, static_cast<std::byte>(type)),
              known ? HeaderFault::none : HeaderFault::type);
  }
}

TEST(FrameTest, ReservedFieldsMustBeZero) {
  for (std::size_t at = 44; at < 56; ++at) {
    EXPECT_EQ(fault_with(at, std::byte{1}), HeaderFault::reserved);
  }
}

TEST(FrameTest, OtherVersionsAreRefused) {
  EXPECT_EQ(fault_with(3, std::byte{'2'}), HeaderFault::magic);
}

TEST(FrameTest, TypesAndFaultsHaveNames) {
  for (std::uint8_t type = 1; type <= 18; ++type) {
    EXPECT_NE(to_string(static_cast<FrameType>(type)), "unknown");
  }
  for (const HeaderFault fault : {HeaderFault::none, HeaderFault::magic, HeaderFault::checksum,
                                  HeaderFault::type, HeaderFault::reserved}) {
    EXPECT_NE(to_string(fault), "unknown fault");
  }
}

}  // namespace
}  // namespace sheaf::wire
