// How often this process has called operator new. Counted in the program itself (one relaxed
// increment), so that `sheaf bench step` can show that a steady step allocates nothing.
#pragma once

#include <cstdint>

namespace sheaf::launcher {

std::uint64_t allocation_count();

}  // namespace sheaf::launcher
