#include "common/math/kernels_impl.h"

namespace sheaf::math {

constinit const KernelSet kKernelsV2 = kernel_set();

}  // namespace sheaf::math
