// A shard that adds the noise of privacy, once for each step and chunk, to the sum of all
// partitions. The expected noise is drawn with the pieces that the mechanism is made of, which have
// tests of their own.
#include <gmock/gmock.h>

#include <vector>

#include "common/base/error.h"
#include "common/privacy/gaussian.h"
#include "common/privacy/noise/normal_noise.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::ElementsAreArray;

constexpr privacy::Clip kBound{privacy::ClipKind::flat, 0.5, 0};
const wire::Digest kSecret{};

class ShardNoise : public testing::Test {
 protected:
  ShardJobOptions options() const {
    ShardJobOptions options;
    options.mechanism = &mechanism_;
    return options;
  }
  // From 8, the sum of 4 partitions and noise of deviation 3 * 0.5, over 4 * 5 examples.
  static std::vector<float> expected(Step step, std::uint32_t chunk, std::vector<float> sum,
                                     const std::vector<float>& from) {
    const privacy::NoiseSecret secret(kSecret);
    const privacy::NoiseName name{privacy::NoisePurpose::central, step, 0, 0, chunk};
    const math::ChachaKey key = secret.key(name, std::as_bytes(std::span(sum)));
    privacy::NormalNoise(privacy::sized(key, 1.5F)).add(1.5F, sum);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = from[i] - 0.05F * sum[i];
    return sum;
  }
  static void push_all(ShardJob& job, Step step, std::uint32_t chunk, float value) {
    for (std::uint32_t p = 0; p < 4; ++p) job.push(step, chunk, {p, 1}, value, 5);
  }
  static std::vector<float> parameters(ShardJob& job, Step step, std::uint32_t chunk) {
    const auto values = job.parameters(step, chunk);
    return {values.begin(), values.end()};
  }

  privacy::Gaussian mechanism_{privacy::Gaussian::Where::central, kBound, 3, kSecret};
  std::vector<float> eights_ = std::vector<float>(16, 8.0F);
};

TEST_F(ShardNoise, IsAddedToTheSumBeforeItIsDivided) {
  ShardJob job(options());
  job.init_all(8);
  push_all(job, 0, 1, 2.0F);
  EXPECT_THAT(parameters(job, 1, 1),
              ElementsAreArray(expected(0, 1, std::vector<float>(16, 8.0F), eights_)));
}

// Nobody drew an example: the partitions push zeros, and count for as much as ever.
TEST_F(ShardNoise, AloneMovesTheParametersInAStepWithoutExamples) {
  ShardJob job(options());
  job.init_all(8);
  push_all(job, 0, 2, 0.0F);
  EXPECT_THAT(parameters(job, 1, 2),
              ElementsAreArray(expected(0, 2, std::vector<float>(16, 0.0F), eights_)));
}

TEST_F(ShardNoise, IsAnotherInEachStepAndChunk) {
  ShardJob job(options());
  job.init_all(8);
  for (const std::uint32_t chunk : {0U, 1U}) push_all(job, 0, chunk, 0.0F);
  const auto first = parameters(job, 1, 0);
  EXPECT_NE(parameters(job, 1, 1), first);
  push_all(job, 1, 0, 0.0F);
  EXPECT_THAT(parameters(job, 2, 0),
              ElementsAreArray(expected(1, 0, std::vector<float>(16, 0.0F), first)));
}

TEST_F(ShardNoise, APushThatIsRepeatedIsNotNoisedAgain) {
  ShardJob job(options());
  job.init_all(8);
  push_all(job, 0, 1, 2.0F);
  const auto once = parameters(job, 1, 1);
  push_all(job, 0, 1, 2.0F);
  EXPECT_EQ(parameters(job, 1, 1), once);
}

// What is combined with noise later may not be looked at before.
TEST_F(ShardNoise, GoesWithNothingThatLooksAtTheSumFirst) {
  ShardJobOptions clips = options(), skips = options(), lossy = options();
  clips.clip_norm = 1;
  skips.skip_non_finite = true;
  lossy.lossy_push = true;
  for (const ShardJobOptions& with : {clips, skips, lossy}) EXPECT_THROW(ShardJob{with}, Error);
}

}  // namespace
}  // namespace sheaf::server
