#include "server/consistency/bulk_synchronous.h"

namespace sheaf::server {
namespace {

std::unique_ptr<Gate> make_bsp(const config::Section&) {
  return std::make_unique<BulkSynchronous>();
}

}  // namespace

extern const Mode<Gate> gate_bsp = {"every step waits for every partition; same bits on every run",
                                    &make_bsp};

}  // namespace sheaf::server
