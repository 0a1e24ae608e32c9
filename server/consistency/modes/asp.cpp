#include "common/config/section.h"
#include "server/consistency/delayed_rate.h"
#include "server/consistency/gate.h"

namespace sheaf::server {
namespace {

// Asynchronous (Recht et al., NIPS 2011; Dean et al., NIPS 2012): each push is applied when it
// comes, and a pull reads what there is, with all pushes of its own partitions. Nobody waits, and
// nothing bounds how far one is ahead of another.
class Asp final : public Gate {
 public:
  explicit Asp(const config::Section& section) : rate_(section) {}

  bool synchronous() const override { return false; }
  std::optional<Step> staleness() const override { return std::nullopt; }
  bool may_apply(const Arrivals& arrivals) const override { return arrivals.covered != 0; }
  PullAnswer answer(Step clock, const Readable& readable) const override {
    return readable.own < clock ? PullAnswer::later() : PullAnswer::now(readable.newest);
  }
  double rate_scale(Version delay) const override { return rate_.scale(delay); }

 private:
  DelayedRate rate_;
};

std::unique_ptr<Gate> make_asp(const config::Section& section) {
  return std::make_unique<Asp>(section);
}

}  // namespace

extern const Mode<Gate> gate_asp = {"each push is a step and nobody waits; delays have no bound",
                                    &make_asp};

}  // namespace sheaf::server
