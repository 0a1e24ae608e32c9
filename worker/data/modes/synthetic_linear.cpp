// y = slope . x + intercept + noise, with x uniform in [low, high).
//
//   examples, test_examples = 0      features = 1
//   slope = 3.0                      the same for each feature, or slopes = [3.0, …], one each
//   intercept = 0.0                  low = 0.0, high = 1.0
//   noise = "none"                   "uniform": U(0, noise_scale); "normal": mean 0 and standard
//                                    deviation noise_scale
#include <fmt/format.h>

#include <array>
#include <string>

#include "common/config/section.h"
#include "worker/data/synthetic.h"

namespace sheaf::worker {
namespace {

constexpr std::array<std::string_view, 3> kNoise = {"none", "uniform", "normal"};

std::vector<double> read_slopes(const config::Section& section) {
  const auto features =
      static_cast<std::size_t>(section.integer("features", 1, {1, kMostFeatures}));
  if (!section.has("slopes")) {
    return std::vector<double>(features, section.real("slope", std::nullopt));
  }
  std::vector<double> slopes = section.reals("slopes", std::nullopt);
  if (section.sound("slopes") && slopes.size() != features) {
    section.fault("slopes", std::to_string(slopes.size()) + " values",
                  std::to_string(features) + " (features)",
                  "features = " + std::to_string(slopes.size()));
  }
  return slopes;
}

class SyntheticLinear final : public SyntheticSource {
 public:
  SyntheticLinear(const config::Section& section, std::uint64_t seed)
      : SyntheticSource(section, seed),
        slopes_(read_slopes(section)),
        intercept_(section.real("intercept", 0.0)),
        low_(static_cast<float>(section.real("low", 0.0))),
        high_(static_cast<float>(section.real("high", 1.0))),
        noise_(section.word("noise", kNoise, "none")) {
    if (noise_ != "none") scale_ = section.real("noise_scale", std::nullopt, {config::kAboveZero});
    if (!(low_ < high_) && section.sound("low") && section.sound("high")) {
      section.fault("high", fmt::format("{}", high_), fmt::format("more than low = {}", low_));
    }
  }

  Schema schema() override { return {slopes_.size(), 1}; }

 private:
  void make(Stream& stream, std::span<float> inputs, std::span<float> targets) const override {
    double y = intercept_;
    for (std::size_t f = 0; f < inputs.size(); ++f) {
      inputs[f] = low_ + (high_ - low_) * stream.uniform();
      y += slopes_[f] * static_cast<double>(inputs[f]);
    }
    if (noise_ == "uniform") y += scale_ * stream.uniform_double();
    if (noise_ == "normal") y += scale_ * stream.normal();
    targets[0] = static_cast<float>(y);
  }

  std::vector<double> slopes_;
  double intercept_;
  float low_;
  float high_;
  std::string noise_;
  double scale_ = 0;
};

std::unique_ptr<Source> make_synthetic_linear(const config::Section& section, std::uint64_t seed) {
  return std::make_unique<SyntheticLinear>(section, seed);
}

}  // namespace

extern const Mode<Source> source_synthetic_linear = {
    "made examples: a line or plane, with uniform or normal noise", &make_synthetic_linear};

}  // namespace sheaf::worker
