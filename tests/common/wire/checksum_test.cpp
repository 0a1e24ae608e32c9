#include "common/wire/checksum.h"

#include <gmock/gmock.h>

#include <string_view>
#include <vector>

#include "common/base/random.h"
#include "tests/common/wire/plain_crc.h"

namespace sheaf::wire {
namespace {

// RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
TEST(ChecksumTest, GivesThePublishedValues) {
  const auto of_text = [](std::string_view text) { return crc32c(std::as_bytes(std::span(text))); };
  EXPECT_EQ(of_text(""), 0U);
  EXPECT_EQ(of_text("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32)), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::vector<std::byte>(32, std::byte{0xff})), 0x62A8AB43U);
}

TEST(ChecksumTest, EqualsTheBitwiseDefinitionForEveryLengthAndAlignment) {
  std::vector<std::byte> bytes(300);
  Stream stream(1, Purpose::test);
  for (auto& byte : bytes) byte = static_cast<std::byte>(stream.next());
  for (std::size_t begin = 0; begin < 9; ++begin) {
    for (std::size_t size = 0; begin + size <= bytes.size(); ++size) {
      const auto part = std::span<const std::byte>(bytes).subspan(begin, size);
      ASSERT_EQ(crc32c(part), plain_crc32c(part));
    }
  }
}

TEST(ChecksumTest, GoesOnFromTheChecksumOfWhatCameBefore) {
  const auto bytes = std::as_bytes(std::span<const char>("123456789", 9));
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(crc32c(bytes.subspan(cut), crc32c(bytes.first(cut))), 0xE3069283U) << cut;
  }
}

}  // namespace
}  // namespace sheaf::wire
