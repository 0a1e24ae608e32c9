// What every compressor promises, asked of every file in common/compression/modes/ with its usual
// options and some others: sizes, malformed bytes, and what Promises says, with the error bars
// worked out. What single modes owe to their papers stands in tests/common/compression.
#include "common/compression/compressor.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/config/section.h"

namespace sheaf::compression {
namespace {

struct Candidate {
  std::string name;
  std::string options;  // of its section
  friend void PrintTo(const Candidate& c, std::ostream* out) { *out << c.name << " " << c.options; }
};

std::vector<Candidate> candidates() {
  std::vector<Candidate> all;
  for (const auto name : mode_names(compressors())) all.push_back({std::string(name), ""});
  const std::vector<Candidate> more = {{"int8", "rounding = \"stochastic\""},
                                       {"int8", "block = 1024"},
                                       {"int4", "rounding = \"stochastic\""},
                                       {"int4", "block = 16"},
                                       {"topk", "ratio = 0.1\nvalues = 16"},
                                       {"topk", "values = 8"},
                                       {"topk", "ratio = 0.3\nvalues = 4"},
                                       {"topk", "ratio = 0.05\nvalues = 2"},
                                       {"topk", "ratio = 1.0"},
                                       {"dgc", "ratio = 0.1\nvalues = 8\nwarmup_steps = 100"},
                                       {"powersgd", "rank = 1"},
                                       {"powersgd", "rank = 16"},
                                       {"sign", "block = 64"},
                                       {"randomk", "ratio = 0.1\nunbiased = false"},
                                       {"randomk", "values = 8\nunbiased = false"},
                                       {"randomk", "ratio = 0.5\nvalues = 16"}};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// Gradients as they come and as they should not: all finite.
struct Input {
  const char* name;
  std::vector<float> x;
};

std::vector<float> normal_values(std::size_t size, std::uint64_t name, double scale = 1) {
  Stream stream(11, Purpose::test, name);
  std::vector<float> x(size);
  for (float& value : x) value = static_cast<float>(scale * stream.normal());
  return x;
}

std::vector<Input> inputs(std::size_t size) {
  std::vector<Input> all;
  all.push_back({"normal", normal_values(size, 1)});
  all.push_back({"small", normal_values(size, 2, 1e-6)});
  all.push_back({"zeros", std::vector<float>(size)});
  all.push_back({"equal", std::vector<float>(size, 0.375F)});
  auto spike = std::vector<float>(size);
  if (size > 0) spike[size / 2] = -3;
  all.push_back({"one spike", spike});
  auto negative = normal_values(size, 3);
  for (float& value : negative) value = -std::abs(value);
  all.push_back({"all negative", negative});
  auto wide = normal_values(size, 4);
  for (std::size_t i = 0; i < size; ++i) {
    wide[i] = std::ldexp(wide[i], static_cast<int>(i * 37 % 61) - 30);
  }
  all.push_back({"of all sizes", wide});
  auto sparse = normal_values(size, 5);
  for (std::size_t i = 0; i < size; ++i) sparse[i] = i % 300 == 7 ? sparse[i] : -0.0F;
  all.push_back({"mostly zero", sparse});
  return all;
}

// Where a promise about normal floats does not hold, but everything else has to.
std::vector<Input> extreme_inputs(std::size_t size) {
  auto denormal = normal_values(size, 6, 1e-41);
  auto huge = normal_values(size, 7, 5e37);
  for (std::size_t i = 0; i < size; i += 3) {
    huge[i] = std::copysign(std::numeric_limits<float>::max(), huge[i]);
  }
  return {{"denormal", denormal}, {"huge", huge}};
}

class CompressorConformance : public testing::TestWithParam<Candidate> {
 protected:
  CompressorConformance()
      : job_(config::Document::from_text(GetParam().options, "job.toml")),
        compressor_(find_mode(compressors(), GetParam().name)->make(job_->root())) {
    job_->reject_unknown();
    job_->throw_if_faulty();
  }

  static EncodingKey key(Step step = 3) { return {9, step, 2, 5}; }

  std::vector<std::byte> encoded(std::span<const float> x, const EncodingKey& key) const {
    constexpr std::byte kGuard{0xC3};
    constexpr std::size_t kBehind = 16;
    const std::size_t most = compressor_->max_bytes(x.size());
    std::vector<std::byte> bytes(most + kBehind, kGuard);
    const std::size_t size = compressor_->encode(x, key, std::span(bytes).first(most));
    EXPECT_LE(size, most);
    EXPECT_TRUE(std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(size), bytes.end(),
                            [&](std::byte b) { return b == kGuard; }))
        << "written behind its end";
    bytes.resize(size);
    return bytes;
  }

  std::vector<float> decoded(std::span<const std::byte> bytes, std::size_t size,
                             const EncodingKey& key) const {
    std::vector<float> y(size);
    compressor_->decode_add(bytes, key, y);
    return y;
  }

  // C(x)
  std::vector<float> through(std::span<const float> x, const EncodingKey& key) const {
    return decoded(encoded(x, key), x.size(), key);
  }

  // True if the bytes are refused, as they should be: by Fault::network, and nothing is added. What
  // is accepted must be finite.
  bool refused(std::span<const std::byte> bytes, std::size_t size) const {
    std::vector<float> sum(size, 0.5F);
    try {
      compressor_->decode_add(bytes, key(), sum);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::network) << error.message();
      EXPECT_THAT(error.message(), testing::HasSubstr(GetParam().name));
      EXPECT_TRUE(std::ranges::all_of(sum, [](float v) { return v == 0.5F; })) << "was added to";
      return true;
    }
    if (!compressor_->identity()) {
      EXPECT_TRUE(std::ranges::all_of(sum, [](float v) { return std::isfinite(v); }));
    }
    return false;
  }

  std::unique_ptr<config::Document> job_;
  std::unique_ptr<Compressor> compressor_;
};

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return sum;
}

double squared_norm(std::span<const float> a) {
  return squared_distance(a, std::vector<float>(a.size()));
}

TEST_P(CompressorConformance, EverySizeAndInputComesBackFiniteAndIsAdded) {
  for (const std::size_t size : {0U, 1U, 7U, 31U, 32U, 33U, 63U, 64U, 65U, 255U, 257U, 1000U, 1023U,
                                 4096U, 99'999U, 1'000'000U}) {
    auto all =
        size > 10'000 ? std::vector<Input>{{"normal", normal_values(size, 1)}} : inputs(size);
    for (auto& input : extreme_inputs(std::min<std::size_t>(size, 10'000)))
      all.push_back(std::move(input));
    for (const Input& input : all) {
      SCOPED_TRACE(fmt::format("{} values, {}", input.x.size(), input.name));
      const auto bytes = encoded(input.x, key());
      EXPECT_EQ(encoded(input.x, key()), bytes) << "the same key, other bytes";
      const auto c = decoded(bytes, input.x.size(), key());
      const auto base = normal_values(c.size(), 8);
      auto sum = base;
      compressor_->decode_add(bytes, key(), sum);
      for (std::size_t i = 0; i < c.size(); ++i) {
        ASSERT_TRUE(std::isfinite(c[i]));
        ASSERT_EQ(sum[i], base[i] + c[i]) << i;
      }
    }
  }
}

TEST_P(CompressorConformance, ZerosStayZeros) {
  const std::vector<float> zeros(1000);
  EXPECT_EQ(through(zeros, key()), zeros);
}

TEST_P(CompressorConformance, WhatIsNotFiniteHasDiverged) {
  if (compressor_->identity()) return;  // does not look; the optimizer does
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const std::size_t at : {0U, 500U, 998U}) {
      auto x = normal_values(999, 1);
      x[at] = bad;
      try {
        encoded(x, key());
        FAIL() << bad << " at " << at << " was encoded";
      } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::diverged);
        EXPECT_THAT(error.message(), testing::HasSubstr("partition 2 would push for chunk 5"));
      }
    }
  }
}

TEST_P(CompressorConformance, OtherLengthsAreRefused) {
  for (const std::size_t size : {1U, 33U, 200U}) {
    auto bytes = encoded(normal_values(size, 1), key());
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_TRUE(refused(std::span(bytes).first(length), size)) << length;
    }
    for (const std::byte more : {std::byte{0}, std::byte{0xFF}}) {
      bytes.push_back(more);
      EXPECT_TRUE(refused(bytes, size));
    }
  }
  EXPECT_EQ(decoded(encoded({}, key()), 0, key()).size(), 0U);
}

// Flipped bits, and bytes that nobody has encoded, of every length that could be meant.
TEST_P(CompressorConformance, DamagedBytesAreRefusedOrHarmless) {
  constexpr std::size_t kSize = 130;
  auto bytes = encoded(normal_values(kSize, 1), key());
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    refused(bytes, kSize);
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  Stream stream(13, Purpose::test);
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<std::byte> noise(trial % 2 == 0 ? bytes.size()
                                                : stream.next() % (2 * bytes.size() + 1));
    for (auto& byte : noise) byte = static_cast<std::byte>(stream.next());
    refused(noise, kSize);
  }
}

TEST_P(CompressorConformance, ResidualsAreExactWherePromised) {
  for (const std::size_t size : {1U, 33U, 1000U}) {
    if (!compressor_->promises(size).exact_residual) continue;
    auto all = inputs(size);
    for (auto& input : extreme_inputs(size)) all.push_back(std::move(input));
    for (const Input& input : all) {
      SCOPED_TRACE(fmt::format("{} values, {}", size, input.name));
      const auto c = through(input.x, key());
      for (std::size_t i = 0; i < size; ++i) {
        if (std::abs(input.x[i]) >= 0x1p29F) continue;
        const float rest = input.x[i] - c[i];
        // No sum of two floats needs more than the 53 bits of a double where one is so near.
        ASSERT_EQ(static_cast<double>(c[i]) + static_cast<double>(rest), input.x[i]) << i;
        ASSERT_LE(std::abs(rest), std::abs(input.x[i])) << i;
      }
    }
  }
}

TEST_P(CompressorConformance, WhatIsRoundedToNearestIsRoundedOnce) {
  for (const std::size_t size : {1U, 33U, 1000U}) {
    const Promises promises = compressor_->promises(size);
    if (!promises.exact_residual || !promises.every_value) continue;
    for (const Input& input : inputs(size)) {
      SCOPED_TRACE(fmt::format("{} values, {}", size, input.name));
      const auto c = through(input.x, key());
      EXPECT_EQ(through(c, key()), c);
    }
  }
}

// Error feedback by hand: t = g + e is sent as C(t), e = t - C(t) is kept. Gradients are multiples
// of 2^-10 of at most 8, so no sum rounds, and all that was sent and the rest are all there was.
TEST_P(CompressorConformance, TheBooksBalanceOverManySteps) {
  constexpr std::size_t kSize = 512;
  constexpr int kSteps = 40;
  const bool exact = compressor_->promises(kSize).exact_residual;
  Stream stream(17, Purpose::test);
  std::vector<double> given(kSize), sent(kSize);
  std::vector<float> residual(kSize);
  double largest = 0;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> t(kSize);
    for (std::size_t i = 0; i < kSize; ++i) {
      const float g = static_cast<float>(static_cast<int>(stream.next() % 16385) - 8192) * 0x1p-10F;
      given[i] += g;
      t[i] = g + residual[i];
    }
    const auto c = through(t, key(static_cast<Step>(step)));
    for (std::size_t i = 0; i < kSize; ++i) {
      residual[i] = t[i] - c[i];
      sent[i] += c[i];
      largest = std::max({largest, std::abs(double{t[i]}), std::abs(double{c[i]})});
    }
  }
  // Else each step rounds t and e, by 2^-24 of what is larger.
  const double error = exact ? 0 : 2 * kSteps * 0x1p-24 * largest;
  for (std::size_t i = 0; i < kSize; ++i) {
    ASSERT_NEAR(sent[i] + double{residual[i]}, given[i], error) << i;
  }
}

// 4096 keys. The mean of each value has a standard error of sqrt(variance / 4096), taken from the
// sample; at 5 of them, 257 values fail by chance in 1.5 of 10^4 sets of keys. Beside it the bias
// that the promise allows: 2^-16 of a step of the code, which is at most twice the largest value.
TEST_P(CompressorConformance, TheMeanIsTheValueWherePromised) {
  constexpr std::size_t kSize = 257;
  constexpr int kTrials = 4096;
  if (!compressor_->promises(kSize).unbiased) return;
  const auto x = normal_values(kSize, 1);
  std::vector<double> sum(kSize), squares(kSize);
  for (int trial = 0; trial < kTrials; ++trial) {
    const auto c = through(x, key(static_cast<Step>(trial)));
    for (std::size_t i = 0; i < kSize; ++i) {
      const double d = double{c[i]} - double{x[i]};
      sum[i] += d;
      squares[i] += d * d;
    }
  }
  for (std::size_t i = 0; i < kSize; ++i) {
    const double error = std::sqrt(squares[i] / kTrials / kTrials);
    EXPECT_LE(std::abs(sum[i] / kTrials), 5 * error + 0x1p-16 * 8) << i << ": " << x[i];
  }
}

// E ||x - C(x)||^2 over 256 keys, with 5 standard errors where the keys matter.
TEST_P(CompressorConformance, ErrorsContractWherePromised) {
  constexpr int kKeys = 256;
  for (const std::size_t size : {1U, 64U, 100U, 1000U}) {
    const double contraction = compressor_->promises(size).contraction;
    if (contraction == 0) continue;
    ASSERT_LE(contraction, 1);
    auto all = inputs(size);
    auto geometric = std::vector<float>(size);
    for (std::size_t i = 0; i < size; ++i) {
      geometric[i] = std::ldexp(1.3F, -static_cast<int>(i % 40));
    }
    all.push_back({"geometric", geometric});
    for (const Input& input : all) {
      SCOPED_TRACE(fmt::format("{} values, {}", size, input.name));
      std::vector<double> errors;
      for (Step step = 0; step < kKeys; ++step) {
        errors.push_back(squared_distance(input.x, through(input.x, key(step))));
      }
      const double mean = std::accumulate(errors.begin(), errors.end(), 0.0) / kKeys;
      double variance = 0;
      for (const double error : errors) variance += (error - mean) * (error - mean) / kKeys;
      EXPECT_LE(mean, (1 - contraction) * squared_norm(input.x) * (1 + 1e-6) +
                          5 * std::sqrt(variance / kKeys));
    }
  }
}

TEST_P(CompressorConformance, EveryValueComesNearItselfWherePromised) {
  for (const std::size_t size : {64U, 1000U}) {
    if (!compressor_->promises(size).every_value) continue;
    const auto x = normal_values(size, 1, 0.1);  // as parameters are
    const auto c = through(x, key());
    const auto largest = std::ranges::max(x, {}, [](float v) { return std::abs(v); });
    for (std::size_t i = 0; i < size; ++i) {
      // The coarsest code there is has 15 levels, of steps up to a third of the largest value.
      EXPECT_NEAR(x[i], c[i], std::abs(largest) / 3) << i;
    }
  }
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const auto byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

struct Golden {
  std::string bytes;
  std::vector<float> decoded;
};

// The bytes of FORMAT.md for these values, worked out with NumPy and by hand from that page.
constexpr std::array<float, 10> kGoldenValues = {
    1, -0.5F, 0.15631103515625F, 0, -2.75F, 3.5F, 0.001953125F, -1.25F, 0.75F, -0.0625F};

const std::map<std::string, Golden>& golden() {
  static const std::map<std::string, Golden> all = {
      {"bf16",
       {"803f00bf203e000030c06040003ba0bf403f80bd",
        {1.0F, -0.5F, 0.15625F, 0.0F, -2.75F, 3.5F, 0.001953125F, -1.25F, 0.75F, -0.0625F}}},
      // As topk.
      {"dgc",
       {"01000000830000604005", {0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 3.5F, 0.0F, 0.0F, 0.0F, 0.0F}}},
      {"fp16",
       {"003c00b80031000080c10043001800bd003a00ac",
        {1.0F, -0.5F, 0.15625F, 0.0F, -2.75F, 3.5F, 0.001953125F, -1.25F, 0.75F, -0.0625F}}},
      {"int4", {"7ef2007ae002", {1.0F, -0.5F, 0.0F, 0.0F, -3.0F, 3.5F, 0.0F, -1.0F, 1.0F, 0.0F}}},
      {"int8",
       {"7a20f00500a87000d818fe",
        {1.0F, -0.5F, 0.15625F, 0.0F, -2.75F, 3.5F, 0.0F, -1.25F, 0.75F, -0.0625F}}},
      {"none",
       {"0000803f000000bf0010203e00000000000030c0000060400000003b0000a0bf0000403f000080bd",
        {1.0F, -0.5F, 0.15631103515625F, 0.0F, -2.75F, 3.5F, 0.001953125F, -1.25F, 0.75F,
         -0.0625F}}},
      // Four vectors of three rows, of which the last is 0, and of four columns; of random vectors
      // by the words of Philox (a second program for all of it).
      {"powersgd",
       {"01000000000000000a000000040000000000000012a6a1be61816d3fe3bf4bbea7b73dbfb67ebebe"
        "e5130fbf62b1173f8f8eed3c37154ebf000000000000000000000000b40a41c056b75a40c0b742bd"
        "dd7094bf64610cbeac9065bf45baeebd641eee3e3846babd18ef13be63cebd3d197914bd00000000"
        "000000000000000000000000",
        {1.0000001F, -0.50000006F, 0.15631104F, 5.5879354e-09F, -2.7500002F, 3.5000002F,
         0.0019531259F, -1.2500001F, 0.75000006F, -0.06250007F}}},
      {"randomk", {"0000a0c0", {0.0F, -5.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F}}},
      {"sign",
       {"67407f3f9202",
        {0.9970764517784119F, -0.9970764517784119F, 0.9970764517784119F, 0.9970764517784119F,
         -0.9970764517784119F, 0.9970764517784119F, 0.9970764517784119F, -0.9970764517784119F,
         0.9970764517784119F, -0.9970764517784119F}}},
      {"topk",
       {"01000000830000604005", {0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 3.5F, 0.0F, 0.0F, 0.0F, 0.0F}}},
  };
  return all;
}

TEST_P(CompressorConformance, TheBytesAreThoseOfTheFormat) {
  if (!GetParam().options.empty()) return;
  const auto expected = golden().find(GetParam().name);
  ASSERT_NE(expected, golden().end()) << "work out its bytes, and add them here";
  const auto bytes = encoded(kGoldenValues, key());
  EXPECT_EQ(hex(bytes), expected->second.bytes);
  EXPECT_EQ(decoded(bytes, kGoldenValues.size(), key()), expected->second.decoded);
}

INSTANTIATE_TEST_SUITE_P(Modes, CompressorConformance, testing::ValuesIn(candidates()),
                         [](const auto& tested) {
                           std::string name = tested.param.name + "_" + tested.param.options;
                           std::erase_if(name, [](char c) {
                             return std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_';
                           });
                           return name;
                         });

}  // namespace
}  // namespace sheaf::compression
