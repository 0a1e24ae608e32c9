// The two rounds over several partitions, their sums taken here.
#include "worker/step/factor_rounds.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/random.h"

namespace sheaf::worker {
namespace {

constexpr std::size_t kRows = 24, kColumns = 30, kSize = kRows * kColumns;
constexpr std::uint32_t kRank = 2;

std::vector<float> normal_values(std::size_t size, std::uint64_t name) {
  Stream stream(5, Purpose::test, name);
  std::vector<float> x(size);
  for (float& value : x) value = static_cast<float>(stream.normal());
  return x;
}

double squares(std::span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += double{value} * double{value};
  return sum;
}

params::Layout one_tensor() {
  params::Layout layout;
  layout.add("w", {kRows, kColumns}, {});
  return layout;
}

// All tensors in one chunk.
struct Rounds {
  explicit Rounds(params::Layout of = one_tensor())
      : layout(std::move(of)),
        chunks(layout, std::size_t{1} << 20),
        factors(compression::factors_of(kRank, layout, chunks, {true})),
        rounds(factors, 7),
        right(factors.right_floats) {
    EXPECT_EQ(factors.chunks.size(), 1U);
  }
  // What each partition sends of what it wants to.
  std::vector<std::vector<float>> step(Step step, const std::vector<std::vector<float>>& wanted) {
    rounds.begin(step, right);
    std::vector<float> left(factors.left_floats);
    for (const auto& values : wanted) {
      const auto mine = rounds.left(chunks, values);
      for (std::size_t i = 0; i < left.size(); ++i) left[i] += mine[i];
    }
    rounds.average(left);
    std::ranges::fill(right, 0.0F);
    std::vector<std::vector<float>> sent;
    for (const auto& values : wanted) {
      std::vector<std::byte> bytes(values.size() * sizeof(float));  // more than enough
      const std::size_t size = rounds.encode(factors.chunks[0], values, bytes);
      sent.emplace_back(values.size());
      compression::decode_add_factors(std::span(bytes).first(size), kRank, sent.back());
      for (std::size_t i = 0; i < right.size(); ++i) right[i] += rounds.right()[i];
    }
    return sent;
  }
  params::Layout layout;
  params::ChunkMap chunks;
  compression::Factors factors;
  FactorRounds rounds;
  std::vector<float> right;  // as it was pulled
};

// Two matrices of their rank, and what is none: each has factors of its own, so all of it is sent.
TEST(FactorRounds, MatricesOfOneChunkAreApart) {
  params::Layout layout = one_tensor();
  layout.add("bias", {5}, {});
  layout.add("v", {20, 12}, {});
  const auto a = normal_values(kRank * kRows, 1), b = normal_values(kRank * kColumns, 2);
  std::vector<float> wanted(layout.size());
  for (const params::Tensor& t : layout.tensors()) {
    const std::size_t columns = t.size / t.shape.front();
    for (std::size_t i = 0; i < t.size; ++i) {
      wanted[t.offset + i] =
          a[i / columns] * b[i % columns] + a[kRows + i / columns] * b[kColumns + i % columns];
    }
  }
  Rounds rounds(layout);
  EXPECT_EQ(rounds.factors.chunks[0].matrices.size(), 2U);
  const auto sent = rounds.step(0, {wanted}).front();
  std::vector<float> rest(wanted);
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= sent[i];
  EXPECT_LT(squares(rest), 1e-10 * squares(wanted));
  const auto bias = static_cast<std::ptrdiff_t>(layout.tensors()[1].offset);
  EXPECT_TRUE(std::equal(wanted.begin() + bias, wanted.begin() + bias + 5, sent.begin() + bias));
}

// Two partitions differ from L, of rank 2, by a matrix N of full rank and its negative. Neither is
// sent whole, but their sum is: 2 L, since the space is that of the sum.
TEST(FactorRounds, TheSumOfAllIsWhatIsApproximated) {
  const auto a = normal_values(kRank * kRows, 1), b = normal_values(kRank * kColumns, 2);
  const auto noise = normal_values(kSize, 3);
  std::vector<float> low(kSize);
  std::vector<std::vector<float>> wanted(2, std::vector<float>(kSize));
  for (std::size_t i = 0; i < kSize; ++i) {
    low[i] =
        a[i / kColumns] * b[i % kColumns] + a[kRows + i / kColumns] * b[kColumns + i % kColumns];
    wanted[0][i] = low[i] + noise[i];
    wanted[1][i] = low[i] - noise[i];
  }
  const auto sent = Rounds().step(0, wanted);
  std::vector<float> of_sum(kSize), of_first(kSize);
  for (std::size_t i = 0; i < kSize; ++i) {
    of_sum[i] = 2 * low[i] - sent[0][i] - sent[1][i];
    of_first[i] = wanted[0][i] - sent[0][i];
  }
  EXPECT_LT(squares(of_sum), 1e-10 * squares(low));
  EXPECT_GT(squares(of_first), 0.1 * squares(noise));
}

// All that was sent and what is kept is all there was, up to what each step rounds: t and e, by
// 2^-24 of what is larger. And what is kept does not pile up: a direction that is always there is
// found by the next steps.
TEST(FactorRounds, TheBooksBalanceOverManySteps) {
  constexpr int kSteps = 40;
  Rounds rounds;
  std::vector<std::vector<float>> kept(3, std::vector<float>(kSize));
  std::vector<double> given(kSize), sent(kSize);
  double largest = 0;
  for (int step = 0; step < kSteps; ++step) {
    auto wanted = kept;
    for (std::size_t p = 0; p < kept.size(); ++p) {
      const auto g = normal_values(kSize, 100 + 3 * static_cast<std::uint64_t>(step) + p);
      for (std::size_t i = 0; i < kSize; ++i) {
        given[i] += g[i];
        wanted[p][i] += g[i];
      }
    }
    const auto c = rounds.step(static_cast<Step>(step), wanted);
    for (std::size_t p = 0; p < kept.size(); ++p) {
      for (std::size_t i = 0; i < kSize; ++i) {
        kept[p][i] = wanted[p][i] - c[p][i];
        sent[i] += c[p][i];
        largest = std::max({largest, std::abs(double{wanted[p][i]}), std::abs(double{c[p][i]})});
      }
    }
  }
  const double error = 3 * 2 * kSteps * 0x1p-24 * largest;
  for (std::size_t i = 0; i < kSize; ++i) {
    double rest = 0;
    for (const auto& e : kept) rest += e[i];
    ASSERT_NEAR(sent[i] + rest, given[i], error) << i;
  }
  // Gradients have a variance of 1 each: 24 steps' worth, if all 24 directions were kept for twice
  // as long as it takes to send 2 of them in each step; all 40 were kept if nothing were sent.
  EXPECT_LT(squares(kept[0]), 24.0 * kSize);
}

// Only what the sum has is found again: with the right factor of the step before the space of a
// matrix that stays is that of its largest singular values, here 4, 3, 2, … on the diagonal.
TEST(FactorRounds, TheNextStepBeginsWhereThisOneEnded) {
  Rounds rounds;
  std::vector<float> x(kSize);
  for (std::size_t i = 0; i < kRows; ++i) x[i * kColumns + i] = i == 0 ? 4 : i == 1 ? 3 : 1;
  double left_out = 0;
  for (Step step = 0; step < 20; ++step) {
    const auto sent = rounds.step(step, {x}).front();
    left_out = 0;
    for (std::size_t i = 0; i < kSize; ++i) left_out += std::pow(double{x[i]} - sent[i], 2);
  }
  EXPECT_NEAR(left_out, kRows - 2, 1e-4);
}

}  // namespace
}  // namespace sheaf::worker
