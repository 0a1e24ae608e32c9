#include "common/config/section.h"
#include "server/consistency/gate.h"

namespace sheaf::server {
namespace {

// Local steps (McMahan et al., AISTATS 2017; Stich, ICLR 2019): a partition goes `steps` steps of
// an optimizer of its own, then pushes how far it came. Rounds are as steps of bsp: every partition
// contributes to each, and reads exactly the version that all have made.
class Local final : public Gate {
 public:
  explicit Local(const config::Section& section)
      : steps_(static_cast<std::uint32_t>(section.integer("steps", 8, {1, 10'000}))) {}

  bool synchronous() const override { return true; }
  std::optional<Step> staleness() const override { return 0; }
  std::uint32_t local_steps() const override { return steps_; }
  bool may_apply(const Arrivals& arrivals) const override {
    return arrivals.covered == arrivals.partitions;
  }
  PullAnswer answer(Step clock, const Readable& readable) const override {
    if (clock < readable.oldest) return PullAnswer::never();
    return clock > readable.newest ? PullAnswer::later() : PullAnswer::now(clock);
  }

 private:
  std::uint32_t steps_;
};

std::unique_ptr<Gate> make_local(const config::Section& section) {
  return std::make_unique<Local>(section);
}

}  // namespace

extern const Mode<Gate> gate_local = {
    "`steps` steps of each partition by itself, then one of all; same bits on every run",
    &make_local};

}  // namespace sheaf::server
