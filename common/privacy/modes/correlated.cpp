// Correlated noise as a job file describes it; it is armed with its noise, secret and branches when
// the job has begun, and hides nothing before.
#include <memory>

#include "common/base/error.h"
#include "common/config/section.h"
#include "common/privacy/correlated/correlated_gaussian.h"

namespace sheaf::privacy {
namespace {

class DescribedCorrelated final : public Mechanism {
 public:
  DescribedCorrelated(const Clip& clip, std::size_t bands) : clip_(clip), bands_(bands) {}

  std::optional<Clip> clip() const override { return clip_; }
  bool perturbs_at_worker() const override { return false; }
  bool perturbs_at_server() const override { return true; }
  std::size_t bands() const override { return bands_; }
  wire::Digest perturb(std::span<float>, const NoiseKey&) const override {
    fail(Fault::internal, "noise was asked for before the job had its secrets");
  }
  std::unique_ptr<Mechanism> armed(double noise, const wire::Digest& secret,
                                   std::span<const NoiseBranch> branches) const override {
    return std::make_unique<CorrelatedGaussian>(clip_, bands_, noise, secret, branches);
  }

 private:
  Clip clip_;
  std::size_t bands_;
};

std::unique_ptr<Mechanism> make_correlated(const config::Section& section) {
  const auto bands = static_cast<std::size_t>(section.integer("bands", 16, {1, 4096}));
  return std::make_unique<DescribedCorrelated>(read_clip(section), bands);
}

}  // namespace

extern const Mode<Mechanism> mechanism_correlated = {
    "examples are clipped, and servers add normal noise that later steps take back in part "
    "(DP-FTRL): for examples in a fixed order, without sampling",
    &make_correlated};

}  // namespace sheaf::privacy
