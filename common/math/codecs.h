// Floats to fewer bits and back, in passes over a chunk: what compressors spend their time in.
// Written once and compiled for several instruction sets like kernels.h, with the same promises:
// the same bits on each, a plain twin in scalar_codecs.cpp, thread-safe. The bytes are those of
// common/compression/FORMAT.md. Inputs and outputs do not overlap.
//
// What encodes returns whether all of `x` is finite; if not, what was written is of no use. What
// adds computes y += decoded, and expects bytes that were found sound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sheaf::math {

struct RoundingKey;  // block_code.h

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

// IEEE binary16 and bfloat16, two bytes a value: to nearest, ties to even; beyond the largest
// finite number, that one. REQUIRES: two bytes for each value.
enum class Float16 { half, bfloat };
bool to_float16(Float16 kind, std::span<const float> x, Bytes y);
bool is_finite(Float16 kind, ConstBytes x);
void add_float16(Float16 kind, ConstBytes x, std::span<float> y);

// Blocks of integers with a scale (block_code.h): codes of 8 bits, or of 4 bits, two a byte, the
// first one low. Rounded to nearest, or at random with the bits of a key; null: to nearest.
struct CodeBlocks {
  unsigned bits = 8;       // 8 or 4
  std::size_t block = 64;  // values; even, at most kMostBlock. The last block may be shorter.
};
inline constexpr std::size_t kMostBlock = 1024;
bool to_codes(const CodeBlocks& blocks, std::span<const float> x, const RoundingKey* random,
              Bytes exponents, Bytes codes);
void add_codes(const CodeBlocks& blocks, ConstBytes exponents, ConstBytes codes,
               std::span<float> y);

// Blocks of signs with a scale each, the mean magnitude of the block in fp32 (16 lanes, a tree):
// a bit for each value, 1 = negative, the first one lowest; unused bits of the last byte are 0.
// REQUIRES: `block` is a power of two, at least 64.
bool to_signs(std::size_t block, std::span<const float> x, Bytes scales, Bytes bits);
void add_signs(std::size_t block, ConstBytes scales, ConstBytes bits, std::span<float> y);

// Bit i of the words, the first one lowest: whether the magnitude of x[i], its bits without the
// sign, is at least `lowest`. Unused bits are 0. REQUIRES: lowest >= 1.
void mark_large(std::span<const float> x, std::uint32_t lowest, std::span<std::uint64_t> words);

}  // namespace sheaf::math
