#include "common/compression/exempting.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "common/base/error.h"
#include "common/compression/refusals.h"
#include "common/math/kernels.h"

namespace sheaf::compression {
namespace {

class Exempting final : public Compressor {
 public:
  Exempting(std::unique_ptr<Compressor> inner, std::vector<bool> exempt)
      : inner_(std::move(inner)), exempt_(std::move(exempt)) {}

  Promises promises(std::size_t elements) const override { return inner_->promises(elements); }
  std::size_t max_bytes(std::size_t elements) const override {
    return std::max(inner_->max_bytes(elements), elements * sizeof(float));
  }

  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override {
    if (!exempt_.at(key.chunk)) return inner_->encode(values, key, bytes);
    if (!math::all_finite(values)) fail_not_finite(key);
    std::ranges::copy(std::as_bytes(values), bytes.begin());
    return values.size_bytes();
  }

  void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                  std::span<float> sum) const override {
    if (!exempt_.at(key.chunk)) return inner_->decode_add(bytes, key, sum);
    expect_bytes("none", bytes.size(), sum.size_bytes(), sum.size());
    const auto value = [&](std::size_t i) {
      float x;
      std::memcpy(&x, &bytes[i * sizeof x], sizeof x);
      return x;
    };
    for (std::size_t i = 0; i < sum.size(); ++i) {
      if (!std::isfinite(value(i))) {
        fail(Fault::network, "compressor none: found a value that is not finite");
      }
    }
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += value(i);
  }

 private:
  std::unique_ptr<Compressor> inner_;
  std::vector<bool> exempt_;  // by chunk
};

}  // namespace

std::unique_ptr<Compressor> exempting(std::unique_ptr<Compressor> compressor,
                                      const params::Layout& layout, const params::ChunkMap& chunks,
                                      std::size_t fewest) {
  std::vector<bool> exempt(chunks.size(), true);
  for (const params::Tensor& tensor : layout.tensors()) {
    if (tensor.size < fewest || tensor.size == 0) continue;
    for (std::size_t c = chunks.holding(tensor.offset);
         c < chunks.size() && chunks[c].offset < tensor.offset + tensor.size; ++c) {
      exempt[c] = false;
    }
  }
  const bool any = std::ranges::find(exempt, true) != exempt.end();
  if (compressor->identity() || !any) return compressor;
  return std::make_unique<Exempting>(std::move(compressor), std::move(exempt));
}

}  // namespace sheaf::compression
