#include "common/math/codecs.h"

#include "common/math/codec_set.h"

namespace sheaf::math {
namespace {

const CodecSet& best_codecs() {
  static const CodecSet& chosen = *supported_codecs().back();
  return chosen;
}

std::size_t place(Float16 kind) { return static_cast<std::size_t>(kind); }
std::size_t place(const CodeBlocks& blocks) { return blocks.bits == 8 ? 0 : 1; }

}  // namespace

bool to_float16(Float16 kind, std::span<const float> x, Bytes y) {
  return best_codecs().to_float16[place(kind)](x.data(), y.data(), x.size());
}

bool is_finite(Float16 kind, ConstBytes x) {
  return best_codecs().is_finite[place(kind)](x.data(), x.size() / 2);
}

void add_float16(Float16 kind, ConstBytes x, std::span<float> y) {
  best_codecs().add_float16[place(kind)](x.data(), y.data(), y.size());
}

bool to_codes(const CodeBlocks& blocks, std::span<const float> x, const RoundingKey* random,
              Bytes exponents, Bytes codes) {
  return best_codecs().to_codes[place(blocks)](blocks.block, x.data(), x.size(), random,
                                               exponents.data(), codes.data());
}

void add_codes(const CodeBlocks& blocks, ConstBytes exponents, ConstBytes codes,
               std::span<float> y) {
  best_codecs().add_codes[place(blocks)](blocks.block, exponents.data(), codes.data(), y.data(),
                                         y.size());
}

bool to_signs(std::size_t block, std::span<const float> x, Bytes scales, Bytes bits) {
  return best_codecs().to_signs(block, x.data(), x.size(), scales.data(), bits.data());
}

void add_signs(std::size_t block, ConstBytes scales, ConstBytes bits, std::span<float> y) {
  best_codecs().add_signs(block, scales.data(), bits.data(), y.data(), y.size());
}

void mark_large(std::span<const float> x, std::uint32_t lowest, std::span<std::uint64_t> words) {
  best_codecs().mark_large(x.data(), x.size(), lowest, words.data());
}

}  // namespace sheaf::math
