// Every instruction set that this processor has must give the bits of the scalar twin, at sizes
// around the widths of vectors, at misaligned starts, and for values at the edges of a float.
// Functions with a closed form are checked against it once, on the public interface.
#include "common/math/kernels.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/random.h"
#include "common/math/kernel_set.h"

namespace sheaf::math {
namespace {

using testing::ElementsAre;
using testing::FloatEq;

constexpr std::size_t kSizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 1000, 4099};
constexpr std::size_t kStarts[] = {0, 1, 3};  // floats after a 64-byte boundary
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kQuietNan = std::numeric_limits<float>::quiet_NaN();

// Values with known names; every seventh one is an edge case when `edges` is set.
std::vector<float> values(std::size_t size, std::uint64_t name, bool edges = true) {
  constexpr float kEdges[] = {0.0F,    -0.0F, 1e-40F,  -3e-45F, 1e-20F, 3e38F, -3e38F, 88.7F,
                              -100.0F, kInf,  -1e-30F, 0.625F,  104.0F, -kInf, 1.0F,   kQuietNan};
  Stream stream(7, Purpose::test, name);
  std::vector<float> x(size);
  for (float& value : x) {
    const bool edge = edges && stream.next() % 7 == 0;
    value =
        edge ? kEdges[stream.next() % std::size(kEdges)] : static_cast<float>(3 * stream.normal());
  }
  return x;
}

// The bits of each value; all NaNs count as one.
std::vector<std::uint32_t> bits(std::span<const float> x) {
  std::vector<std::uint32_t> words;
  for (const float value : x) {
    words.push_back(std::isnan(value) ? 0x7FC00000U : std::bit_cast<std::uint32_t>(value));
  }
  return words;
}
std::uint64_t bits(double x) { return std::bit_cast<std::uint64_t>(std::isnan(x) ? NAN : x); }

// An array that starts `start` floats after a 64-byte boundary, between two guards.
class Array {
 public:
  Array(std::span<const float> values, std::size_t start)
      : memory_(values.size() + start + 2 * 16), start_(16 + start), size_(values.size()) {
    for (float& guard : memory_.span()) guard = kGuard;
    std::copy(values.begin(), values.end(), data());
  }
  Array(Array&&) = default;
  ~Array() {
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      const bool inside = i >= start_ && i < start_ + size_;
      EXPECT_TRUE(inside || memory_[i] == kGuard) << "written outside";
    }
  }
  float* data() { return memory_.data() + start_; }
  std::vector<std::uint32_t> bits() { return math::bits(memory_.span().subspan(start_, size_)); }

 private:
  static constexpr float kGuard = 12345;
  AlignedBuffer<float> memory_;
  std::size_t start_, size_;
};

// Runs `body(set, arrays, size)` with the scalar twin and with each set, on arrays of equal
// contents, and expects the same bits in every array and the same result.
template <std::size_t arrays, typename Body>
void expect_same_bits(Body body, bool edges = true) {
  for (const KernelSet* set : supported_kernels()) {
    for (const std::size_t size : kSizes) {
      for (const std::size_t start : kStarts) {
        SCOPED_TRACE(fmt::format("{}, {} values, start {}", set->name, size, start));
        std::vector<Array> expected, found;
        for (std::size_t i = 0; i < arrays; ++i) {
          expected.emplace_back(values(size, i, edges), 0);
          found.emplace_back(values(size, i, edges), (start * (i + 1)) % 16);
        }
        EXPECT_EQ(bits(body(kScalarKernels, expected, size)), bits(body(*set, found, size)));
        for (std::size_t i = 0; i < arrays; ++i) EXPECT_EQ(expected[i].bits(), found[i].bits());
      }
    }
  }
}

TEST(Kernels, AddGivesTheBitsOfTheScalarTwin) {
  expect_same_bits<2>([](const KernelSet& set, auto& x, std::size_t n) {
    set.add(x[0].data(), x[1].data(), n);
    return 0.0;
  });
}

TEST(Kernels, SumGivesTheBitsOfTheScalarTwin) {
  expect_same_bits<3>([](const KernelSet& set, auto& x, std::size_t n) {
    set.sum(x[0].data(), x[1].data(), x[2].data(), n);
    return 0.0;
  });
}

TEST(Kernels, SumSquaresGivesTheBitsOfTheScalarTwin) {
  for (const bool edges : {true, false}) {
    expect_same_bits<1>([](const KernelSet& set, auto& x,
                           std::size_t n) { return set.sum_squares(x[0].data(), n); },
                        edges);
  }
}

TEST(Kernels, AllFiniteGivesTheResultOfTheScalarTwin) {
  for (const bool edges : {true, false}) {
    expect_same_bits<1>([](const KernelSet& set, auto& x,
                           std::size_t n) { return set.all_finite(x[0].data(), n) ? 1.0 : 0.0; },
                        edges);
  }
}

TEST(Kernels, ExpGivesTheBitsOfTheScalarTwinAlsoInPlace) {
  expect_same_bits<2>([](const KernelSet& set, auto& x, std::size_t n) {
    set.exp(x[0].data(), x[1].data(), n);
    set.exp(x[0].data(), x[0].data(), n);
    return 0.0;
  });
}

TEST(Kernels, SoftmaxGivesTheBitsOfTheScalarTwinAlsoInPlace) {
  for (const bool edges : {true, false}) {
    expect_same_bits<2>(
        [](const KernelSet& set, auto& x, std::size_t n) {
          if (n == 0) return 0.0;
          const double log_sum = set.softmax(x[0].data(), nullptr, n);
          const double again = set.softmax(x[0].data(), x[1].data(), n);
          EXPECT_EQ(bits(log_sum), bits(again));
          return set.softmax(x[0].data(), x[0].data(), n);
        },
        edges);
  }
}

TEST(Kernels, ActivationsGiveTheBitsOfTheScalarTwinAlsoInPlace) {
  for (int f = 0; f < kActivations; ++f) {
    expect_same_bits<4>([f](const KernelSet& set, auto& x, std::size_t n) {
      set.activate[f](x[0].data(), x[1].data(), n);
      set.activate[f](x[0].data(), x[0].data(), n);
      set.activation_gradient[f](x[0].data(), x[2].data(), x[3].data(), n);
      set.activation_gradient[f](x[0].data(), x[2].data(), x[2].data(), n);
      return 0.0;
    });
  }
}

TEST(Kernels, RowPassesGiveTheBitsOfTheScalarTwin) {
  for (int f = 0; f < kActivations; ++f) {
    for (const std::size_t columns : {1U, 3U, 10U, 16U, 17U, 64U, 100U}) {
      expect_same_bits<4>([=](const KernelSet& set, auto& x, std::size_t n) {
        const std::size_t rows = n / columns;
        if (rows == 0) return 0.0;
        set.add_bias[f](x[0].data(), rows, columns, x[1].data());
        set.bias_gradient[f](x[1].data(), rows, columns, x[2].data(), x[3].data());
        return 0.0;
      });
    }
  }
}

TEST(Kernels, WeighedRowsAreThoseOfTheScalarTwin) {
  for (const bool sums : {false, true}) {
    for (const std::size_t columns : {1U, 3U, 16U, 17U, 100U}) {
      expect_same_bits<3>([=](const KernelSet& set, auto& x, std::size_t n) {
        const std::size_t rows = n / columns;
        if (rows == 0) return 0.0;
        if (rows > 2) x[0].data()[1] = 0;
        set.weigh_rows(x[0].data(), rows, columns, x[1].data(), sums ? x[2].data() : nullptr);
        return 0.0;
      });
    }
  }
}

// The scalar twin calls philox(), which tests/common/base/random_test.cpp holds against the known
// answers of its authors.
TEST(Kernels, RandomWordsAreThoseOfTheScalarTwin) {
  constexpr std::uint32_t kKey[] = {0xa4093822, 0x299f31d0};
  constexpr std::uint32_t kName[] = {0x85a308d3, 0xffffffff, 7};
  for (const KernelSet* set : supported_kernels()) {
    for (const std::size_t blocks : kSizes) {
      for (const std::uint32_t first : {0U, 5U, 0xfffffffeU}) {  // the last one wraps around
        SCOPED_TRACE(fmt::format("{}, {} blocks from {}", set->name, blocks, first));
        constexpr std::uint32_t kGuard = 12345;
        std::vector<std::uint32_t> expected(4 * blocks + 1, kGuard), found(4 * blocks + 1, kGuard);
        kScalarKernels.random_words(kKey, kName, first, expected.data(), blocks);
        set->random_words(kKey, kName, first, found.data(), blocks);
        EXPECT_EQ(found, expected);
      }
    }
  }
}

TEST(Kernels, RandomWordsAreTheBlocksOfTheirStream) {
  const Stream stream(7, Purpose::test, 1, 2, 3);
  std::vector<std::uint32_t> words(4 * 40);
  random_words(stream, 9, words);
  for (std::uint32_t i = 0; i < 40; ++i) {
    for (std::size_t j = 0; j < 4; ++j) EXPECT_EQ(words[4 * i + j], stream.block(9 + i)[j]);
  }
}

TEST(Kernels, DropoutGivesTheBitsOfTheScalarTwinAlsoInPlace) {
  std::vector<std::uint32_t> words(4100);
  random_words(Stream(7, Purpose::test), 0, words);
  words[0] = 0x80000000;  // equal to the bound: kept
  for (const std::uint32_t below : {0U, 0x80000000U, 0xffffffffU}) {
    expect_same_bits<2>([&](const KernelSet& set, auto& x, std::size_t n) {
      set.dropout(below, 1.25F, words.data(), x[0].data(), x[1].data(), n);
      set.dropout(below, 1.25F, words.data(), x[0].data(), x[0].data(), n);
      return 0.0;
    });
  }
}

TEST(Kernels, InputPassesGiveTheBitsOfTheScalarTwin) {
  std::vector<std::uint8_t> bytes(4099);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
  expect_same_bits<4>([&](const KernelSet& set, auto& x, std::size_t n) {
    set.standardise(x[0].data(), x[1].data(), x[2].data(), x[3].data(), n);
    set.standardise_bytes(bytes.data(), x[1].data(), x[2].data(), x[0].data(), n);
    set.bytes_to_unit(bytes.data(), x[1].data(), n);
    return 0.0;
  });
}

// Values and what each says of its gradient, written through the caches and past them.
TEST(Kernels, OptimizerStepsGiveTheBitsOfTheScalarTwin) {
  for (const bool streamed : {false, true}) {
    expect_same_bits<4>([=](const KernelSet& set, auto& x, std::size_t n) {
      const SgdStep step{0.3F, 0.1F, 0.01F};
      return set.sgd_step(step, x[0].data(), x[1].data(), x[2].data(), n, streamed) ? 1.0 : 0.0;
    });
    for (const bool nesterov : {false, true}) {
      expect_same_bits<4>([=](const KernelSet& set, auto& x, std::size_t n) {
        const MomentumStep step{0.3F, 0.1F, 0.01F, 0.9F, nesterov};
        const bool finite = set.momentum_step(step, x[0].data(), x[1].data(), x[2].data(),
                                              x[3].data(), n, streamed);
        return finite ? 1.0 : 0.0;
      });
    }
    expect_same_bits<5>([=](const KernelSet& set, auto& x, std::size_t n) {
      const AdamStep step{0.3F, 0.1F, 0.01F, 0.02F, 0.9F, 0.999F, 1e-8F, 0.1F, 0.001F};
      const bool finite = set.adam_step(step, x[0].data(), x[1].data(), x[2].data(), x[3].data(),
                                        x[4].data(), n, streamed);
      return finite ? 1.0 : 0.0;
    });
  }
}

TEST(Kernels, TheWidestSetOfThisProcessorIsChosen) {
  EXPECT_EQ(instruction_set(), supported_kernels().back()->name);
}

TEST(Kernels, EachSetIsCompiledForWhatItIsCalled) {
  EXPECT_EQ(kKernelsV2.name, std::string_view("x86-64-v2"));
  EXPECT_EQ(kKernelsV3.name, std::string_view("x86-64-v3"));
  EXPECT_EQ(kKernelsV4.name, std::string_view("x86-64-v4"));
}

// What follows is worked out by hand.

TEST(Kernels, AddAndSumAndSquares) {
  std::vector<float> y = {1, 2, 3};
  add(std::vector<float>{10, 20, 30}, y);
  EXPECT_THAT(y, ElementsAre(11, 22, 33));
  std::vector<float> z(3);
  sum(y, std::vector<float>{11, 22, 33}, z);
  EXPECT_THAT(z, ElementsAre(22, 44, 66));
  EXPECT_EQ(sum_squares(z), 22 * 22 + 44 * 44 + 66 * 66);
}

TEST(Kernels, SumOfSquaresDoesNotOverflowAFloat) {
  EXPECT_DOUBLE_EQ(sum_squares(std::vector<float>(100, 0x1p100F)), 100 * 0x1p200);
}

TEST(Kernels, AllFiniteFindsOneBadValueAnywhere) {
  for (const std::size_t size : {1U, 16U, 33U}) {
    std::vector<float> x(size, std::numeric_limits<float>::max());
    EXPECT_TRUE(all_finite(x));
    for (std::size_t i = 0; i < size; ++i) {
      for (const float bad : {kQuietNan, kInf, -kInf}) {
        x[i] = bad;
        EXPECT_FALSE(all_finite(x));
      }
      x[i] = 0;
    }
  }
}

// Logits log 1, log 2, log 5: probabilities 1/8, 2/8, 5/8, and log 8.
TEST(Kernels, SoftmaxOfLogarithmsIsTheirShares) {
  const std::vector<float> x = {0, std::log(2.0F), std::log(5.0F)};
  std::vector<float> p(3);
  EXPECT_NEAR(softmax(x, p), std::log(8.0), 1e-6);
  EXPECT_THAT(p, ElementsAre(FloatEq(0.125F), FloatEq(0.25F), FloatEq(0.625F)));
}

TEST(Kernels, SoftmaxOfHugeLogitsDoesNotOverflow) {
  const std::vector<float> x = {3e38F, 3e38F, -3e38F};
  std::vector<float> p(3);
  EXPECT_DOUBLE_EQ(softmax(x, p), static_cast<double>(3e38F));
  EXPECT_THAT(p, ElementsAre(0.5F, 0.5F, 0));
}

TEST(Kernels, NanIsNeverHidden) {
  const std::vector<float> x = {1, kQuietNan, 2};
  std::vector<float> y(3);
  EXPECT_TRUE(std::isnan(softmax(x, y)));
  for (const Activation f :
       {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh}) {
    activate(f, x, y);
    EXPECT_TRUE(std::isnan(y[1]));
    EXPECT_FALSE(std::isnan(y[0]));
  }
}

TEST(Kernels, BiasIsAddedBeforeTheActivation) {
  std::vector<float> x = {1, -3, 5, -1, -2, 0};
  add_bias(Activation::relu, std::vector<float>{-2, 1, 1}, 2, x);
  EXPECT_THAT(x, ElementsAre(0, 0, 6, 0, 0, 1));
}

TEST(Kernels, BiasGradientIsTheColumnSumBehindTheActivation) {
  const std::vector<float> y = {0, 1, 2, 0, 3, 4};
  std::vector<float> dy = {10, 20, 30, 40, 50, 60}, sum(3, kQuietNan);
  bias_gradient(Activation::relu, y, 2, dy, sum);
  EXPECT_THAT(dy, ElementsAre(0, 20, 30, 0, 50, 60));
  EXPECT_THAT(sum, ElementsAre(0, 70, 90));
}

TEST(Kernels, ARowOfWeightZeroLeavesNoTrace) {
  std::vector<float> x = {1, 2, kQuietNan, INFINITY, 5, 6}, sum(2, kQuietNan);
  weigh_rows(std::vector<float>{2, 0, 0.5F}, x, sum);
  EXPECT_THAT(x, ElementsAre(2, 4, 0, 0, 2.5F, 3));
  EXPECT_THAT(sum, ElementsAre(4.5F, 7));
}

TEST(Kernels, DropoutKeepsWordsFromTheBoundOnAndScalesThem) {
  const std::vector<std::uint32_t> words = {0, 99, 100, 0xffffffff};
  std::vector<float> y(4);
  dropout({.below = 100, .factor = 1.5F}, words, std::vector<float>{2, 4, 6, -8}, y);
  EXPECT_THAT(y, ElementsAre(0, 0, 9, -12));
}

TEST(Kernels, InputsAreCentredThenScaled) {
  std::vector<float> y(3);
  const std::vector<float> mean = {1, 2, 0.5F}, scale = {2, 0.5F, -1};
  standardise(std::vector<std::uint8_t>{0, 255, 2}, mean, scale, y);
  EXPECT_THAT(y, ElementsAre(-2, 126.5F, -1.5F));
  standardise(std::vector<float>{1.5F, 1, 0}, mean, scale, y);
  EXPECT_THAT(y, ElementsAre(1, -0.5F, 0.5F));
  bytes_to_unit(std::vector<std::uint8_t>{0, 51, 255}, y);
  EXPECT_THAT(y, ElementsAre(0, 0.2F, 1));
}

TEST(Kernels, GradientsOfSigmoidAndTanhAreThoseOfTheirOutputs) {
  const std::vector<float> y = {0.25F, -0.5F}, dy = {8, 4};
  std::vector<float> dx(2);
  activation_gradient(Activation::sigmoid, y, dy, dx);
  EXPECT_THAT(dx, ElementsAre(1.5F, -3));  // 8 * 0.25 * 0.75; 4 * -0.5 * 1.5
  activation_gradient(Activation::tanh, y, dy, dx);
  EXPECT_THAT(dx, ElementsAre(7.5F, 3));  // 8 * (1 - 1/16); 4 * (1 - 1/4)
}

}  // namespace
}  // namespace sheaf::math
