// Error feedback against its definition, and its books: all that was given is what was sent and
// what is kept.
#include "common/compression/error_feedback.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

// The residual of a vector in one place, chunk by chunk.
class Kept {
 public:
  Kept(const Compressor& compressor, std::size_t elements, std::size_t largest)
      : feedback_(compressor, largest), residual_(elements) {}
  std::size_t encode(std::size_t offset, std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) {
    const auto before = std::span(residual_).subspan(offset, values.size());
    std::vector<float> after(values.size());
    const std::size_t size = feedback_.encode(before, values, key, bytes, after);
    std::ranges::copy(after, before.begin());
    return size;
  }
  const std::vector<float>& residual() const { return residual_; }

 private:
  ErrorFeedback feedback_;
  std::vector<float> residual_;
};

TEST(ErrorFeedback, AStepIsThatOfItsDefinition) {
  const auto topk = make_compressor("topk", "ratio = 0.3");
  Kept feedback(*topk, 10, 10);
  std::vector<std::byte> bytes(topk->max_bytes(10));
  std::vector<float> e(10);
  for (Step step = 0; step < 20; ++step) {
    const auto g = normal_vector(10, step);
    std::vector<float> t(10);
    for (std::size_t i = 0; i < 10; ++i) t[i] = g[i] + e[i];
    const EncodingKey key{1, step, 0, 0};
    const std::size_t size = feedback.encode(0, g, key, bytes);
    EXPECT_EQ(std::vector(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)),
              encoded(*topk, t, key));
    const auto c = through(*topk, t, key);
    for (std::size_t i = 0; i < 10; ++i) e[i] = t[i] - c[i];
    EXPECT_THAT(feedback.residual(), testing::ElementsAreArray(e));
  }
}

// Two chunks of a vector, their books kept apart.
TEST(ErrorFeedback, EveryChunkHasItsOwnResidual) {
  const auto topk = make_compressor("topk", "ratio = 0.5");
  Kept feedback(*topk, 4, 2);
  std::vector<std::byte> bytes(topk->max_bytes(2));
  feedback.encode(2, std::vector<float>{1, 2}, {}, bytes);
  EXPECT_THAT(feedback.residual(), testing::ElementsAre(0, 0, 1, 0));
  feedback.encode(0, std::vector<float>{4, 3}, {}, bytes);
  EXPECT_THAT(feedback.residual(), testing::ElementsAre(0, 3, 1, 0));
}

// Multiples of 2^-10: no sum of a run rounds, so the books balance to the last bit with every
// compressor whose residuals are exact.
TEST(ErrorFeedback, TheBooksBalanceToTheLastBit) {
  constexpr std::size_t kSize = 700, kChunk = 300;
  constexpr Step kRun = 500;
  for (const auto& [name, options] :
       {std::pair{"fp16", ""}, std::pair{"bf16", ""}, std::pair{"int8", ""}, std::pair{"int4", ""},
        std::pair{"topk", "ratio = 0.1"}, std::pair{"topk", "values = 4"},
        std::pair{"randomk", "ratio = 0.2\nunbiased = false"}}) {
    SCOPED_TRACE(fmt::format("{} {}", name, options));
    const auto compressor = make_compressor(name, options);
    ASSERT_TRUE(compressor->promises(kSize).exact_residual);
    Kept feedback(*compressor, kSize, kChunk);
    std::vector<std::byte> bytes(compressor->max_bytes(kChunk));
    std::vector<double> given(kSize), sent(kSize);
    Stream stream(31, Purpose::test);
    for (Step step = 0; step < kRun; ++step) {
      for (std::uint32_t chunk = 0; chunk * kChunk < kSize; ++chunk) {
        const std::size_t offset = chunk * kChunk;
        std::vector<float> g(std::min(kChunk, kSize - offset));
        for (std::size_t i = 0; i < g.size(); ++i) {
          g[i] = static_cast<float>(static_cast<int>(stream.next() % 513) - 256) * 0x1p-10F;
          given[offset + i] += g[i];
        }
        const EncodingKey key{1, step, 0, chunk};
        const std::size_t size = feedback.encode(offset, g, key, bytes);
        std::vector<float> c(g.size());
        compressor->decode_add(std::span(bytes).first(size), key, c);
        for (std::size_t i = 0; i < g.size(); ++i) sent[offset + i] += c[i];
      }
    }
    for (std::size_t i = 0; i < kSize; ++i) {
      ASSERT_EQ(sent[i] + double{feedback.residual()[i]}, given[i]) << i;
    }
  }
}

// f(x) = ||x - a||^2 / 2 from x = 0, one worker: plain descent with sign() hovers at the size of
// its steps times the mean magnitude; with error feedback x comes as near as the residual is small.
TEST(ErrorFeedback, DescentConvergesWhereTheCompressorAloneStalls) {
  constexpr std::size_t kSize = 256;
  const auto topk = make_compressor("topk", "ratio = 0.004");  // one value of 256
  auto a = normal_vector(kSize, 1);
  for (std::size_t i = 0; i < kSize; ++i) a[i] = i % 2 == 0 ? a[i] : 0.01F * a[i];
  const auto distance_after = [&](bool with_feedback) {
    Kept feedback(*topk, kSize, kSize);
    std::vector<std::byte> bytes(topk->max_bytes(kSize));
    std::vector<float> x(kSize), g(kSize), c(kSize);
    for (Step step = 0; step < 3000; ++step) {
      for (std::size_t i = 0; i < kSize; ++i) g[i] = x[i] - a[i];
      // Noise of known sum 0 that makes the large coordinates win again and again.
      for (std::size_t i = 0; i < kSize; i += 2) g[i] += step % 2 == 0 ? 0.5F : -0.5F;
      const std::size_t size =
          with_feedback ? feedback.encode(0, g, {}, bytes) : topk->encode(g, {}, bytes);
      std::ranges::fill(c, 0.0F);
      topk->decode_add(std::span(bytes).first(size), {}, c);
      for (std::size_t i = 0; i < kSize; ++i) x[i] -= 0.002F * c[i];
    }
    double small = 0;  // of the coordinates that are never the largest
    for (std::size_t i = 1; i < kSize; i += 2) small += std::abs(double{x[i]} - double{a[i]});
    return small;
  };
  EXPECT_LT(distance_after(true), 0.2 * distance_after(false));
}

}  // namespace
}  // namespace sheaf::compression
