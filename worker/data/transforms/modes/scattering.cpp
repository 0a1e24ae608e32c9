// Scattering features of images (worker/data/transforms/scattering.h), each plane by itself, and
// after it, if wanted, a normalisation of groups of channels without parameters:
//   y = (x - mean) / sqrt(variance + 1e-5)
// over all values of a group in this example (Wu and He, "Group normalization", ECCV 2018). For
// private training on such features: Tramèr and Boneh, "Differentially private learning needs
// better features (or much more data)", ICLR 2021.
//
//   height, width       of the images; (planes x height x width) are the features of the source
//   scales = 2          J: outputs are averages over some 2^J pixels, one in 2^J rows and columns
//   orientations = 8    L
//   groups = 0          of the channels of all planes; 0: outputs stay as they are
#include "worker/data/transforms/scattering.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "common/config/section.h"
#include "worker/data/transforms/transform.h"

namespace sheaf::worker {
namespace {

constexpr std::int64_t kMostPixels = 256;  // of a side; an image's time grows with its cube

// A group that is nearly constant stays near 0 and does not become its rounding errors.
constexpr double kVarianceFloor = 1e-5;

void normalise(std::span<float> group) {
  const auto count = static_cast<double>(group.size());
  double mean = 0, squares = 0;
  for (const float value : group) mean += value;
  mean /= count;
  for (const float value : group) squares += (value - mean) * (value - mean);
  const double scale = 1 / std::sqrt(squares / count + kVarianceFloor);
  for (float& value : group) value = static_cast<float>((value - mean) * scale);
}

struct Options {
  ScatteringShape shape;
  std::size_t planes = 1;
  std::size_t groups = 0;
};

class ScatteringTransform final : public Transform {
 public:
  explicit ScatteringTransform(const Options& options) : options_(options) {}

  std::size_t outputs() const override { return options_.planes * plane_outputs(); }

  void apply(std::span<const float> inputs, std::span<float> outputs) override {
    if (!scattering_) scattering_.emplace(options_.shape);
    const std::size_t pixels = options_.shape.image.size();
    for (std::size_t p = 0; p < options_.planes; ++p) {
      scattering_->apply(inputs.subspan(p * pixels, pixels),
                         outputs.subspan(p * plane_outputs(), plane_outputs()));
    }
    if (options_.groups == 0) return;
    const std::size_t size = outputs.size() / options_.groups;
    for (std::size_t g = 0; g < options_.groups; ++g) normalise(outputs.subspan(g * size, size));
  }

 private:
  std::size_t plane_outputs() const {
    return options_.shape.channels() * options_.shape.outputs().size();
  }

  Options options_;
  std::optional<Scattering> scattering_;  // its filters, made when there is something to do
};

std::size_t count(const config::Section& section, std::string_view key,
                  std::optional<std::int64_t> otherwise, config::Bounds<std::int64_t> bounds) {
  return static_cast<std::size_t>(section.integer(key, otherwise, bounds));
}

// Faults of the keys against each other and, if they are known, against the features of the source.
void check_options(const config::Section& section, std::size_t features, Options& options) {
  const Grid image = options.shape.image;
  const bool image_is_sound = section.sound("height") && section.sound("width");
  const std::size_t step = options.shape.step(), side = std::min(image.height, image.width);
  if (image_is_sound && section.sound("scales") && step > side) {
    section.fault("scales", fmt::format("{}", options.shape.scales),
                  fmt::format("2^scales of at most {}, the shorter side of the images", side),
                  side > 1 ? fmt::format("{}", std::bit_width(side) - 1) : "");
  }
  if (features == 0 || !image_is_sound) return;
  if (features % image.size() != 0) {
    section.fault(
        "height", fmt::format("{} x {} pixels", image.height, image.width),
        fmt::format("height x width (x planes) of {}, the features of the source", features));
    return;
  }
  options.planes = features / image.size();
  const std::size_t channels = options.planes * options.shape.channels();
  if (options.groups != 0 && section.sound("groups") && channels % options.groups != 0) {
    section.fault("groups", fmt::format("{}", options.groups),
                  fmt::format("a divisor of the {} channels", channels));
  }
}

std::unique_ptr<Transform> make_scattering(const config::Section& section, std::size_t features) {
  Options options;
  options.shape.image.height = count(section, "height", std::nullopt, {2, kMostPixels});
  options.shape.image.width = count(section, "width", std::nullopt, {2, kMostPixels});
  options.shape.scales = count(section, "scales", 2, {1, 8});
  options.shape.orientations = count(section, "orientations", 8, {1, 32});
  options.groups = count(section, "groups", 0, {0, 1 << 20});
  check_options(section, features, options);
  return std::make_unique<ScatteringTransform>(options);
}

}  // namespace

extern const Mode<Transform> transform_scattering = {
    "averages of the moduli of wavelet coefficients of images, orders 0 to 2", &make_scattering};

}  // namespace sheaf::worker
