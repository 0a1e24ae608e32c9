#include "server/consistency/gate.h"

namespace sheaf::server {
namespace {

// Bulk synchronous (Valiant 1990): a step is applied when every partition has contributed, and a
// partition that has finished t steps reads exactly version t. Version t stays readable until t + 2
// is written, so an open step can always be recomputed from the parameters it started with.
class Bsp final : public Gate {
 public:
  bool may_apply(const Arrivals& arrivals) const override {
    return arrivals.covered == arrivals.partitions;
  }
  std::optional<Version> answer(Step clock, Version oldest, Version newest) const override {
    if (clock < oldest || clock > newest) return std::nullopt;
    return clock;
  }
};

std::unique_ptr<Gate> make_bsp(const config::Section&) { return std::make_unique<Bsp>(); }

}  // namespace

extern const Mode<Gate> gate_bsp = {"every step waits for every partition; same bits on every run",
                                    &make_bsp};

}  // namespace sheaf::server
