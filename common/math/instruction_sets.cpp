// Which of what was compiled for several instruction sets this processor can run. A file of its
// own, so that a program without the wide ones can say so instead (the fuzzers).
#include <array>

#include "common/math/codec_set.h"
#include "common/math/kernel_set.h"

namespace sheaf::math {
namespace {

constexpr std::array<const KernelSet*, 3> kKernelSets = {&kKernelsV2, &kKernelsV3, &kKernelsV4};
constexpr std::array<const CodecSet*, 3> kCodecSets = {&kCodecsV2, &kCodecsV3, &kCodecsV4};

// Asks for what the operating system saves and restores, too. The rest of the program needs v2.
std::size_t supported() {
  const bool v3 = __builtin_cpu_supports("x86-64-v3") != 0;
  const bool v4 = v3 && __builtin_cpu_supports("x86-64-v4") != 0;
  return v4 ? 3 : v3 ? 2 : 1;
}

}  // namespace

std::span<const KernelSet* const> supported_kernels() {
  return std::span(kKernelSets).first(supported());
}

std::span<const CodecSet* const> supported_codecs() {
  return std::span(kCodecSets).first(supported());
}

}  // namespace sheaf::math
