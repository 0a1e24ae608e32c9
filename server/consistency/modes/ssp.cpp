#include "common/config/section.h"
#include "server/consistency/delayed_rate.h"
#include "server/consistency/gate.h"

namespace sheaf::server {
namespace {

// Stale synchronous parallel (Ho et al., NIPS 2013): each push is applied when it comes, and a
// partition that has finished c steps reads a version with every push of the steps before c - s of
// all partitions, and all its own. So nobody is more than s steps ahead of the slowest.
class Ssp final : public Gate {
 public:
  explicit Ssp(const config::Section& section)
      : staleness_(static_cast<Step>(section.integer("staleness", 3, {0, 1'000'000}))),
        rate_(section) {}

  bool synchronous() const override { return false; }
  std::optional<Step> staleness() const override { return staleness_; }
  bool may_apply(const Arrivals& arrivals) const override { return arrivals.covered != 0; }
  PullAnswer answer(Step clock, const Readable& readable) const override {
    if (readable.own < clock || readable.slowest + staleness_ < clock) return PullAnswer::later();
    return PullAnswer::now(readable.newest);
  }
  double rate_scale(Version delay) const override { return rate_.scale(delay); }

 private:
  Step staleness_;
  DelayedRate rate_;
};

std::unique_ptr<Gate> make_ssp(const config::Section& section) {
  return std::make_unique<Ssp>(section);
}

}  // namespace

extern const Mode<Gate> gate_ssp = {
    "each push is a step; nobody is more than `staleness` steps ahead of the slowest", &make_ssp};

}  // namespace sheaf::server
