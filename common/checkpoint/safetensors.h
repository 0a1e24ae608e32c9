// The public format safetensors, as far as it is ours: F32 tensors that fill the data.
//
//   u64 little-endian N | N bytes of JSON, padded with spaces so that the data is 8-byte aligned |
//   the tensors as little-endian F32, row-major, by offset, without holes or overlaps
//
// https://github.com/huggingface/safetensors says the rest. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sheaf::checkpoint {

inline constexpr std::size_t kHeaderLengthBytes = 8;
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the public library

struct StoredTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // elements from the start of the data
  std::uint64_t size = 0;    // elements
};

// What stands under __metadata__.
using Metadata = std::vector<std::pair<std::string, std::string>>;

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // by offset
  Metadata metadata;                  // by name
};

// All that stands before the data: length, JSON, padding; padded to `bytes` if those are given.
// Throws Fault::data if it is longer than the format allows. REQUIRES: names are unique UTF-8, and
// none is "__metadata__"; `bytes` are a multiple of 8, and enough.
std::string safetensors_head(std::span<const StoredTensor> tensors, const Metadata& metadata,
                             std::uint64_t bytes = 0);

// Reads the JSON of a file with `data_bytes` of data. Throws std::invalid_argument for anything
// that the format does not allow: JSON that is none or repeats a name, another dtype, a shape that
// does not fit its bytes, holes, overlaps, bytes left over.
SafetensorsHeader parse_safetensors(std::string_view json, std::uint64_t data_bytes);

}  // namespace sheaf::checkpoint
