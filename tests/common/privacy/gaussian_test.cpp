// The Gaussian mechanism: what its noise is like, and that no noise is used twice. Secrets are
// fixed, so a test that passes always passes; right noise under another secret would fail each
// bound with probability below 1e-6.
#include "common/privacy/gaussian.h"

#include <gmock/gmock.h>

#include <cmath>
#include <vector>

namespace sheaf::privacy {
namespace {

using Where = Gaussian::Where;
constexpr double kDeviations = 4.9;  // of a normal variable: 1e-6, both sides
constexpr Clip kClip{ClipKind::flat, 0.25, 0};
constexpr double kNoise = 6;

wire::Digest secret(unsigned char first) {
  wire::Digest digest{};
  digest[0] = std::byte{first};
  return digest;
}

// What is added to values that are all `value`.
std::vector<float> noise(const Mechanism& mechanism, const NoiseKey& key, std::size_t size,
                         float value = 0) {
  std::vector<float> values(size, value);
  mechanism.perturb(values, key);
  for (float& v : values) v -= value;
  return values;
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// The deviation is noise * C = 1.5: of n squares the mean is 2.25, within sqrt(2 / n) of it.
TEST(Gaussian, AddsNormalNoiseOfTheNormTimesTheMultiplier) {
  for (const Where where : {Where::central, Where::local}) {
    const Gaussian mechanism(where, kClip, kNoise, secret(1));
    constexpr double kSize = 1'000'000;
    double sum = 0, squares = 0;
    for (const float z : noise(mechanism, {3, 1, 2}, static_cast<std::size_t>(kSize))) {
      sum += z;
      squares += static_cast<double>(z) * z;
    }
    EXPECT_LT(std::abs(sum / kSize), kDeviations * 1.5 / std::sqrt(kSize));
    EXPECT_LT(std::abs(squares / kSize - 2.25), kDeviations * 2.25 * std::sqrt(2 / kSize));
  }
}

TEST(Gaussian, TheSameAgainReleasesTheSameValue) {
  for (const Where where : {Where::central, Where::local}) {
    const Gaussian one(where, kClip, kNoise, secret(1)), same(where, kClip, kNoise, secret(1));
    EXPECT_EQ(noise(one, {3, 1, 2}, 1000), noise(same, {3, 1, 2}, 1000));
  }
}

// Steps, partitions, chunks, inputs that differ in a bit, secrets, and who adds it.
TEST(Gaussian, NothingElseGetsTheSameNoise) {
  constexpr std::size_t kSize = 100'000;
  const Gaussian local(Where::local, kClip, kNoise, secret(1));
  const Gaussian central(Where::central, kClip, kNoise, secret(1));
  const Gaussian other(Where::local, kClip, kNoise, secret(2));
  std::vector<float> changed(kSize);
  changed[77] = 1e-30F;
  local.perturb(changed, {3, 1, 2});
  const std::vector<std::vector<float>> all = {
      noise(local, {3, 1, 2}, kSize),    noise(local, {4, 1, 2}, kSize),
      noise(local, {3, 2, 2}, kSize),    noise(local, {3, 1, 3}, kSize),
      noise(central, {3, 1, 2}, kSize),  noise(other, {3, 1, 2}, kSize),
      noise(local, {3, 1, 2}, kSize, 1), changed};
  for (std::size_t a = 0; a < all.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      EXPECT_LT(std::abs(correlation(all[a], all[b])), kDeviations / std::sqrt(double{kSize}))
          << a << " and " << b;
    }
  }
}

// A job that goes on with another noise, or norm, takes the same step of the same sums again: if
// only the size of the noise differed, two releases would show what they hide.
TEST(Gaussian, TheSameSumWithOtherNoiseIsHiddenByOtherDeviates) {
  constexpr std::size_t kSize = 100'000;
  const NoiseKey key{90, 1, 2};
  for (const Where where : {Where::central, Where::local}) {
    const Gaussian less(where, kClip, kNoise, secret(1));
    const Gaussian more(where, kClip, 1.5 * kNoise, secret(1));
    const Gaussian next(where, kClip, std::nextafter(1.5F, 2.0F) / 0.25, secret(1));
    const Gaussian wider(where, {ClipKind::flat, 0.5, 0}, kNoise, secret(1));
    const std::vector<std::vector<float>> all = {noise(less, key, kSize), noise(more, key, kSize),
                                                 noise(next, key, kSize), noise(wider, key, kSize)};
    for (std::size_t a = 0; a < all.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        EXPECT_LT(std::abs(correlation(all[a], all[b])), kDeviations / std::sqrt(double{kSize}))
            << a << " and " << b;
      }
    }
  }
}

// The construction of the header, written down again in Python with hmac.
TEST(Gaussian, DerivesTheKeyOfASizeAsItsHeaderSays) {
  math::ChachaKey key;
  for (std::uint32_t i = 0; i < key.size(); ++i) key[i] = 0x03020100U + i * 0x04040404U;
  const math::ChachaKey expected = {0xdcf3a6c4U, 0x63832446U, 0x3c38a3d9U, 0xec4f570aU,
                                    0xc55eb82bU, 0x999f2cc5U, 0x776e3b78U, 0x928c8511U};
  EXPECT_EQ(sized(key, 1.5F), expected);
}

TEST(Gaussian, SaysWhoAddsIt) {
  const Gaussian central(Where::central, kClip, kNoise, secret(1));
  const Gaussian local(Where::local, kClip, kNoise, secret(1));
  EXPECT_TRUE(central.perturbs_at_server() && !central.perturbs_at_worker());
  EXPECT_TRUE(local.perturbs_at_worker() && !local.perturbs_at_server());
  EXPECT_EQ(central.clip()->norm, 0.25);
}

TEST(Gaussian, SaysWhetherTheSameWasReleased) {
  const auto digest = [](unsigned char first, const NoiseKey& key, float value) {
    std::vector<float> values(100, value);
    return Gaussian(Where::central, kClip, kNoise, secret(first)).perturb(values, key);
  };
  const wire::Digest first = digest(1, {4, 0, 2}, 1);
  EXPECT_EQ(digest(1, {4, 0, 2}, 1), first);
  EXPECT_NE(digest(1, {4, 0, 2}, std::nextafter(1.0F, 2.0F)), first);
  EXPECT_NE(digest(1, {5, 0, 2}, 1), first);
  EXPECT_NE(digest(1, {4, 0, 3}, 1), first);
  EXPECT_NE(digest(2, {4, 0, 2}, 1), first);
  std::vector<float> values(100, 1.0F);
  EXPECT_NE(Gaussian(Where::central, kClip, 2 * kNoise, secret(1)).perturb(values, {4, 0, 2}),
            first);
}

}  // namespace
}  // namespace sheaf::privacy
