#include "common/math/kernels_impl.h"

namespace sheaf::math {

constinit const KernelSet kKernelsV4 = kernel_set("x86-64-v4");

}  // namespace sheaf::math
