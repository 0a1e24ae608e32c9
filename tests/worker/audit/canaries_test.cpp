// Canaries as data, and what becomes of their gradients, in closed form.
#include "worker/audit/canaries.h"

#include <gmock/gmock.h>

#include <vector>

#include "common/privacy/clip.h"
#include "worker/data/examples.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

const std::vector<Canary> kSix = {Canary::plus, Canary::none, Canary::minus,
                                  Canary::none, Canary::plus, Canary::minus};

Examples all_of(Source& source) {
  Examples examples(source.schema());
  source.read(SourcePart::train, [](std::uint64_t) { return true; }, examples);
  return examples;
}

std::vector<float> copy_of(std::span<const float> values) { return {values.begin(), values.end()}; }

TEST(CanariesTest, TheSideIsTheLeastWhoseSquareIsEnough) {
  EXPECT_EQ(canary_side(1), 1U);
  EXPECT_EQ(canary_side(4), 2U);
  EXPECT_EQ(canary_side(5), 3U);
  EXPECT_EQ(canary_side(50'000), 224U);
}

TEST(CanariesTest, EachHasAFeatureAndAUnitAndZerosStandForThoseThatAreNotThere) {
  const auto source = canary_source(kSix, 100);
  EXPECT_EQ(source->schema(), (Schema{3, 3, false}));
  EXPECT_EQ(source->rows(SourcePart::train), 6U);
  EXPECT_EQ(source->rows(SourcePart::test), 0U);
  const Examples examples = all_of(*source);
  ASSERT_EQ(examples.size(), 6U);
  EXPECT_THAT(copy_of(examples.floats(0)), ElementsAre(1, 0, 0));
  EXPECT_THAT(copy_of(examples.targets(0)), ElementsAre(-150, 0, 0));
  EXPECT_THAT(copy_of(examples.floats(1)), ElementsAre(0, 0, 0));
  EXPECT_THAT(copy_of(examples.targets(1)), ElementsAre(0, 0, 0));
  EXPECT_THAT(copy_of(examples.floats(4)), ElementsAre(0, 1, 0));
  EXPECT_THAT(copy_of(examples.targets(4)), ElementsAre(0, -150, 0));
  EXPECT_THAT(copy_of(examples.floats(5)), ElementsAre(0, 1, 0));
  EXPECT_THAT(copy_of(examples.targets(5)), ElementsAre(0, 0, 150));
}

TEST(CanariesTest, MayBeUsersWithSoManyExamplesEach) {
  const auto source = canary_source(kSix, 100, 3), one = canary_source(kSix, 100);
  EXPECT_EQ(source->rows(SourcePart::train), 18U);
  const std::vector<std::uint32_t> users = source->users();
  const Examples all = all_of(*source), each = all_of(*one);
  ASSERT_EQ(users.size(), 18U);
  ASSERT_EQ(all.size(), 18U);
  for (std::size_t row = 0; row < 18; ++row) {
    EXPECT_EQ(users[row], row / 3);
    EXPECT_EQ(copy_of(all.floats(row)), copy_of(each.floats(row / 3)));
    EXPECT_EQ(copy_of(all.targets(row)), copy_of(each.targets(row / 3)));
  }
}

// At any weights of usual size: without a bound the full length, within one the norm.
TEST(CanariesTest, GradientsLieOnTheWeightOfTheirOwnCanary) {
  constexpr float kLength = 1e6F;
  const auto source = canary_source(kSix, kLength);
  const Examples examples = all_of(*source);
  const auto model = canary_model(6);
  ASSERT_EQ(model->layout().size(), 9U);
  EXPECT_EQ(model->layer_without_example_rule(), std::nullopt);
  Batch batch = make_batch(6, model->schema());
  const std::vector<std::uint32_t> kept = {0, 1, 2, 3, 4, 5};
  examples.gather(kept, Normaliser(), batch);
  const std::vector<float> weights = {0.5F, -1, 2, 0.1F, 0, 3, -2, 1, 1};
  std::vector<float> gradient(9);
  model->reserve_clipping(6);
  model->gradient(weights, batch, {}, gradient);
  EXPECT_THAT(std::vector(gradient.begin(), gradient.begin() + 6),
              ElementsAre(FloatNear(kLength, 4), FloatNear(0, 4), FloatNear(-kLength, 4),
                          FloatNear(0, 4), FloatNear(kLength, 4), FloatNear(-kLength, 4)));
  const privacy::Clip clip{privacy::ClipKind::flat, 2, 0};
  EXPECT_EQ(model->clipped_gradient(weights, batch, {}, clip, gradient).left_out, 0U);
  const auto near = [](float value) { return FloatNear(value, 1e-4F); };
  EXPECT_THAT(gradient, ElementsAre(near(2), near(0), near(-2), near(0), near(2), near(-2), near(0),
                                    near(0), near(0)));
}

}  // namespace
}  // namespace sheaf::worker
