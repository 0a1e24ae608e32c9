#include "common/checkpoint/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>

#include "common/base/error.h"
#include "common/checkpoint/strict_json.h"

namespace sheaf::checkpoint {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie");

constexpr int kHeaderDepth = 3;  // {"tensor": {"shape": [1]}}
constexpr std::string_view kMetadata = "__metadata__";

std::uint64_t unsigned_of(const Json& value) {
  if (!value.is_number_unsigned()) throw std::invalid_argument("a size is no unsigned integer");
  return value.get<std::uint64_t>();
}

// One tensor, its place still in the bytes that the header claims.
StoredTensor parse_tensor(const std::string& name, const Json& entry) {
  if (entry.at("dtype") != "F32") throw std::invalid_argument("its dtype is not F32");
  StoredTensor tensor{name, {}, 0, 1};
  const Json& shape = entry.at("shape");
  if (!shape.is_array()) throw std::invalid_argument("its shape is no list");
  for (const Json& extent : shape) {
    tensor.shape.push_back(unsigned_of(extent));
    if (__builtin_mul_overflow(tensor.size, tensor.shape.back(), &tensor.size)) {
      throw std::invalid_argument("its shape overflows");
    }
  }
  const Json& offsets = entry.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2) {
    throw std::invalid_argument("data_offsets are not two numbers");
  }
  const std::uint64_t begin = unsigned_of(offsets[0]);
  const std::uint64_t end = unsigned_of(offsets[1]);
  if (begin % sizeof(float) != 0 || end < begin ||
      tensor.size > std::numeric_limits<std::uint64_t>::max() / sizeof(float) ||
      end - begin != tensor.size * sizeof(float)) {
    throw std::invalid_argument("data_offsets do not fit its shape");
  }
  tensor.offset = begin / sizeof(float);
  return tensor;
}

void parse_entry(const std::string& name, const Json& entry, SafetensorsHeader& header) {
  if (name != kMetadata) {
    header.tensors.push_back(parse_tensor(name, entry));
    return;
  }
  for (const auto& [key, value] : entry.items()) {
    header.metadata.emplace_back(key, value.get<std::string>());
  }
}

void check_coverage(std::vector<StoredTensor>& tensors, std::uint64_t data_bytes) {
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto& a, const auto& b) { return a.offset < b.offset; });
  std::uint64_t covered = 0;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.offset > covered) throw std::invalid_argument("a hole before " + tensor.name);
    if (tensor.offset < covered) {
      throw std::invalid_argument(tensor.name + " overlaps another tensor");
    }
    covered += tensor.size;
  }
  if (covered * sizeof(float) != data_bytes) {
    throw std::invalid_argument(fmt::format("the tensors have {} bytes, the data section {}",
                                            covered * sizeof(float), data_bytes));
  }
}

}  // namespace

std::string safetensors_head(std::span<const StoredTensor> tensors, const Metadata& metadata,
                             std::uint64_t bytes) {
  std::string json = "{";
  std::set<std::string_view> names = {kMetadata};
  for (const auto& [key, value] : metadata) {
    json += fmt::format("{}{}:{}", json.size() == 1 ? "\"__metadata__\":{" : ",", quoted(key),
                        quoted(value));
  }
  if (!metadata.empty()) json += '}';
  for (const StoredTensor& tensor : tensors) {
    check(names.insert(tensor.name).second, "tensor names are unique");
    json +=
        fmt::format("{}{}:{{\"dtype\":\"F32\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                    json.size() == 1 ? "" : ",", quoted(tensor.name), fmt::join(tensor.shape, ","),
                    tensor.offset * sizeof(float), (tensor.offset + tensor.size) * sizeof(float));
  }
  json += '}';
  json.append((kHeaderLengthBytes - json.size() % kHeaderLengthBytes) % kHeaderLengthBytes, ' ');
  if (bytes != 0) {
    check(kHeaderLengthBytes + json.size() <= bytes, "the head fits its place");
    json.resize(bytes - kHeaderLengthBytes, ' ');
  }
  const std::uint64_t length = json.size();
  if (length > kMaxHeaderBytes) {
    fail(Fault::data,
         "a file of {} tensors would have a header of {} bytes, the format allows {}; set "
         "network.chunk_kib higher or use more servers",
         tensors.size(), length, kMaxHeaderBytes);
  }
  std::string head(kHeaderLengthBytes, '\0');
  std::memcpy(head.data(), &length, kHeaderLengthBytes);
  return head += json;
}

SafetensorsHeader parse_safetensors(std::string_view json, std::uint64_t data_bytes) {
  if (!json.starts_with('{')) throw std::invalid_argument("the header does not start with '{'");
  SafetensorsHeader header;
  const Json object = parse_strict_json(json, "the header", kHeaderDepth);
  for (const auto& [name, entry] : object.items()) {
    try {
      parse_entry(name, entry, header);
    } catch (const Json::exception& e) {
      throw std::invalid_argument(fmt::format("{}: {}", name, e.what()));
    } catch (const std::invalid_argument& e) {
      throw std::invalid_argument(fmt::format("{}: {}", name, e.what()));
    }
  }
  check_coverage(header.tensors, data_bytes);
  return header;
}

}  // namespace sheaf::checkpoint
