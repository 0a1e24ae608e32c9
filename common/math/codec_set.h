// The functions of codecs.h over raw memory, compiled once per instruction set. As kernel_set.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/math/codecs.h"

namespace sheaf::math {

struct CodecSet {
  const char* name;

  // By Float16.
  bool (*to_float16[2])(const float* x, std::byte* y, std::size_t n);
  bool (*is_finite[2])(const std::byte* x, std::size_t n);
  void (*add_float16[2])(const std::byte* x, float* y, std::size_t n);

  // By bits: 8, 4. `random` may be null.
  bool (*to_codes[2])(std::size_t block, const float* x, std::size_t n, const RoundingKey* random,
                      std::byte* exponents, std::byte* codes);
  void (*add_codes[2])(std::size_t block, const std::byte* exponents, const std::byte* codes,
                       float* y, std::size_t n);

  bool (*to_signs)(std::size_t block, const float* x, std::size_t n, std::byte* scales,
                   std::byte* bits);
  void (*add_signs)(std::size_t block, const std::byte* scales, const std::byte* bits, float* y,
                    std::size_t n);

  void (*mark_large)(const float* x, std::size_t n, std::uint32_t lowest, std::uint64_t* words);
};

extern const CodecSet kCodecsV2, kCodecsV3, kCodecsV4;
// The plain twin: one value at a time, in the words of codecs.h. Slow; the reference of the tests.
extern const CodecSet kScalarCodecs;

// The sets that this processor can run, narrowest first; never empty.
std::span<const CodecSet* const> supported_codecs();

}  // namespace sheaf::math
