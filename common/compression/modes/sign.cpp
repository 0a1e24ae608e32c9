#include "common/base/error.h"
#include "common/compression/block_codes.h"
#include "common/compression/refusals.h"
#include "common/math/codecs.h"

namespace sheaf::compression {
namespace {

// The sign of each value times the mean magnitude of its block (Karimireddy et al., "Error feedback
// fixes SignSGD", ICML 2019, where the block is a layer): of all vectors with these signs and one
// magnitude the nearest, at a distance of ||x||^2 - ||x||_1^2 / d in a block of d. Without error
// feedback it does not converge in general.
class Sign final : public Compressor {
 public:
  explicit Sign(const config::Section& section) : block_(read_block(section, 256, 64, 4096)) {}

  Promises promises(std::size_t) const override {
    return {.contraction = 1 / static_cast<double>(block_)};  // of one spike among zeros
  }
  std::size_t max_bytes(std::size_t elements) const override {
    return scale_bytes(elements) + (elements + 7) / 8;
  }
  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override {
    const std::size_t scales = scale_bytes(values.size());
    if (!math::to_signs(block_, values, bytes.first(scales), bytes.subspan(scales))) {
      fail_not_finite(key);
    }
    return max_bytes(values.size());
  }
  void decode_add(std::span<const std::byte> bytes, const EncodingKey&,
                  std::span<float> sum) const override {
    expect_bytes("sign", bytes.size(), max_bytes(sum.size()), sum.size());
    const auto scales = bytes.first(scale_bytes(sum.size()));
    const auto bits = bytes.subspan(scales.size());
    expect_magnitudes("sign", scales);
    if (sum.size() % 8 != 0 && std::to_integer<unsigned>(bits.back()) >> (sum.size() % 8) != 0) {
      fail(Fault::network, "compressor sign: found bits behind the last of {} values", sum.size());
    }
    math::add_signs(block_, scales, bits, sum);
  }

 private:
  std::size_t scale_bytes(std::size_t elements) const {
    return (elements + block_ - 1) / block_ * sizeof(float);
  }

  std::size_t block_;
};

std::unique_ptr<Compressor> make_sign(const config::Section& section) {
  return std::make_unique<Sign>(section);
}

}  // namespace

extern const Mode<Compressor> compressor_sign = {
    "a bit a value and the mean magnitude of each block; wants error feedback", &make_sign};

}  // namespace sheaf::compression
