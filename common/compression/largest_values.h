// The encoding of the largest values of a chunk and of where they stand, for the compressors that
// send those: count, code of the gaps, values, gaps (FORMAT.md). Immutable; thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "common/compression/compressor.h"
#include "common/compression/gaps.h"
#include "common/compression/packed_values.h"

namespace sheaf::compression {

class LargestValues {
 public:
  // `compressor`: in whose name what is malformed is refused; outlives the object.
  LargestValues(std::string_view compressor, PackedValues values)
      : compressor_(compressor), values_(values) {}

  // Of x - C(x), where `most` of so many values are sent.
  Promises promises(std::size_t most, std::size_t elements) const;
  std::size_t max_bytes(std::size_t most, std::size_t elements) const {
    return kHead + values_.bytes(most) + (most_gap_bits(most, elements) + 7) / 8;
  }
  // As Compressor::encode() and decode_add(), of the `most` values of the largest magnitude; of
  // those that are as large as each other the first ones. Zeros are not sent.
  std::size_t encode(std::span<const float> values, std::size_t most, const EncodingKey& key,
                     std::span<std::byte> bytes) const;
  void decode_add(std::span<const std::byte> bytes, std::size_t most, std::span<float> sum) const;

 private:
  static constexpr std::size_t kHead = 5;  // count and code of the gaps
  struct Parts {
    std::size_t count;
    std::span<const std::byte> values;
    GapCode code;
    std::span<const std::byte> gaps;
  };
  Parts parts(std::span<const std::byte> bytes, std::size_t most) const;
  [[noreturn]] void fail_position(std::size_t found, std::size_t count, std::size_t elements) const;

  std::string_view compressor_;
  PackedValues values_;
};

}  // namespace sheaf::compression
