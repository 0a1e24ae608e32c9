#include "launcher/model_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "common/base/error.h"
#include "common/wire/handshake.h"
#include "launcher/file_output.h"

namespace sheaf::launcher {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the safetensors library
constexpr std::size_t kLengthBytes = 8;
constexpr int kMaxDepth = 3;  // {"tensor": {"shape": [1]}}
constexpr std::string_view kMetadata = "__metadata__";

std::string header_of(const params::Layout& layout, const ModelMetadata& metadata) {
  Json header;
  Json& about = header[std::string(kMetadata)];
  about["format"] = "sheaf";
  for (const auto& [key, value] : metadata) about[key] = value;
  for (const params::Tensor& tensor : layout.tensors()) {
    check(!header.contains(tensor.name), "tensor names are unique");
    header[tensor.name] = {
        {"dtype", "F32"},
        {"shape", tensor.shape},
        {"data_offsets",
         {tensor.offset * sizeof(float), (tensor.offset + tensor.size) * sizeof(float)}}};
  }
  std::string text = header.dump();
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  return text;
}

// What is wrong with the file `path`, and where.
template <typename... Args>
[[noreturn]] void refuse(const fs::path& path, fmt::format_string<Args...> text, Args&&... args) {
  fail(Fault::data, "{}: no valid model file: {}", path.string(),
       fmt::format(text, std::forward<Args>(args)...));
}

// JSON no deeper than the format needs; a name that occurs twice in one object is refused rather
// than read as the last.
Json parse_header(const fs::path& path, std::string_view text) {
  if (!text.starts_with('{')) refuse(path, "the header does not start with '{{'");
  std::vector<std::set<std::string>> names;
  const auto note = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxDepth) refuse(path, "the header is nested deeper than the format allows");
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key &&
        !names.back().insert(value.get<std::string>()).second) {
      refuse(path, "the header has {} twice", value.dump());
    }
    return true;
  };
  try {
    return Json::parse(text, note);
  } catch (const Json::exception& e) {
    refuse(path, "the header is no JSON: {}", e.what());
  }
}

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
      tensor.size > std::numeric_limits<std::size_t>::max() / sizeof(float) ||
      end - begin != tensor.size * sizeof(float)) {
    throw std::invalid_argument("data_offsets do not fit its shape");
  }
  tensor.offset = begin / sizeof(float);
  return tensor;
}

void parse_entries(const fs::path& path, const Json& header, StoredModel& model) {
  for (const auto& [name, entry] : header.items()) {
    try {
      if (name != kMetadata) {
        model.tensors.push_back(parse_tensor(name, entry));
        continue;
      }
      for (const auto& [key, value] : entry.items()) {
        model.metadata.emplace_back(key, value.get<std::string>());
      }
    } catch (const Json::exception& e) {
      refuse(path, "{}: {}", name, e.what());
    } catch (const std::invalid_argument& e) {
      refuse(path, "{}: {}", name, e.what());
    }
  }
}

void check_coverage(const fs::path& path, StoredModel& model, std::uint64_t data_bytes) {
  std::stable_sort(model.tensors.begin(), model.tensors.end(),
                   [](const auto& a, const auto& b) { return a.offset < b.offset; });
  std::size_t covered = 0;
  for (const StoredTensor& tensor : model.tensors) {
    if (tensor.offset > covered) refuse(path, "a hole before {}", tensor.name);
    if (tensor.offset < covered) refuse(path, "{} overlaps another tensor", tensor.name);
    covered += tensor.size;
  }
  if (covered * sizeof(float) != data_bytes) {
    refuse(path, "the tensors have {} bytes, the data section {}", covered * sizeof(float),
           data_bytes);
  }
}

}  // namespace

std::string write_model(const fs::path& path, const params::Layout& layout,
                        std::span<const float> parameters, const ModelMetadata& metadata) {
  check(parameters.size() == layout.size(), "the parameters fill the layout");
  const std::string header = header_of(layout, metadata);
  const std::uint64_t length = header.size();
  const std::array<std::span<const std::byte>, 3> parts = {std::as_bytes(std::span(&length, 1)),
                                                           std::as_bytes(std::span(header)),
                                                           std::as_bytes(parameters)};
  replace_file(path, parts);
  return model_sha256(parameters);
}

std::string model_sha256(std::span<const float> parameters) {
  std::string hex;
  for (const std::byte byte : wire::sha256(std::as_bytes(parameters))) {
    hex += fmt::format("{:02x}", byte);
  }
  return hex;
}

StoredModel read_model(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(Fault::data, "{}: cannot be read: {}", path.string(),
         std::generic_category().message(errno));
  }
  const auto read = [&](void* into, std::uint64_t bytes) {
    file.read(static_cast<char*>(into), static_cast<std::streamsize>(bytes));
    if (!file) refuse(path, "it ends early");
  };
  std::error_code error;
  const std::uint64_t file_bytes = fs::file_size(path, error);
  if (error) fail(Fault::data, "{}: cannot be read: {}", path.string(), error.message());
  std::uint64_t length = 0;
  read(&length, kLengthBytes);
  if (length > kMaxHeaderBytes || length > file_bytes - kLengthBytes) {
    refuse(path, "its header claims {} bytes, the file has {}", length, file_bytes);
  }
  std::string text(length, '\0');
  read(text.data(), length);

  StoredModel model;
  parse_entries(path, parse_header(path, text), model);
  const std::uint64_t data_bytes = file_bytes - kLengthBytes - length;
  check_coverage(path, model, data_bytes);
  model.parameters.resize(data_bytes / sizeof(float));
  read(model.parameters.data(), data_bytes);
  model.sha256 = model_sha256(model.parameters);
  return model;
}

}  // namespace sheaf::launcher
