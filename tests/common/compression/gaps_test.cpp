// Bits and gaps come back as they were written; what Rice's code costs is held against the entropy
// of positions drawn at random.
#include "common/compression/gaps.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/random.h"

namespace sheaf::compression {
namespace {

TEST(BitStream, BitsComeBackAndTheLastByteIsFilledWithZeros) {
  Stream stream(1, Purpose::test);
  std::vector<std::pair<std::uint32_t, unsigned>> fields;
  std::size_t bits = 0;
  for (int i = 0; i < 3000; ++i) {
    const unsigned width = stream.next() % 33;
    const std::uint64_t mask = (std::uint64_t{1} << width) - 1;
    fields.emplace_back(static_cast<std::uint32_t>(stream.next() & mask), width);
    bits += width;
  }
  std::vector<std::byte> bytes(bits / 8 + 1);
  BitWriter writer(bytes.data());
  for (const auto& [value, width] : fields) writer.put(value, width);
  EXPECT_EQ(writer.finish(), (bits + 7) / 8);
  bytes.resize((bits + 7) / 8);
  BitReader reader(bytes);
  for (const auto& [value, width] : fields) EXPECT_EQ(reader.bits(width), value);
  EXPECT_TRUE(reader.at_end());
  EXPECT_EQ(reader.bits(8), std::nullopt);
}

TEST(BitStream, RunsOfOnesOfEveryLengthComeBack) {
  std::vector<std::byte> bytes(200 * 201 / 2 / 8 + 200);
  BitWriter writer(bytes.data());
  for (std::uint64_t run = 0; run < 200; ++run) {
    writer.put_ones(run);
    writer.put(0, 1);
  }
  bytes.resize(writer.finish());
  BitReader reader(bytes);
  for (std::uint64_t run = 0; run < 200; ++run) EXPECT_EQ(reader.ones(), run);
  EXPECT_TRUE(reader.at_end());
}

TEST(BitStream, ARunThatNeverEndsIsNoRun) {
  const std::vector<std::byte> ones(100, std::byte{0xFF});
  EXPECT_EQ(BitReader(ones).ones(), std::nullopt);
  EXPECT_EQ(BitReader({}).ones(), std::nullopt);
}

// The positions as the reader gives them, and the bits that they took.
std::pair<std::vector<std::size_t>, std::size_t> through_gaps(
    const std::vector<std::size_t>& positions, std::size_t elements, std::size_t most) {
  GapStatistics statistics(most, elements);
  std::vector<std::uint32_t> gaps;
  std::size_t from = 0;
  for (const std::size_t position : positions) {
    gaps.push_back(static_cast<std::uint32_t>(position - from));
    from = position + 1;
    statistics.add(gaps.back());
  }
  const GapCode code = statistics.choose();
  EXPECT_EQ(statistics.count(), positions.size());
  std::vector<std::byte> bytes((most_gap_bits(most, elements) + 7) / 8);
  GapWriter writer(code, bytes.data());
  for (const std::uint32_t gap : gaps) writer.put(gap);
  const std::size_t size = writer.finish();
  EXPECT_LE(size, bytes.size());
  bytes.resize(std::min(size, bytes.size()));

  std::vector<std::size_t> found;
  PositionReader reader(*GapCode::from(code.byte()), bytes, elements);
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const auto next = reader.next();
    if (!next) break;
    found.push_back(*next);
  }
  EXPECT_TRUE(reader.at_end());
  return {found, 8 * size};
}

TEST(Gaps, EverySetOfPositionsComesBackWithinItsBound) {
  Stream stream(2, Purpose::test);
  for (const std::size_t elements : {1U, 2U, 64U, 1000U, 65'536U}) {
    for (const std::size_t most :
         {std::size_t{1}, elements / 100 + 1, elements / 3 + 1, elements}) {
      for (int shape = 0; shape < 5; ++shape) {
        std::vector<std::size_t> positions;
        for (std::size_t i = 0; i < elements && positions.size() < most; ++i) {
          const bool chosen =
              shape == 0   ? i + most >= elements             // the last ones
              : shape == 1 ? i < most                         // the first ones
              : shape == 2 ? i % 2 == 0 || i + 1 == elements  // far apart at the end
              : shape == 3
                  ? stream.uniform() * static_cast<float>(elements) < static_cast<float>(most)
                  : i + 1 == elements;
          if (chosen) positions.push_back(i);
        }
        EXPECT_EQ(through_gaps(positions, elements, most).first, positions)
            << elements << " " << most << " " << shape;
      }
    }
  }
}

// Of k positions among n drawn at random, the entropy is n H(k / n) bits. Of geometric gaps with
// parameter p, r low bits and the ones cost r + 1 / (1 - (1 - p)^(2^r)) bits on average, which for
// the best r is at most 0.09 above it.
TEST(Gaps, RandomPositionsCostLittleMoreThanTheirEntropy) {
  constexpr std::size_t kElements = 1 << 18;
  for (const double share : {0.1, 0.01, 0.001}) {
    Stream stream(3, Purpose::test);
    std::vector<std::size_t> positions;
    for (std::size_t i = 0; i < kElements; ++i) {
      if (stream.uniform_double() < share) positions.push_back(i);
    }
    const auto [found, bits] = through_gaps(positions, kElements, positions.size());
    EXPECT_EQ(found, positions);
    const double p = static_cast<double>(positions.size()) / kElements;
    const double entropy = (-p * std::log2(p) - (1 - p) * std::log2(1 - p)) / p;
    const double found_bits = static_cast<double>(bits) / static_cast<double>(positions.size());
    EXPECT_LT(found_bits, entropy + 0.1) << share;  // and a byte at the end
  }
}

TEST(Gaps, CodesThatNobodyWritesAreNone) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto code = GapCode::from(static_cast<std::byte>(byte));
    EXPECT_EQ(code.has_value(), (byte & 0x7F) <= GapCode::kMostWidth) << byte;
    if (!code) continue;
    EXPECT_EQ(std::to_integer<unsigned>(code->byte()), byte);
  }
}

TEST(Gaps, APositionBeyondTheLastIsNone) {
  std::vector<std::byte> bytes(8);
  GapWriter writer({true, 3}, bytes.data());
  writer.put(9);
  writer.put(0);
  writer.finish();
  PositionReader reader({true, 3}, bytes, 10);
  EXPECT_EQ(reader.next(), 9U);
  EXPECT_EQ(reader.next(), std::nullopt);
}

}  // namespace
}  // namespace sheaf::compression
