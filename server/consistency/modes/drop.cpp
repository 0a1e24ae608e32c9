#include "common/config/section.h"
#include "server/consistency/gate.h"

namespace sheaf::server {
namespace {

// Bulk synchronous with backup workers (Chen, Pan, Monga, Bengio, Jozefowicz: Revisiting
// distributed synchronous SGD, 2016): a step is taken when all but `backup` partitions have pushed;
// the mean is over their examples. What comes later is dropped, and whoever is behind goes on from
// the newest version.
class Drop final : public Gate {
 public:
  explicit Drop(const config::Section& section)
      : backup_(static_cast<std::uint32_t>(section.integer("backup", 1, {1, 4095}))) {}

  bool synchronous() const override { return true; }
  std::uint32_t backup() const override { return backup_; }
  std::optional<Step> staleness() const override { return std::nullopt; }
  bool may_apply(const Arrivals& arrivals) const override {
    return arrivals.covered != 0 && arrivals.partitions - arrivals.covered <= backup_;
  }
  PullAnswer answer(Step clock, const Readable& readable) const override {
    return clock > readable.newest ? PullAnswer::later() : PullAnswer::now(readable.newest);
  }

 private:
  std::uint32_t backup_;
};

std::unique_ptr<Gate> make_drop(const config::Section& section) {
  return std::make_unique<Drop>(section);
}

}  // namespace

extern const Mode<Gate> gate_drop = {
    "every step goes without the last `backup` partitions, whose pushes are dropped", &make_drop};

}  // namespace sheaf::server
