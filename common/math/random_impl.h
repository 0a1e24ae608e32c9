// The part of kernels_impl.h that draws random words: Philox4x32-10 on as many blocks at once as a
// register holds. Its scalar twin is philox() of common/base/random.h. Same rules as there.
//
// A word sits in the lower half of a 64-bit lane, whose upper half is anything: the one product
// that is needed, lower half by lower half, is an instruction of every set, and the compiler makes
// shifts and exclusive ors of plain operators.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace sheaf::math {
namespace {

#if defined(__AVX512F__)
using Wide = std::uint64_t __attribute__((vector_size(64)));
inline Wide low_product(Wide x, Wide y) {
  return Wide(_mm512_maskz_mul_epu32(0xFF, __m512i(x), __m512i(y)));
}
#elif defined(__AVX2__)
using Wide = std::uint64_t __attribute__((vector_size(32)));
inline Wide low_product(Wide x, Wide y) { return Wide(_mm256_mul_epu32(__m256i(x), __m256i(y))); }
#else
using Wide = std::uint64_t __attribute__((vector_size(16)));
inline Wide low_product(Wide x, Wide y) { return Wide(_mm_mul_epu32(__m128i(x), __m128i(y))); }
#endif

constexpr std::size_t kBlocks = sizeof(Wide) / sizeof(std::uint64_t);  // of one Wide

// The stream's name and key, where no store can change them.
struct PhiloxStream {
  std::uint32_t key0, key1, name0, name1, name2;
};

// Blocks first to first + kBlocks - 1; a block's four words follow each other.
inline void philox_blocks(const PhiloxStream& stream, std::uint32_t first, std::uint32_t* words) {
  Wide lane{}, front{}, back{};  // number of a lane; which of ab and cd, by turns, go where
  for (std::size_t j = 0; j < kBlocks; ++j) {
    lane[j] = j;
    front[j] = j / 2 + j % 2 * kBlocks;
    back[j] = front[j] + kBlocks / 2;
  }
  const Wide zero{};
  Wide a = lane + first, b = zero + stream.name0, c = zero + stream.name1, d = zero + stream.name2;
  std::uint32_t key0 = stream.key0, key1 = stream.key1;
  for (int round = 0; round < 10; ++round) {
    const Wide p0 = low_product(a, zero + 0xD2511F53U);
    const Wide p1 = low_product(c, zero + 0xCD9E8D57U);
    a = (p1 >> 32) ^ b ^ key0;
    b = p1;
    c = (p0 >> 32) ^ d ^ key1;
    d = p0;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  const Wide ab = (a & 0xFFFFFFFFU) | (b << 32);
  const Wide cd = (c & 0xFFFFFFFFU) | (d << 32);
  const Wide halves[2] = {__builtin_shuffle(ab, cd, front), __builtin_shuffle(ab, cd, back)};
  __builtin_memcpy(words, halves, sizeof halves);
}

void random_words(const std::uint32_t* key, const std::uint32_t* name, std::uint32_t first,
                  std::uint32_t* words, std::size_t blocks) {
  const PhiloxStream stream{key[0], key[1], name[0], name[1], name[2]};
  std::size_t i = 0;
  for (; i + kBlocks <= blocks; i += kBlocks) {
    philox_blocks(stream, first + static_cast<std::uint32_t>(i), words + 4 * i);
  }
  if (i == blocks) return;
  std::uint32_t last[4 * kBlocks];
  philox_blocks(stream, first + static_cast<std::uint32_t>(i), last);
  for (std::size_t j = 4 * i; j < 4 * blocks; ++j) words[j] = last[j - 4 * i];
}

// `ivdep`: y is x or apart from it.
void dropout(std::uint32_t below, float factor, const std::uint32_t* words, const float* x,
             float* y, std::size_t n) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i] * (words[i] < below ? 0.0F : factor);
}

}  // namespace
}  // namespace sheaf::math
