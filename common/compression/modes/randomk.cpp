#include <algorithm>
#include <limits>

#include "common/base/random.h"
#include "common/compression/packed_values.h"
#include "common/compression/refusals.h"
#include "common/config/section.h"
#include "common/math/kernels.h"

namespace sheaf::compression {
namespace {

// k values at random, k = ratio * elements, drawn anew for each step, partition and chunk from the
// run's seed, which both ends know: no position is sent (Stich et al., NeurIPS 2018; contraction
// k / d in the mean). `unbiased` sends d / k times the values, whose mean is x and whose variance
// is up to (d / k - 1) ||x||^2: for use without error feedback, and with a lower rate.
class RandomK final : public Compressor {
 public:
  explicit RandomK(const config::Section& section)
      : ratio_(read_ratio(section)),
        values_(read_values(section, false)),
        unbiased_(section.boolean("unbiased", true)) {}

  Promises promises(std::size_t elements) const override {
    if (unbiased_) return {.unbiased = values_.bits() == 32};
    const double share = static_cast<double>(share_of(ratio_, elements)) /
                         static_cast<double>(std::max<std::size_t>(elements, 1));
    return {.contraction = share * values_.contraction(),
            .exact_residual = values_.exact_residual()};
  }
  std::size_t max_bytes(std::size_t elements) const override {
    return values_.bytes(share_of(ratio_, elements));
  }

  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override {
    if (!math::all_finite(values)) fail_not_finite(key);
    const std::size_t count = share_of(ratio_, values.size());
    if (count == 0) return 0;
    const auto coded = bytes.first(values_.bytes(count));
    constexpr float kMost = std::numeric_limits<float>::max();
    const float scale =
        unbiased_ ? static_cast<float>(values.size()) / static_cast<float>(count) : 1;
    const Permutation places = drawn(key, values.size());
    PackedValues::Block block;
    for (std::size_t at = 0; at < count; at += block.size()) {
      const auto part = std::span(block).first(std::min(block.size(), count - at));
      for (std::size_t i = 0; i < part.size(); ++i) {
        part[i] = std::clamp(scale * values[places(at + i)], -kMost, kMost);
      }
      if (!values_.encode(part, at, count, coded)) fail_not_finite(key);
    }
    return coded.size();
  }

  void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                  std::span<float> sum) const override {
    const std::size_t count = share_of(ratio_, sum.size());
    expect_bytes("randomk", bytes.size(), values_.bytes(count), sum.size());
    if (count == 0) return;
    values_.expect_sound("randomk", bytes, count);
    const Permutation places = drawn(key, sum.size());
    PackedValues::Block block;
    for (std::size_t i = 0; i < count; ++i) {
      if (i % block.size() == 0) values_.decode(bytes, i, count, block);
      sum[places(i)] += block[i % block.size()];
    }
  }

 private:
  static Permutation drawn(const EncodingKey& key, std::size_t elements) {
    return {elements, key.seed, Purpose::selection, key.step, key.partition, key.chunk};
  }

  double ratio_;
  PackedValues values_;
  bool unbiased_;
};

std::unique_ptr<Compressor> make_randomk(const config::Section& section) {
  return std::make_unique<RandomK>(section);
}

}  // namespace

extern const Mode<Compressor> compressor_randomk = {
    "values at random places that both ends know; unbiased unless told otherwise", &make_randomk};

}  // namespace sheaf::compression
