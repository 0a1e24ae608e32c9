#include "common/math/codecs_impl.h"
#include "common/math/kernels_impl.h"

namespace sheaf::math {

constinit const KernelSet kKernelsV2 = kernel_set();
constinit const CodecSet kCodecsV2 = codec_set();

}  // namespace sheaf::math
