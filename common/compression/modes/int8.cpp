#include "common/compression/block_codes.h"

namespace sheaf::compression {
namespace {

std::unique_ptr<Compressor> make_int8(const config::Section& section) {
  return std::make_unique<BlockCodes>("int8", 8, section);
}

}  // namespace

extern const Mode<Compressor> compressor_int8 = {
    "8 bits a value and a power-of-two scale a block; rounds to nearest or stochastically",
    &make_int8};

}  // namespace sheaf::compression
