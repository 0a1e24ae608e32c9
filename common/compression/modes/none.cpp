#include <algorithm>
#include <cstring>

#include "common/base/error.h"
#include "common/compression/compressor.h"

namespace sheaf::compression {
namespace {

// The floats themselves, little-endian. Exchange skips it (identity); it serves the general path.
class None final : public Compressor {
 public:
  bool identity() const override { return true; }
  Promises promises(std::size_t) const override {
    return {.unbiased = true, .contraction = 1, .exact_residual = true, .every_value = true};
  }
  std::size_t max_bytes(std::size_t elements) const override { return elements * sizeof(float); }
  std::size_t encode(std::span<const float> values, const EncodingKey&,
                     std::span<std::byte> bytes) const override {
    std::ranges::copy(std::as_bytes(values), bytes.begin());
    return values.size_bytes();
  }
  void decode_add(std::span<const std::byte> bytes, const EncodingKey&,
                  std::span<float> sum) const override {
    if (bytes.size() != sum.size_bytes()) {
      fail(Fault::network, "compressor none: found {} bytes, expected {} for {} values",
           bytes.size(), sum.size_bytes(), sum.size());
    }
    for (std::size_t i = 0; i < sum.size(); ++i) {
      float value;
      std::memcpy(&value, bytes.data() + i * sizeof(float), sizeof(float));
      sum[i] += value;
    }
  }
};

std::unique_ptr<Compressor> make_none(const config::Section&) { return std::make_unique<None>(); }

}  // namespace

extern const Mode<Compressor> compressor_none = {"send the floats as they are", &make_none};

}  // namespace sheaf::compression
