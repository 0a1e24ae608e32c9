#include "common/compression/float16.h"

namespace sheaf::compression {
namespace {

// IEEE 754 binary16: 11 bits of precision from 2^-14 to 65504. What is below 2^-25 becomes 0: where
// gradients are that small, bf16 keeps them.
std::unique_ptr<Compressor> make_fp16(const config::Section&) {
  return std::make_unique<Float16Compressor>("fp16", math::Float16::half, 0);
}

}  // namespace

extern const Mode<Compressor> compressor_fp16 = {"half precision; saturates at 65504", &make_fp16};

}  // namespace sheaf::compression
