// The order of what happens to a gradient before it leaves its partition, as the compiler sees it:
// a program that takes another order does not compile.
#include "worker/step/release.h"

#include <gmock/gmock.h>

#include <array>
#include <type_traits>

#include "common/config/section.h"
#include "common/privacy/gaussian.h"
#include "worker/step/partition_gradient.h"

namespace sheaf::worker {
namespace {

using Floats = std::span<float>;
using privacy::Mechanism;
using privacy::NoiseKey;

// Nobody but PartitionGradient says that something is clipped.
static_assert(!std::is_constructible_v<Clipped, Floats>);
static_assert(!std::is_default_constructible_v<Clipped>);
// What is not clipped cannot be noised.
static_assert(!std::is_constructible_v<Noised, Floats, const Mechanism&, const NoiseKey&>);
static_assert(std::is_constructible_v<Noised, Clipped, const Mechanism&, const NoiseKey&>);
// Without a mechanism and the name of the noise nothing is noised.
static_assert(!std::is_constructible_v<Noised, Clipped>);
static_assert(!std::is_constructible_v<Noised, Floats>);
// A Clipped gives its values to nobody, so that it cannot be encoded.
template <typename T>
concept GivesValues = requires(const T& t) { t.values(); };
static_assert(!GivesValues<Clipped> && GivesValues<Noised>);
// Nor is anything but a Clipped handed to a server that adds the noise.
static_assert(!std::is_invocable_v<decltype(for_server), Floats, const Mechanism&>);
static_assert(std::is_invocable_v<decltype(for_server), Clipped, const Mechanism&>);

TEST(Release, WhatAServerIsToNoiseMeetsNoCompressor) {
  const auto document = config::Document::from_text(
      "[model]\nloss = \"mse\"\nlayers = [{ kind = \"dense\", units = 1 }]\n", "job.toml");
  Model model(document->root().table("model"), {1, 1});
  std::array<float, 2> values = {1, 2};
  const privacy::Clip clip{};
  const privacy::Gaussian central(privacy::Gaussian::Where::central, clip, 1, {});
  const privacy::Gaussian local(privacy::Gaussian::Where::local, clip, 1, {});
  const Clipped from_central = PartitionGradient(model, central).chunk(values);
  EXPECT_EQ(for_server(from_central, central).size(), sizeof values);
  EXPECT_EQ(values[0], 1);  // as it is
  EXPECT_THROW(Noised(from_central, central, {}), Error);
  const Clipped from_local = PartitionGradient(model, local).chunk(values);
  EXPECT_THROW(for_server(from_local, local), Error);
  EXPECT_NE(Noised(from_local, local, {}).values()[0], 1);
}

}  // namespace
}  // namespace sheaf::worker
