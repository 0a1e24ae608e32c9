// The equalities and bounds of the compressors that send something for every value.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

// In each block of d values ||x - C(x)||^2 = ||x||^2 - ||x||_1^2 / d.
TEST(Sign, TheErrorIsWhatTheMeanMagnitudeLeaves) {
  constexpr std::size_t kBlock = 64;
  const auto sign = make_compressor("sign", "block = 64");
  for (const std::size_t size : {64U, 640U, 100U}) {
    const auto x = normal_vector(size, size);
    const auto c = through(*sign, x);
    double expected = 0, found = 0;
    for (std::size_t at = 0; at < size; at += kBlock) {
      const std::size_t d = std::min(kBlock, size - at);
      double squares = 0, magnitudes = 0;
      for (std::size_t i = at; i < at + d; ++i) {
        const double value = x[i];
        squares += value * value;
        magnitudes += std::abs(value);
        found += (value - double{c[i]}) * (value - double{c[i]});
      }
      expected += squares - magnitudes * magnitudes / static_cast<double>(d);
    }
    EXPECT_NEAR(found, expected, 1e-6 * expected);
  }
}

TEST(Sign, TheBlocksDoNotShareAScale) {
  const auto sign = make_compressor("sign", "block = 64");
  std::vector<float> x(128, 1);
  for (std::size_t i = 64; i < 128; ++i) x[i] = -1000;
  EXPECT_EQ(through(*sign, x), x);
}

// Half a step of the scale at most, to nearest; less than one at random.
TEST(BlockCodes, ErrorsStayWithinAStep) {
  for (const unsigned bits : {8U, 4U}) {
    for (const bool random : {false, true}) {
      const auto code =
          make_compressor(fmt::format("int{}", bits), random ? "rounding = \"stochastic\"" : "");
      const auto x = normal_vector(1000, bits);
      const auto c = through(*code, x);
      for (std::size_t at = 0; at < x.size(); at += 64) {
        const auto block = std::span(x).subspan(at, std::min<std::size_t>(64, x.size() - at));
        double largest = 0;
        for (const float value : block) largest = std::max(largest, std::abs(double{value}));
        // The smallest power of two that reaches it.
        const double reach = std::exp2(bits - 1) - (random ? 1 : 0.5);
        const double scale = std::exp2(std::ceil(std::log2(largest / reach)));
        for (std::size_t i = 0; i < block.size(); ++i) {
          EXPECT_LE(std::abs(double{block[i]} - double{c[at + i]}), random ? scale : scale / 2);
        }
      }
    }
  }
}

// The variance of stochastic rounding is s^2 p (1 - p) with p the fraction: s^2 / 4 at most.
TEST(BlockCodes, StochasticRoundingHasTheVarianceOfItsFraction) {
  constexpr int kKeys = 4096;
  const auto code = make_compressor("int8", "rounding = \"stochastic\"");
  std::vector<float> x(64, 0);
  x[0] = 127;  // the scale is 1
  for (std::size_t i = 1; i < 64; ++i) x[i] = static_cast<float>(i) / 64;
  std::vector<int> ups(64);
  for (Step step = 0; step < kKeys; ++step) {
    const auto c = through(*code, x, {1, step, 0, 0});
    EXPECT_EQ(c[0], 127);
    for (std::size_t i = 1; i < 64; ++i) {
      EXPECT_TRUE(c[i] == 0 || c[i] == 1);
      ups[i] += c[i] == 1 ? 1 : 0;
    }
  }
  for (std::size_t i = 1; i < 64; ++i) {  // a binomial: 5 of its deviations
    const double p = static_cast<double>(i) / 64;
    EXPECT_NEAR(ups[i], kKeys * p, 5 * std::sqrt(kKeys * p * (1 - p))) << i;
  }
}

TEST(BlockCodes, EveryPartOfTheKeyRoundsOtherwise) {
  const auto code = make_compressor("int4", "rounding = \"stochastic\"");
  const auto x = normal_vector(1000, 1);
  const auto first = encoded(*code, x, {0, 0, 0, 0});
  EXPECT_NE(encoded(*code, x, {1, 0, 0, 0}), first);
  EXPECT_NE(encoded(*code, x, {0, 1, 0, 0}), first);
  EXPECT_NE(encoded(*code, x, {0, 0, 1, 0}), first);
  EXPECT_NE(encoded(*code, x, {0, 0, 0, 1}), first);
}

TEST(DenseCodes, SizesAreThoseOfTheFormat) {
  EXPECT_EQ(make_compressor("fp16")->max_bytes(1000), 2000U);
  EXPECT_EQ(make_compressor("bf16")->max_bytes(1000), 2000U);
  EXPECT_EQ(make_compressor("int8")->max_bytes(1000), 16U + 1000);
  EXPECT_EQ(make_compressor("int4", "block = 32")->max_bytes(1001), 32U + 501);
  EXPECT_EQ(make_compressor("sign")->max_bytes(1000), 4U * 4 + 125);
}

// fp16 saturates and loses what is below 2^-25; bf16 does neither.
TEST(DenseCodes, RangesAreThoseOfTheFormat) {
  const std::vector<float> x = {1e6F, -1e6F, 0x1p-26F, 0x1p-24F};
  EXPECT_THAT(through(*make_compressor("fp16"), x),
              testing::ElementsAre(65504, -65504, 0, 0x1p-24F));
  EXPECT_THAT(through(*make_compressor("bf16"), x),
              testing::ElementsAre(999424, -999424, 0x1p-26F, 0x1p-24F));
}

TEST(DenseCodes, ABlockThatIsNoPowerOfTwoIsAFault) {
  const auto document = config::Document::from_text("block = 100\n", "job.toml");
  find_mode(compressors(), "int8")->make(document->root());
  EXPECT_THAT(
      document->faults(),
      testing::ElementsAre("job.toml:1:1: block: found 100, expected a power of two from 16 "
                           "to 1024, try 64"));
}

}  // namespace
}  // namespace sheaf::compression
