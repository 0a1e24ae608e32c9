// Compressors as the tests of this folder make them.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/random.h"
#include "common/compression/compressor.h"
#include "common/config/section.h"

namespace sheaf::compression {

// `keys` as they stand in [compression.push].
inline std::unique_ptr<Compressor> make_compressor(std::string_view name,
                                                   std::string_view keys = "") {
  const auto document = config::Document::from_text(keys, "job.toml");
  auto compressor = find_mode(compressors(), name)->make(document->root());
  document->reject_unknown();
  document->throw_if_faulty();
  return compressor;
}

inline std::vector<std::byte> encoded(const Compressor& compressor, std::span<const float> x,
                                      const EncodingKey& key = {}) {
  std::vector<std::byte> bytes(compressor.max_bytes(x.size()));
  bytes.resize(compressor.encode(x, key, bytes));
  return bytes;
}

inline std::vector<float> through(const Compressor& compressor, std::span<const float> x,
                                  const EncodingKey& key = {}) {
  std::vector<float> y(x.size());
  compressor.decode_add(encoded(compressor, x, key), key, y);
  return y;
}

inline std::vector<float> normal_vector(std::size_t size, std::uint64_t name) {
  Stream stream(23, Purpose::test, name);
  std::vector<float> x(size);
  for (float& value : x) value = static_cast<float>(stream.normal());
  return x;
}

}  // namespace sheaf::compression
