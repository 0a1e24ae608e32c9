#include "common/config/section.h"
#include "server/consistency/bulk_synchronous.h"

namespace sheaf::server {
namespace {

// Local steps (McMahan et al., AISTATS 2017; Stich, ICLR 2019): a partition goes `steps` steps of
// an optimizer of its own, then pushes how far it came. Rounds are as steps of bsp.
class Local final : public BulkSynchronous {
 public:
  explicit Local(const config::Section& section)
      : steps_(static_cast<std::uint32_t>(section.integer("steps", 8, {1, 10'000}))) {}
  std::uint32_t local_steps() const override { return steps_; }

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
