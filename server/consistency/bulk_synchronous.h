// Bulk synchronous (Valiant 1990): a step is applied when every partition has contributed, and a
// partition that has finished t steps reads exactly version t. Version t stays readable until t + 2
// is written, so an open step can always be recomputed from the parameters it started with.
#pragma once

#include "server/consistency/gate.h"

namespace sheaf::server {

class BulkSynchronous : public Gate {
 public:
  bool synchronous() const override { return true; }
  std::optional<Step> staleness() const override { return 0; }
  bool may_apply(const Arrivals& arrivals) const override {
    return arrivals.covered == arrivals.partitions;
  }
  PullAnswer answer(Step clock, const Readable& readable) const override {
    if (clock < readable.oldest) return PullAnswer::never();
    return clock > readable.newest ? PullAnswer::later() : PullAnswer::now(clock);
  }
};

}  // namespace sheaf::server
