#include "worker/data/transforms/transformed_source.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>

#include "common/config/section.h"
#include "worker/data/examples.h"
#include "worker/data/transforms/scattering.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Made {
  std::unique_ptr<config::Document> document;
  std::unique_ptr<Transform> transform;
};

Made make_scattering(const std::string& keys, std::size_t features) {
  Made made;
  made.document = config::Document::from_text("[transform]\n" + keys, "job.toml");
  made.transform = find_mode(transforms(), "scattering")
                       ->make(made.document->root().table("transform"), features);
  return made;
}

std::vector<std::string> faults(const std::string& keys, std::size_t features) {
  return make_scattering(keys, features).document->faults();
}

std::vector<float> ramp(std::size_t size) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<float>(i * i % 255) / 255;
  return values;
}

TEST(TransformedSourceTest, ScatteringSaysWhichOfItsKeysDoNotFit) {
  EXPECT_THAT(faults("height = 28\nwidth = 28", 784), IsEmpty());
  EXPECT_THAT(faults("height = 28\nwidth = 28", 0), IsEmpty());  // not known yet
  EXPECT_THAT(faults("height = 28\nwidth = 27", 784),
              ElementsAre("job.toml:2:1: transform.height: found 28 x 27 pixels, expected height x "
                          "width (x planes) of 784, the features of the source"));
  EXPECT_THAT(faults("height = 4\nwidth = 8\nscales = 3", 32),
              ElementsAre("job.toml:4:1: transform.scales: found 3, expected 2^scales of at most "
                          "4, the shorter side of the images, try 2"));
  EXPECT_THAT(faults("height = 8\nwidth = 8\ngroups = 2", 64),
              ElementsAre("job.toml:4:1: transform.groups: found 2, expected a divisor of the 81 "
                          "channels"));
  EXPECT_THAT(faults("height = 8\nwidth = 8\ngroups = 2", 128), IsEmpty());  // two planes
  EXPECT_THAT(faults("width = 8", 64),
              ElementsAre("job.toml:1:1: transform.height: found nothing, expected an integer from "
                          "2 to 256"));
}

TEST(TransformedSourceTest, EachPlaneIsScatteredByItself) {
  const auto made = make_scattering("height = 8\nwidth = 8", 192);
  const auto image = ramp(192);
  std::vector<float> all(made.transform->outputs());
  made.transform->apply(image, all);
  ASSERT_EQ(all.size(), 3U * 81 * 4);
  Scattering plane({{8, 8}, 2, 8});
  std::vector<float> expected(81 * 4);
  for (std::size_t p = 0; p < 3; ++p) {
    plane.apply(std::span(image).subspan(p * 64, 64), expected);
    EXPECT_THAT(std::span(all).subspan(p * 81 * 4, 81 * 4), testing::ElementsAreArray(expected));
  }
}

// Against the outputs without groups: (x - mean) / sqrt(variance + 1e-5), so that the variance
// comes to v / (v + 1e-5).
TEST(TransformedSourceTest, AGroupHasMeanZeroAndVarianceOne) {
  const auto image = ramp(256);
  const auto plain = make_scattering("height = 16\nwidth = 16", 256);
  const auto grouped = make_scattering("height = 16\nwidth = 16\ngroups = 27", 256);
  std::vector<float> before(plain.transform->outputs()), after(grouped.transform->outputs());
  plain.transform->apply(image, before);
  grouped.transform->apply(image, after);
  const std::size_t size = 3 * 16;  // channels of a group x outputs of one
  ASSERT_EQ(after.size(), 27 * size);
  const auto moments = [size](const float* values) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < size; ++i) mean += values[i] / static_cast<double>(size);
    for (std::size_t i = 0; i < size; ++i) {
      variance += (values[i] - mean) * (values[i] - mean) / static_cast<double>(size);
    }
    return std::pair(mean, variance);
  };
  for (std::size_t g = 0; g < 27; ++g) {
    const auto [mean, variance] = moments(before.data() + g * size);
    const auto [new_mean, new_variance] = moments(after.data() + g * size);
    EXPECT_NEAR(new_mean, 0, 1e-6);
    EXPECT_NEAR(new_variance, variance / (variance + 1e-5), 1e-5);
    const double expected = (before[g * size] - mean) / std::sqrt(variance + 1e-5);
    EXPECT_NEAR(after[g * size], expected, 1e-5 * (1 + std::abs(expected)));
  }
}

// Rows of 16 bytes, so that what the transform sees can be told.
class ByteSource final : public Source {
 public:
  Schema schema() override { return {16, 1, true}; }
  std::uint64_t rows(SourcePart part) override { return part == SourcePart::train ? 9 : 4; }
  void read(SourcePart part, const RowFilter& keep, Examples& into) override {
    for (std::uint64_t row = 0; row < rows(part); ++row) {
      if (!keep(row)) continue;
      std::vector<std::uint8_t> bytes(16);
      for (std::size_t i = 0; i < 16; ++i) bytes[i] = static_cast<std::uint8_t>(16 * row + i);
      const float target = static_cast<float>(row);
      into.append(row, bytes, std::span(&target, 1));
    }
  }
  std::string locate(SourcePart, std::uint64_t row) const override {
    return fmt::format("{}", row);
  }
  std::vector<std::filesystem::path> files() const override { return {"a file"}; }
  Normalisation default_normalisation() const override { return Normalisation::unit; }
};

// Keeps all values, doubled.
class Doubling final : public Transform {
 public:
  std::size_t outputs() const override { return 32; }
  void apply(std::span<const float> inputs, std::span<float> outputs) override {
    for (std::size_t i = 0; i < 16; ++i) outputs[i] = outputs[16 + i] = 2 * inputs[i];
  }
};

TEST(TransformedSourceTest, RowsTargetsAndPlacesAreThoseOfTheSource) {
  const auto source = transformed(std::make_unique<ByteSource>(), std::make_unique<Doubling>());
  EXPECT_EQ(source->schema(), (Schema{32, 1, false}));
  EXPECT_EQ(source->rows(SourcePart::train), 9U);
  EXPECT_EQ(source->rows(SourcePart::test), 4U);
  EXPECT_EQ(source->locate(SourcePart::train, 5), "5");
  EXPECT_THAT(source->files(), ElementsAre("a file"));
  EXPECT_EQ(source->default_normalisation(), Normalisation::none);
  Examples some(source->schema());
  source->read(SourcePart::train, [](std::uint64_t row) { return row % 4 == 3; }, some);
  ASSERT_EQ(some.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(some.row(i), 4 * i + 3);
    EXPECT_EQ(some.targets(i)[0], static_cast<float>(4 * i + 3));
    for (std::size_t f = 0; f < 32; ++f) {
      EXPECT_FLOAT_EQ(some.floats(i)[f], 2 * static_cast<float>(16 * (4 * i + 3) + f % 16) / 255);
    }
  }
}

TEST(TransformedSourceTest, WithoutATransformItIsTheSource) {
  auto source = std::make_unique<ByteSource>();
  const Source* same = source.get();
  EXPECT_EQ(transformed(std::move(source), nullptr).get(), same);
}

}  // namespace
}  // namespace sheaf::worker
