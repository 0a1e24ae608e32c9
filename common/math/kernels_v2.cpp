#include "common/math/kernels_impl.h"

namespace sheaf::math {

constinit const KernelSet kKernelsV2 = kernel_set("x86-64-v2");

}  // namespace sheaf::math
