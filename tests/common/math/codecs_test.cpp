// Every instruction set that this processor has must write the bytes and add the bits of the scalar
// twin, at sizes around the widths of vectors, at misaligned starts, and for values at the edges of
// each format. The twin's own 16-bit floats are held against all 65536 of them.
#include "common/math/codecs.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "common/math/block_code.h"
#include "common/math/codec_set.h"

namespace sheaf::math {
namespace {

constexpr std::size_t kCodecSizes[] = {0,  1,  2,  7,   15,  16,  17,  31,  32,   33,
                                       63, 64, 65, 127, 129, 255, 257, 640, 1000, 4099};
constexpr std::size_t kBytesApart[] = {0, 1, 3};  // from an aligned address
constexpr std::byte kUntouched{0xA5};
constexpr float kMost = std::numeric_limits<float>::max();

// Finite, of all sizes; with edges, every seventh one is where a format rounds, saturates or ends.
std::vector<float> finite_values(std::size_t size, std::uint64_t name, bool edges) {
  constexpr float kEdges[] = {
      0.0F,         -0.0F,        65504.0F,    65519.9F,    -65520.0F,   1e30F,
      0x1p-14F,     0x1.FFCp-15F, 0x1p-24F,    0x1p-25F,    0x1.8p-24F,  -0x1.000002p-25F,
      1 + 0x1p-11F, 1 + 0x3p-11F, 1 + 0x1p-8F, 1 + 0x3p-8F, 0x1.FFp0F,   kMost,
      -kMost,       1e-40F,       -3e-45F,     0x1p-126F,   0x1.FEp127F, 0x1.FFp127F,
      127.5F,       -7.5F};
  Stream stream(3, Purpose::test, name);
  std::vector<float> x(size);
  for (float& value : x) {
    if (edges && stream.next() % 7 == 0) {
      value = kEdges[stream.next() % std::size(kEdges)];
    } else {
      const int exponent = static_cast<int>(stream.next() % 24) - 20;
      value = static_cast<float>(std::ldexp(stream.normal(), edges ? exponent : -8));
    }
  }
  return x;
}

// Room for bytes at a misaligned address, between guards.
class Room {
 public:
  Room(std::size_t size, std::size_t apart)
      : memory_(size + apart + 2 * 64, kUntouched), at_(64 + apart), size_(size) {}
  ~Room() {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      const bool inside = i >= at_ && i < at_ + size_;
      EXPECT_TRUE(inside || memory_[i] == kUntouched) << "written outside";
    }
  }
  std::byte* data() { return memory_.data() + at_; }
  std::vector<std::byte> bytes() { return {data(), data() + size_}; }

 private:
  std::vector<std::byte> memory_;
  std::size_t at_, size_;
};

std::vector<std::uint32_t> bits_of_each(std::span<const float> x) {
  std::vector<std::uint32_t> bits;
  for (const float value : x) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

// Encodes with `encode(set, x, rooms)` and decodes with `add(set, rooms, y)`, with the twin and
// with each set, and expects the same bytes and the same sums. `sizes` says how large the rooms
// are.
template <typename Sizes, typename Encode, typename Add>
void expect_twins(Sizes sizes, Encode encode, Add add) {
  for (const CodecSet* set : supported_codecs()) {
    for (const std::size_t size : kCodecSizes) {
      for (const std::size_t apart : kBytesApart) {
        for (const bool edges : {false, true}) {
          SCOPED_TRACE(fmt::format("{}, {} values, {} bytes apart", set->name, size, apart));
          const auto x = finite_values(size, size, edges);
          const auto [first, second] = sizes(size);
          Room expected_a(first, 0), expected_b(second, 0), a(first, apart), b(second, apart);
          EXPECT_TRUE(encode(kScalarCodecs, x, expected_a, expected_b));
          EXPECT_TRUE(encode(*set, x, a, b));
          EXPECT_EQ(a.bytes(), expected_a.bytes());
          EXPECT_EQ(b.bytes(), expected_b.bytes());
          auto expected_sum = finite_values(size, size + 1, false);
          auto sum = expected_sum;
          add(kScalarCodecs, expected_a, expected_b, expected_sum);
          add(*set, a, b, sum);
          EXPECT_EQ(bits_of_each(sum), bits_of_each(expected_sum));
        }
      }
    }
  }
}

TEST(Codecs, SixteenBitFloatsAreThoseOfTheScalarTwin) {
  for (const std::size_t kind : {0U, 1U}) {
    expect_twins([](std::size_t n) { return std::pair(2 * n, std::size_t{0}); },
                 [&](const CodecSet& set, const auto& x, Room& to, Room&) {
                   return set.to_float16[kind](x.data(), to.data(), x.size());
                 },
                 [&](const CodecSet& set, Room& from, Room&, auto& y) {
                   EXPECT_TRUE(set.is_finite[kind](from.data(), y.size()));
                   set.add_float16[kind](from.data(), y.data(), y.size());
                 });
  }
}

TEST(Codecs, BlockCodesAreThoseOfTheScalarTwin) {
  const RoundingKey key{0x01234567, 0x89ABCDEF};
  for (const std::size_t place : {0U, 1U}) {
    const std::size_t bits = place == 0 ? 8 : 4;
    for (const std::size_t block : {16U, 64U, 1024U}) {
      for (const RoundingKey* random : {static_cast<const RoundingKey*>(nullptr), &key}) {
        expect_twins(
            [&](std::size_t n) { return std::pair((n + block - 1) / block, (n * bits + 7) / 8); },
            [&](const CodecSet& set, const auto& x, Room& exponents, Room& codes) {
              return set.to_codes[place](block, x.data(), x.size(), random, exponents.data(),
                                         codes.data());
            },
            [&](const CodecSet& set, Room& exponents, Room& codes, auto& y) {
              set.add_codes[place](block, exponents.data(), codes.data(), y.data(), y.size());
            });
      }
    }
  }
}

// Halves of one stream are as if drawn at random: their mean, the share of ones in each of their
// bits, and how a value goes with the next one and with the one of the same word, all within five
// standard errors.
TEST(Codecs, RandomBitsAreEvenAndGoTheirOwnWays) {
  constexpr std::size_t kValues = 1 << 18;
  for (const RoundingKey key : {RoundingKey{0, 0}, {1, 0}, {0, 1}, {0xDEADBEEF, 0x12345678}}) {
    const auto uniform = [&](std::size_t i) {  // mean 0, variance (1 - 2^-30) / 12
      return (random_bits(key, i) + 0.5) / (1 << kStepBits) - 0.5;
    };
    double sum = 0, next = 0, same_word = 0;
    std::array<double, kStepBits> ones{};
    for (std::size_t i = 0; i < kValues; ++i) {
      sum += uniform(i);
      next += uniform(i) * uniform(i + 1);
      same_word += uniform(i) * uniform(i ^ kWordsOfGroup);
      for (std::size_t bit = 0; bit < ones.size(); ++bit) {
        ones[bit] += random_bits(key, i) >> bit & 1;
      }
    }
    const double root = std::sqrt(static_cast<double>(kValues));
    EXPECT_LE(std::abs(sum), 5 * root / std::sqrt(12));
    EXPECT_LE(std::abs(next), 5 * root / 12);
    EXPECT_LE(std::abs(same_word), 5 * root * std::sqrt(2) / 12);  // each pair counts twice
    for (const double count : ones) EXPECT_LE(std::abs(count - kValues / 2.0), 5 * root / 2);
  }
}

// FORMAT.md once more: x / s to the nearest 2^-15, a random number of 15 bits, and down.
TEST(Codecs, RoundingAtRandomGoesUpAsOftenAsTheFractionSays) {
  for (const float x : {0.0F, 0.25F, -0.25F, 126.75F, -126.75F, 127.0F, -127.0F, 0x1.8p-15F}) {
    double sum = 0;
    for (std::int32_t random = 0; random < 1 << kStepBits; ++random) {
      const std::int32_t code = random_code(x, 1, random, 127);
      ASSERT_GE(code, std::floor(x));
      ASSERT_LE(code, std::ceil(x));
      sum += code;
    }
    EXPECT_EQ(sum, std::nearbyint(x * (1 << kStepBits))) << x;
  }
}

TEST(Codecs, SignsAreThoseOfTheScalarTwin) {
  for (const std::size_t block : {64U, 256U}) {
    expect_twins([&](std::size_t n) { return std::pair((n + block - 1) / block * 4, (n + 7) / 8); },
                 [&](const CodecSet& set, const auto& x, Room& scales, Room& bits) {
                   return set.to_signs(block, x.data(), x.size(), scales.data(), bits.data());
                 },
                 [&](const CodecSet& set, Room& scales, Room& bits, auto& y) {
                   set.add_signs(block, scales.data(), bits.data(), y.data(), y.size());
                 });
  }
}

TEST(Codecs, LargeValuesAreMarkedAsByTheScalarTwin) {
  for (const float lowest : {1e-45F, 0x1p-126F, 1e-3F, 1.0F, kMost}) {
    expect_twins([](std::size_t n) { return std::pair((n + 63) / 64 * 8, std::size_t{0}); },
                 [&](const CodecSet& set, const auto& x, Room& to, Room&) {
                   std::vector<std::uint64_t> words((x.size() + 63) / 64);
                   set.mark_large(x.data(), x.size(), std::bit_cast<std::uint32_t>(lowest),
                                  words.data());
                   std::ranges::copy(std::as_bytes(std::span(words)), to.data());
                   return true;
                 },
                 [](const CodecSet&, Room&, Room&, auto&) {});
  }
}

TEST(Codecs, WhatIsNotFiniteIsFoundWhereverItStands) {
  for (const CodecSet* set : supported_codecs()) {
    for (const std::size_t size : {1U, 7U, 64U, 100U}) {
      for (std::size_t at = 0; at < size; ++at) {
        for (const float bad :
             {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
              std::numeric_limits<float>::quiet_NaN()}) {
          SCOPED_TRACE(fmt::format("{}: {} at {} of {}", set->name, bad, at, size));
          std::vector<float> x(size, 1.0F);
          x[at] = bad;
          std::vector<std::byte> to(4 * size), scales(4 * size);
          for (const auto encode : set->to_float16) EXPECT_FALSE(encode(x.data(), to.data(), size));
          for (const auto encode : set->to_codes) {
            EXPECT_FALSE(encode(64, x.data(), size, nullptr, scales.data(), to.data()));
          }
          EXPECT_FALSE(set->to_signs(64, x.data(), size, scales.data(), to.data()));
          std::vector<std::uint16_t> halves(size, 0x3C00);
          halves[at] = 0xFF80;  // infinite in both formats, or no number
          for (const auto is_finite : set->is_finite) {
            EXPECT_FALSE(is_finite(reinterpret_cast<const std::byte*>(halves.data()), size));
          }
        }
      }
    }
  }
}

// The definition of the formats: sign, exponent, fraction.
double value_of(std::uint32_t bits, int fraction_bits, int bias) {
  const int exponent = static_cast<int>((bits & 0x7FFF) >> fraction_bits);
  const double fraction = (bits & ((1U << fraction_bits) - 1)) * std::exp2(-fraction_bits);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Codecs, SixteenBitFloatsHaveTheValuesOfTheirFormat) {
  struct Format {
    Float16 kind;
    int fraction_bits, bias;
  };
  for (const Format format : {Format{Float16::half, 10, 15}, Format{Float16::bfloat, 7, 127}}) {
    std::vector<std::uint16_t> all;
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      if (is_finite(format.kind, std::as_bytes(std::span(&half, 1)))) all.push_back(half);
    }
    EXPECT_EQ(all.size(), 0x10000U - 2 * (1U << format.fraction_bits));
    const auto bytes = std::as_bytes(std::span(all));
    std::vector<float> sum(all.size());
    add_float16(format.kind, bytes, sum);
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(sum[i], value_of(all[i], format.fraction_bits, format.bias)) << all[i];
    }
    // Each is its own nearest, and so is whatever is nearer to it than to its neighbour.
    std::vector<std::byte> again(bytes.size());
    for (float& value : sum) value = value == 0 ? value : value * (1 + 0x1p-13F);
    EXPECT_TRUE(to_float16(format.kind, sum, again));
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::uint16_t half;
      std::memcpy(&half, &again[2 * i], 2);
      EXPECT_TRUE(half == all[i] || sum[i] == 0) << all[i];
    }
  }
}

// Half way between two neighbours the even one, against IEEE 754 by the FPU: the sum of a float and
// 2^k is rounded by the same rule to a float whose last place is the format's.
TEST(Codecs, TiesGoToTheEvenNeighbour) {
  for (const float tie : {1 + 0x1p-11F, 1 + 0x3p-11F, 0x1p-25F, 0x3p-25F, 2047.5F, 2046.5F}) {
    std::byte half[2];
    EXPECT_TRUE(to_float16(Float16::half, std::span(&tie, 1), half));
    float decoded = 0;
    add_float16(Float16::half, half, std::span(&decoded, 1));
    const float last_place = tie < 0x1p-14F ? 0x1p-24F : tie < 2 ? 0x1p-10F : 1.0F;
    const float shift = last_place * 0x1.8p23F;  // its last place is that of the format
    EXPECT_EQ(decoded, (tie + shift) - shift) << tie;
  }
}

// The scale is the smallest power of two whose codes reach: half of it does not.
TEST(Codecs, ScalesAreAsSmallAsTheyCanBe) {
  for (const unsigned bits : {2U, 4U, 8U, 16U}) {
    for (std::uint32_t magnitude = 0x08000000; magnitude < 0x70000000; magnitude += 98765) {
      const auto x = static_cast<double>(std::bit_cast<float>(magnitude));
      const int most = largest_code(bits);
      const auto nearest =
          static_cast<double>(scale_of(exponent_of(magnitude, bits, Rounding::nearest)));
      EXPECT_LT(x, (most + 0.5) * nearest);
      EXPECT_GE(x, (most + 0.5) * nearest / 2);
      const auto random =
          static_cast<double>(scale_of(exponent_of(magnitude, bits, Rounding::random)));
      EXPECT_LE(x, most * random);
      EXPECT_GT(x, most * random / 2);
    }
  }
}

}  // namespace
}  // namespace sheaf::math
