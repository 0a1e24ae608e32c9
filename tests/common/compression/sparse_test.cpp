// The equalities of sparsification: what topk leaves out is the sum of the smallest squares, what
// randomk leaves out a fixed share of all in the mean; and what either takes on the wire.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

double squared_rest(std::span<const float> x, std::span<const float> c) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += square(x[i] - c[i]);
  return sum;
}

TEST(TopK, TheErrorIsTheSumOfTheSmallestSquares) {
  constexpr std::size_t kSize = 4000;
  const auto topk = make_compressor("topk", "ratio = 0.02");
  for (std::uint64_t name = 0; name < 20; ++name) {
    const auto x = normal_vector(kSize, name);
    std::vector<double> squares;
    for (const float value : x) squares.push_back(square(value));
    std::ranges::sort(squares);
    double left_out = 0;
    for (std::size_t i = 0; i < kSize - 80; ++i) left_out += squares[i];
    EXPECT_NEAR(squared_rest(x, through(*topk, x)), left_out, 1e-9 * left_out);
  }
}

TEST(TopK, OfEquallyLargeValuesTheFirstAreSent) {
  const auto topk = make_compressor("topk", "ratio = 0.3");
  const std::vector<float> x = {1, -2, 2, 2, -2, 1, 2, 0, 1, 2};
  EXPECT_THAT(through(*topk, x), testing::ElementsAre(0, -2, 2, 2, 0, 0, 0, 0, 0, 0));
}

TEST(TopK, ZerosAreNotSent) {
  const auto topk = make_compressor("topk", "ratio = 0.5");
  std::vector<float> x(1000);
  EXPECT_EQ(encoded(*topk, x).size(), 5U);
  x[3] = 1;
  x[999] = -1;
  EXPECT_LE(encoded(*topk, x).size(), 5U + 8 + 3);
  EXPECT_EQ(through(*topk, x), x);
}

// A hundredth of normal values: 8.08 bits of entropy for the place, 32, 16, 8, 4 or 2 for the value
// and an eighth of a bit for its scale.
TEST(TopK, AValueTakesItsBitsAndThoseOfItsPlace) {
  constexpr std::size_t kSize = 1 << 18;
  const auto x = normal_vector(kSize, 1);
  for (const unsigned bits : {32U, 16U, 8U, 4U, 2U}) {
    const auto topk = make_compressor("topk", fmt::format("values = {}", bits));
    const double scale = bits == 32 ? 0 : 0.125;
    const double per_value = 8.0 * static_cast<double>(encoded(*topk, x).size()) / 2621;
    EXPECT_NEAR(per_value, bits + scale + 8.08, 0.1) << bits;
  }
}

// Two bits: the nearer of s and 2 s, with s the power of two at or below the smallest magnitude.
TEST(TopK, TwoBitsAreASignAndASize) {
  const auto topk = make_compressor("topk", "ratio = 1.0\nvalues = 2");
  const std::vector<float> x = {1.25F, -1.5F, 1.4F, 2.25F, -7, -1.125F};
  EXPECT_THAT(through(*topk, x), testing::ElementsAre(1, -2, 1, 2, -2, -1));
}

TEST(TopK, ValuesBeyondTheScaleSaturate) {
  const auto topk = make_compressor("topk", "ratio = 1.0\nvalues = 2");
  const std::vector<float> x = {3e38F, -3e38F};
  for (const float value : through(*topk, x)) EXPECT_EQ(std::abs(value), 0x1p127F);
}

// The mean error over keys is (1 - k / d) ||x||^2; each value is sent with probability k / d. 4000
// keys: the standard error comes from the sample, and five of them are allowed.
TEST(RandomK, TheMeanErrorIsTheShareThatIsLeftOut) {
  constexpr std::size_t kSize = 300;
  constexpr int kKeys = 4000;
  const auto randomk = make_compressor("randomk", "ratio = 0.1\nunbiased = false");
  const auto x = normal_vector(kSize, 1);
  double all = 0, sum = 0, squares = 0;
  for (const float value : x) all += square(value);
  for (std::uint32_t chunk = 0; chunk < kKeys; ++chunk) {
    const double error = squared_rest(x, through(*randomk, x, {1, 2, 3, chunk}));
    sum += error;
    squares += error * error;
  }
  const double mean = sum / kKeys;
  const double deviation = std::sqrt((squares / kKeys - mean * mean) / kKeys);
  EXPECT_NEAR(mean, 0.9 * all, 5 * deviation);
}

// Seed, step, partition and chunk: each names other places.
TEST(RandomK, EveryPartOfTheKeyDrawsOtherPlaces) {
  const auto randomk = make_compressor("randomk", "ratio = 0.1");
  const std::vector<float> ones(1000, 1);
  std::set<std::vector<float>> drawn;
  for (const EncodingKey& key : {EncodingKey{}, EncodingKey{1, 0, 0, 0}, EncodingKey{0, 1, 0, 0},
                                 EncodingKey{0, 0, 1, 0}, EncodingKey{0, 0, 0, 1}}) {
    const auto c = through(*randomk, ones, key);
    EXPECT_EQ(std::ranges::count(c, 10.0F), 100);
    EXPECT_EQ(std::ranges::count(c, 0.0F), 900);
    drawn.insert(c);
  }
  EXPECT_EQ(drawn.size(), 5U);
}

TEST(RandomK, NoPlaceIsSent) {
  const auto randomk = make_compressor("randomk", "ratio = 0.1\nvalues = 8");
  EXPECT_EQ(randomk->max_bytes(1000), 100U + 2);
}

}  // namespace
}  // namespace sheaf::compression
