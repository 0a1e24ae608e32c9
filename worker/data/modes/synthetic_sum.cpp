// y is the sum of the inputs, each uniform in [0, 1).
//
//   examples, test_examples = 0      features = 10
#include "common/config/section.h"
#include "worker/data/synthetic.h"

namespace sheaf::worker {
namespace {

class SyntheticSum final : public SyntheticSource {
 public:
  SyntheticSum(const config::Section& section, std::uint64_t seed)
      : SyntheticSource(section, seed),
        features_(static_cast<std::size_t>(section.integer("features", 10, {1, kMostFeatures}))) {}

  Schema schema() override { return {features_, 1}; }

 private:
  void make(Stream& stream, std::span<float> inputs, std::span<float> targets) const override {
    double sum = 0;
    for (float& input : inputs) {
      input = stream.uniform();
      sum += static_cast<double>(input);
    }
    targets[0] = static_cast<float>(sum);
  }

  std::size_t features_;
};

std::unique_ptr<Source> make_synthetic_sum(const config::Section& section, std::uint64_t seed) {
  return std::make_unique<SyntheticSum>(section, seed);
}

}  // namespace

extern const Mode<Source> source_synthetic_sum = {"made examples: the sum of the inputs",
                                                  &make_synthetic_sum};

}  // namespace sheaf::worker
