// Momentum before compression against its definition, worked out here once more in plain loops, and
// against the plain momentum that it is where nothing is left out.
#include "common/compression/momentum_feedback.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

constexpr std::size_t kPiled = 40;
constexpr float kFactor = 0.75F;

// One chunk, step by step.
struct Piled {
  explicit Piled(const Compressor& compressor) : feedback(compressor, kFactor, kPiled) {}
  std::vector<float> push(std::span<const float> g, const Compressor& compressor, Step step) {
    const EncodingKey key{1, step, 0, 0};
    std::vector<std::byte> bytes(compressor.max_bytes(g.size()));
    std::vector<float> next_left_out(g.size()), next_velocity(g.size()), sent(g.size());
    const std::size_t size =
        feedback.encode({left_out, velocity}, g, key, bytes, {next_left_out, next_velocity});
    compressor.decode_add(std::span(bytes).first(size), key, sent);
    left_out = next_left_out;
    velocity = next_velocity;
    return sent;
  }
  MomentumFeedback feedback;
  std::vector<float> left_out = std::vector<float>(kPiled);
  std::vector<float> velocity = std::vector<float>(kPiled);
};

TEST(MomentumFeedback, AStepIsThatOfItsDefinition) {
  const auto compressor = make_compressor("dgc", "ratio = 0.1\nvalues = 8");
  Piled piled(*compressor);
  std::vector<float> e(kPiled), u(kPiled);
  for (Step step = 0; step < 30; ++step) {
    const auto g = normal_vector(kPiled, step);
    for (std::size_t i = 0; i < kPiled; ++i) {
      const float kept = kFactor * u[i];
      u[i] = kept + g[i];
      e[i] += u[i];
    }
    const auto c = through(*compressor, e, {1, step, 0, 0});
    for (std::size_t i = 0; i < kPiled; ++i) {
      e[i] -= c[i];
      if (c[i] != 0) u[i] = 0;
    }
    EXPECT_THAT(piled.push(g, *compressor, step), testing::ElementsAreArray(c));
    EXPECT_THAT(piled.left_out, testing::ElementsAreArray(e));
    EXPECT_THAT(piled.velocity, testing::ElementsAreArray(u));
  }
}

TEST(MomentumFeedback, WhereNothingIsLeftOutItIsPlainMomentum) {
  const auto all = make_compressor("dgc", "ratio = 1.0");
  Piled piled(*all);
  std::vector<float> u(kPiled);
  for (Step step = 0; step < 10; ++step) {
    const auto g = normal_vector(kPiled, step);
    for (std::size_t i = 0; i < kPiled; ++i) {
      const float kept = kFactor * u[i];
      u[i] = kept + g[i];
    }
    EXPECT_THAT(piled.push(g, *all, step), testing::ElementsAreArray(u));
    EXPECT_THAT(piled.left_out, testing::Each(0.0F));
  }
}

// 25 %, then each quarter of the warm-up the fourth root of 0.004 / 0.25 of that, then 0.4 %.
TEST(DeepGradientCompression, SendsLessFromQuarterToQuarter) {
  const auto compressor = make_compressor("dgc", "ratio = 0.004\nwarmup_steps = 40");
  const auto x = normal_vector(10'000, 3);
  const auto sent_in = [&](Step step) {
    return std::ranges::count_if(through(*compressor, x, {1, step, 0, 0}),
                                 [](float value) { return value != 0; });
  };
  EXPECT_EQ(sent_in(0), 2500);
  EXPECT_EQ(sent_in(9), 2500);
  const double factor = std::pow(0.004 / 0.25, 0.25);
  EXPECT_EQ(sent_in(10), std::llround(2500 * factor));
  EXPECT_EQ(sent_in(20), std::llround(2500 * factor * factor));
  EXPECT_EQ(sent_in(39), std::llround(2500 * factor * factor * factor));
  EXPECT_EQ(sent_in(40), 40);
  EXPECT_EQ(sent_in(1'000'000), 40);
}

}  // namespace
}  // namespace sheaf::compression
