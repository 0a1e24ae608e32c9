// EF21 against its definition, worked out here once more in plain loops, against closed forms, and
// against what is proven of it.
#include "common/compression/estimate_feedback.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

using testing::Each;
using testing::ElementsAreArray;

constexpr std::size_t kTold = 40;

// One chunk of one partition, step by step, and what a server has of it.
class Telling {
 public:
  Telling(const Compressor& compressor, double momentum, std::size_t size = kTold)
      : server(size),
        compressor_(compressor),
        feedback_(compressor, momentum, size),
        kept_(EstimateFeedback::runs(momentum) * size) {}
  // What a server adds.
  std::vector<float> push(std::span<const float> g, Step step, float weight = 1) {
    const EncodingKey key{1, step, 0, 0};
    std::vector<std::byte> bytes(compressor_.max_bytes(g.size()));
    std::vector<float> next(kept_.size()), news(g.size());
    const std::size_t size =
        feedback_.encode(EstimateFeedback::state_of(std::span<const float>(kept_), g.size()), g,
                         weight, key, bytes, EstimateFeedback::state_of(std::span(next), g.size()));
    const auto payload = std::span(bytes).first(size);
    compressor_.decode_add(payload, key, news);
    for (std::size_t i = 0; i < g.size(); ++i) server[i] += news[i];
    kept_ = next;
    return news;
  }
  std::span<const float> estimate() const { return std::span(kept_).first(server.size()); }
  std::span<const float> velocity() const { return std::span(kept_).subspan(server.size()); }
  double distance_to(std::span<const float> x) const {
    double squares = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      squares += std::pow(double{x[i]} - double{estimate()[i]}, 2);
    }
    return squares;
  }

  std::vector<float> server;

 private:
  const Compressor& compressor_;
  EstimateFeedback feedback_;
  std::vector<float> kept_;
};

TEST(EstimateFeedback, AStepIsThatOfItsDefinition) {
  const auto topk = make_compressor("topk", "ratio = 0.1\nvalues = 8");
  for (const double momentum : {0.0, 0.75}) {
    Telling telling(*topk, momentum);
    std::vector<float> told(kTold), mean(kTold), x(kTold);
    for (Step step = 0; step < 30; ++step) {
      const auto g = normal_vector(kTold, step);
      const float weight = step % 3 == 0 ? 1.25F : 1.0F;
      for (std::size_t i = 0; i < kTold; ++i) {
        const float usual = weight * g[i];
        const float kept = static_cast<float>(momentum) * mean[i];
        mean[i] = kept + static_cast<float>(1 - momentum) * usual;
        x[i] = mean[i] - told[i];
      }
      const auto c = through(*topk, x, {1, step, 0, 0});
      for (std::size_t i = 0; i < kTold; ++i) told[i] += c[i];
      EXPECT_THAT(telling.push(g, step, weight), ElementsAreArray(c));
      EXPECT_THAT(telling.estimate(), ElementsAreArray(told));
      if (momentum > 0) {
        EXPECT_THAT(telling.velocity(), ElementsAreArray(mean));
      } else {
        EXPECT_TRUE(telling.velocity().empty());
      }
    }
  }
}

// Of a gradient that stays, topk tells the largest values that it has not told yet, to the bit:
// what is left are the smallest ones.
TEST(EstimateFeedback, OfTheLargestValuesAStillGradientIsToldPieceByPiece) {
  const auto topk = make_compressor("topk", "ratio = 0.1");  // four values of forty
  Telling telling(*topk, 0);
  const auto g = normal_vector(kTold, 7);
  std::vector<double> squares;
  for (const float value : g) squares.push_back(double{value} * double{value});
  std::ranges::sort(squares);
  for (std::size_t step = 0; step < 10; ++step) {
    double left = 0;
    for (std::size_t i = 0; i < kTold - 4 * step; ++i) left += squares[i];
    EXPECT_NEAR(telling.distance_to(g), left, 1e-12);
    telling.push(g, step);
  }
  EXPECT_THAT(telling.estimate(), ElementsAreArray(g));
  EXPECT_THAT(telling.push(g, 10), Each(0.0F));
}

// Multiples of 2^-10, of which no difference rounds: then what loses nothing tells the gradient.
TEST(EstimateFeedback, WhereNothingIsLostServersHaveTheGradient) {
  const auto all = make_compressor("topk", "ratio = 1.0");
  Telling telling(*all, 0), of_floats(*all, 0);
  Stream stream(5, Purpose::test);
  for (Step step = 0; step < 200; ++step) {
    std::vector<float> g(kTold);
    for (float& x : g)
      x = static_cast<float>(static_cast<int>(stream.next() % 4097) - 2048) * 0x1p-10F;
    telling.push(g, step);
    EXPECT_THAT(telling.server, ElementsAreArray(g));
    // Of any floats but for two roundings, of this step alone: g' = g + (x - g), each to 2^-24.
    const auto x = normal_vector(kTold, step);
    const std::vector<float> before(of_floats.estimate().begin(), of_floats.estimate().end());
    of_floats.push(x, step);
    for (std::size_t i = 0; i < kTold; ++i) {
      const double bound = 0x1p-24 * (std::abs(x[i] - before[i]) + std::abs(x[i])) * 1.001;
      EXPECT_LE(std::abs(of_floats.estimate()[i] - x[i]), bound);
    }
  }
}

// v = (1 - 2^-t) g after t steps with the same g, if m is a half.
TEST(EstimateFeedback, MomentumTellsTheMeanOfGradients) {
  const auto all = make_compressor("topk", "ratio = 1.0");
  Telling telling(*all, 0.5);
  const std::vector<float> g(kTold, 3.0F);
  for (int step = 1; step <= 20; ++step) {
    telling.push(g, static_cast<Step>(step));
    EXPECT_THAT(telling.server, Each(3 - 3 * std::ldexp(1.0F, -step)));
  }
}

// Three partitions whose largest values mislead: top-1 of plain gradients goes the wrong way,
// by a factor of 1 + 11/6 rate each step (Beznosikov, Horvath, Richtarik and Safaryan 2020, example
// 1). With EF21, f(x) <= (1 - rate mu)^T (f(x_0) + rate / theta G_0) for a rate up to
// 1 / (L + L~ sqrt(2 beta / theta)) (Richtarik et al. 2021, theorem 2).
TEST(EstimateFeedback, DescentConvergesAsFastAsIsProvenWhereTheCompressorAloneDiverges) {
  const std::array<std::array<double, 3>, 3> a = {{{-3, 2, 2}, {2, -3, 2}, {2, 2, -3}}};
  const auto topk = make_compressor("topk", "ratio = 0.33");
  const auto product = [&](std::size_t p, const std::vector<float>& x) {
    return a[p][0] * x[0] + a[p][1] * x[1] + a[p][2] * x[2];
  };
  const auto gradient = [&](std::size_t p, const std::vector<float>& x) {
    std::vector<float> g(3);
    for (std::size_t i = 0; i < 3; ++i) {
      g[i] = static_cast<float>(2 * product(p, x) * a[p][i] + x[i] / 2.0);
    }
    return g;
  };
  const auto f = [&](const std::vector<float>& x) {  // the mean of three
    double sum = 0;
    for (std::size_t p = 0; p < 3; ++p) {
      sum += std::pow(product(p, x), 2);
      for (const float value : x) sum += double{value} * double{value} / 4;
    }
    return sum / 3;
  };
  constexpr double kRate = 0.004;
  std::vector<float> plain(3, 1.0F), x(3, 1.0F);
  std::array<Telling, 3> partitions = {Telling(*topk, 0, 3), Telling(*topk, 0, 3),
                                       Telling(*topk, 0, 3)};
  constexpr double kTheta = 0.18350;  // 1 - sqrt(1 - 1/3)
  constexpr double kMu = 7.0 / 6;     // the least curvature of f; L = 17.2, L~ = 34.5
  double proven = 0;
  for (Step step = 0; step < 3000; ++step) {
    std::vector<double> sum(3), plain_sum(3);
    double apart = 0;
    for (std::size_t p = 0; p < 3; ++p) {
      const auto g = gradient(p, x);
      partitions[p].push(g, step);
      apart += partitions[p].distance_to(g) / 3;
      const auto c = through(*topk, gradient(p, plain));
      for (std::size_t i = 0; i < 3; ++i) {
        sum[i] += partitions[p].server[i];
        plain_sum[i] += c[i];
      }
    }
    if (step == 0) proven = f(x) + kRate / kTheta * apart;
    EXPECT_LE(f(x), proven) << step;
    proven *= 1 - kRate * kMu;
    for (std::size_t i = 0; i < 3; ++i) {
      x[i] -= static_cast<float>(kRate * sum[i] / 3);
      plain[i] -= static_cast<float>(kRate * plain_sum[i] / 3);
    }
    if (step == 199) {
      EXPECT_THAT(plain, Each(testing::FloatNear(
                             static_cast<float>(std::pow(1 + 11 * kRate / 6, 200)), 1e-3F)));
    }
  }
  EXPECT_LT(f(x), 1e-5);
}

}  // namespace
}  // namespace sheaf::compression
