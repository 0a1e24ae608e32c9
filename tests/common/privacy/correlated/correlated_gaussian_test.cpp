// Noise that steps share: against dense matrices, and which white noise goes where. Secrets are
// fixed, so a test that passes always passes; right noise under another secret would fail each
// bound with probability below 1e-6.
#include "common/privacy/correlated/correlated_gaussian.h"

#include <gmock/gmock.h>

#include <cmath>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "tests/common/privacy/correlated/dense_factor.h"

namespace sheaf::privacy {
namespace {

constexpr Clip kNorm{ClipKind::flat, 0.25, 0};
constexpr double kMultiplier = 6;  // a deviation of 1.5
const std::vector<NoiseBranch> kBegin = {{0, "a"}};

wire::Digest noise_secret(unsigned char first) {
  wire::Digest digest{};
  digest[0] = std::byte{first};
  return digest;
}

CorrelatedGaussian shared_noise(std::size_t bands,
                                const std::vector<NoiseBranch>& branches = kBegin,
                                unsigned char secret = 1) {
  return {kNorm, bands, kMultiplier, noise_secret(secret), branches};
}

std::vector<float> released(const Mechanism& mechanism, const NoiseKey& key, std::size_t size) {
  std::vector<float> values(size);
  mechanism.perturb(values, key);
  return values;
}

double mean_product(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum / static_cast<double>(a.size());
}

// The covariance of what attempts add is deviation^2 D D^T, where what is taken again has white
// noise of its own. Of n products of normal variables with variances u, v and covariance w the mean
// has a deviation of sqrt((u v + w^2) / n).
TEST(CorrelatedGaussianTest, ItsCovarianceIsThatOfTheDenseMatrix) {
  constexpr std::size_t kSize = 100'000;
  const std::vector<Attempt> attempts = {{0, 7}, {5, 8}, {3, 6}};
  const std::vector<std::vector<NoiseBranch>> branches = {
      {{0, "a"}}, {{0, "a"}, {5, "b"}}, {{0, "a"}, {3, "c"}}};
  for (const std::size_t bands : {1U, 3U, 20U}) {
    std::vector<std::vector<float>> noise;
    for (std::size_t i = 0; i < attempts.size(); ++i) {
      const CorrelatedGaussian mechanism = shared_noise(bands, branches[i]);
      for (Step step = attempts[i].first; step < attempts[i].end; ++step) {
        noise.push_back(released(mechanism, {step, 0, 2}, kSize));
      }
    }
    const Matrix d = noise_matrix(releases_of(attempts), bands);
    ASSERT_EQ(noise.size(), d.size());
    const auto covariance = [&](std::size_t a, std::size_t b) {
      double sum = 0;
      for (std::size_t u = 0; u < d.size(); ++u) sum += d[a][u] * d[b][u];
      return 1.5 * 1.5 * sum;
    };
    for (std::size_t a = 0; a < d.size(); ++a) {
      for (std::size_t b = 0; b <= a; ++b) {
        const double expected = covariance(a, b);
        const double deviation =
            std::sqrt((covariance(a, a) * covariance(b, b) + expected * expected) / kSize);
        EXPECT_NEAR(mean_product(noise[a], noise[b]), expected, 5.5 * deviation)
            << bands << " bands, releases " << a << " and " << b;
      }
    }
  }
}

// C times what all steps add is white noise of the same deviation: what the accountant counts with.
TEST(CorrelatedGaussianTest, CTimesItIsWhite) {
  constexpr std::size_t kSize = 100'000, kSteps = 12;
  const Matrix c = inverse_of(noise_matrix(releases_of({{0, kSteps}}), 4));
  const CorrelatedGaussian mechanism = shared_noise(4);
  std::vector<std::vector<float>> noise;
  for (Step step = 0; step < kSteps; ++step) noise.push_back(released(mechanism, {step}, kSize));
  std::vector<std::vector<float>> white;
  for (std::size_t t = 0; t < kSteps; ++t) {
    white.emplace_back(kSize);
    for (std::size_t i = 0; i < kSize; ++i) {
      double sum = 0;
      for (std::size_t u = 0; u <= t; ++u) sum += c[t][u] * noise[u][i];
      white.back()[i] = static_cast<float>(sum);
    }
    for (std::size_t u = 0; u <= t; ++u) {
      EXPECT_NEAR(mean_product(white[t], white[u]), u == t ? 2.25 : 0,
                  5.5 * 2.25 * std::sqrt((u == t ? 2.0 : 1.0) / kSize))
          << t << " and " << u;
    }
  }
}

// Servers come and go, and chunks move between them: nothing is remembered.
TEST(CorrelatedGaussianTest, WhoBeginsLaterAddsTheSame) {
  const CorrelatedGaussian first = shared_noise(5), second = shared_noise(5);
  for (Step step = 0; step < 9; ++step) {
    for (const std::uint32_t chunk : {0U, 1U}) released(first, {step, 0, chunk}, 1000);
  }
  EXPECT_EQ(released(first, {9, 0, 1}, 1000), released(second, {9, 0, 1}, 1000));
}

TEST(CorrelatedGaussianTest, NothingElseGetsTheSameNoise) {
  constexpr std::size_t kSize = 100'000;
  const std::vector<std::vector<float>> all = {
      released(shared_noise(1), {3, 0, 2}, kSize),
      released(shared_noise(1), {4, 0, 2}, kSize),
      released(shared_noise(1), {3, 0, 3}, kSize),
      released(shared_noise(1, kBegin, 2), {3, 0, 2}, kSize),
      released(shared_noise(1, {{0, "b"}}), {3, 0, 2}, kSize),
      released(
          CorrelatedGaussian(kNorm, 1, std::nextafter(1.5F, 2.0F) / 0.25, noise_secret(1), kBegin),
          {3, 0, 2}, kSize)};
  for (std::size_t a = 0; a < all.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      EXPECT_LT(std::abs(mean_product(all[a], all[b])), 4.9 * 2.25 / std::sqrt(double{kSize}))
          << a << " and " << b;
    }
  }
}

// Two values of one step, and their difference would be seen.
TEST(CorrelatedGaussianTest, HidesOneThingOnly) {
  const CorrelatedGaussian mechanism = shared_noise(3);
  released(mechanism, {3, 0, 2}, 10);
  EXPECT_THROW(released(mechanism, {3, 0, 2}, 10), Error);
  EXPECT_THROW(released(mechanism, {2, 0, 2}, 10), Error);
  released(mechanism, {3, 0, 1}, 10);
  released(mechanism, {4, 0, 2}, 10);
}

TEST(CorrelatedGaussianTest, SaysWhetherTheSameWasReleased) {
  const auto digest = [](const NoiseKey& key, float value, const std::string& branch) {
    std::vector<float> values(100, value);
    return shared_noise(3, {{0, branch}}).perturb(values, key);
  };
  const wire::Digest first = digest({4, 0, 2}, 1, "a");
  EXPECT_EQ(digest({4, 0, 2}, 1, "a"), first);
  EXPECT_NE(digest({4, 0, 2}, std::nextafter(1.0F, 2.0F), "a"), first);
  EXPECT_NE(digest({5, 0, 2}, 1, "a"), first);
  EXPECT_NE(digest({4, 0, 3}, 1, "a"), first);
  EXPECT_NE(digest({4, 0, 2}, 1, "b"), first);
}

TEST(CorrelatedGaussianTest, NeedsAWayFromTheFirstStep) {
  EXPECT_THROW(shared_noise(3, {{1, "a"}}), Error);
  EXPECT_THROW(shared_noise(3, {{0, "a"}, {4, "b"}, {4, "c"}}), Error);
  EXPECT_THROW(released(shared_noise(3, {}), {0}, 10), Error);
}

}  // namespace
}  // namespace sheaf::privacy
