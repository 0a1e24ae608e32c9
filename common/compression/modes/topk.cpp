#include "common/compression/largest_values.h"

namespace sheaf::compression {
namespace {

// The k values of the largest magnitude, k = ratio * elements (Aji and Heafield, EMNLP 2017; Stich
// et al., NeurIPS 2018, for the contraction k / d). What is left out is lost without error
// feedback.
class TopK final : public Compressor {
 public:
  explicit TopK(const config::Section& section)
      : ratio_(read_ratio(section)), values_("topk", read_values(section, true)) {}

  Promises promises(std::size_t elements) const override {
    return values_.promises(share_of(ratio_, elements), elements);
  }
  std::size_t max_bytes(std::size_t elements) const override {
    return values_.max_bytes(share_of(ratio_, elements), elements);
  }
  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override {
    return values_.encode(values, share_of(ratio_, values.size()), key, bytes);
  }
  void decode_add(std::span<const std::byte> bytes, const EncodingKey&,
                  std::span<float> sum) const override {
    values_.decode_add(bytes, share_of(ratio_, sum.size()), sum);
  }

 private:
  double ratio_;
  LargestValues values_;
};

std::unique_ptr<Compressor> make_topk(const config::Section& section) {
  return std::make_unique<TopK>(section);
}

}  // namespace

extern const Mode<Compressor> compressor_topk = {
    "the largest values and where they stand; wants error feedback", &make_topk};

}  // namespace sheaf::compression
