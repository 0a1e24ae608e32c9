// y is 1 with probability 1 / (1 + exp(-(weights . x + bias))), else 0; each input is N(0, 1).
//
//   examples, test_examples = 0      weights = [2.0, -1.0]      bias = 0.0
#include <cmath>

#include "common/config/section.h"
#include "worker/data/synthetic.h"

namespace sheaf::worker {
namespace {

class SyntheticLogistic final : public SyntheticSource {
 public:
  SyntheticLogistic(const config::Section& section, std::uint64_t seed)
      : SyntheticSource(section, seed),
        weights_(section.reals("weights", std::nullopt)),
        bias_(section.real("bias", 0.0)) {
    if (weights_.empty() && section.sound("weights")) {
      section.fault("weights", "no values", "one per input", "weights = [2.0, -1.0]");
    }
  }

  Schema schema() override { return {weights_.size(), 1}; }

 private:
  void make(Stream& stream, std::span<float> inputs, std::span<float> targets) const override {
    double z = bias_;
    for (std::size_t f = 0; f < inputs.size(); ++f) {
      inputs[f] = static_cast<float>(stream.normal());
      z += weights_[f] * static_cast<double>(inputs[f]);
    }
    targets[0] = stream.uniform_double() < 1.0 / (1.0 + std::exp(-z)) ? 1.0F : 0.0F;
  }

  std::vector<double> weights_;
  double bias_;
};

std::unique_ptr<Source> make_synthetic_logistic(const config::Section& section,
                                                std::uint64_t seed) {
  return std::make_unique<SyntheticLogistic>(section, seed);
}

}  // namespace

extern const Mode<Source> source_synthetic_logistic = {
    "made examples: two classes with known logistic odds", &make_synthetic_logistic};

}  // namespace sheaf::worker
