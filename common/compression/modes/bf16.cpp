#include "common/compression/float16.h"

namespace sheaf::compression {
namespace {

// The upper half of a float, rounded: 8 bits of precision over the whole range. A normal value is
// wrong by 2^-8 of itself at most, even where it saturates.
std::unique_ptr<Compressor> make_bf16(const config::Section&) {
  return std::make_unique<Float16Compressor>("bf16", math::Float16::bfloat, 1 - 0x1p-16);
}

}  // namespace

extern const Mode<Compressor> compressor_bf16 = {"bfloat16: the range of a float, 8 bits of it",
                                                 &make_bf16};

}  // namespace sheaf::compression
