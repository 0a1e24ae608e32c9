// Two bytes for each value: the compressors fp16 and bf16.
#pragma once

#include <string_view>

#include "common/compression/compressor.h"
#include "common/math/codecs.h"

namespace sheaf::compression {

// C(x) is the nearest number of the format, ties to even; beyond the largest finite one, that one.
class Float16Compressor final : public Compressor {
 public:
  // `name` is that of a mode; it outlives the object.
  Float16Compressor(std::string_view name, math::Float16 kind, double contraction)
      : name_(name), kind_(kind), contraction_(contraction) {}

  Promises promises(std::size_t elements) const override;
  std::size_t max_bytes(std::size_t elements) const override { return 2 * elements; }
  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override;
  void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                  std::span<float> sum) const override;

 private:
  std::string_view name_;
  math::Float16 kind_;
  double contraction_;
};

}  // namespace sheaf::compression
