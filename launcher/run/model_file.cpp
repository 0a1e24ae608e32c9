#include "launcher/run/model_file.h"

#include <array>
#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "common/base/error.h"
#include "common/base/file_error.h"
#include "common/wire/handshake.h"
#include "launcher/system/file_output.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

// What is wrong with the file `path`, and where.
template <typename... Args>
[[noreturn]] void refuse(const fs::path& path, fmt::format_string<Args...> text, Args&&... args) {
  fail(Fault::data, "{}: no valid model file: {}", path.string(),
       fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace

std::string write_model(const fs::path& path, const params::Layout& layout,
                        std::span<const float> parameters, const ModelMetadata& metadata) {
  check(parameters.size() == layout.size(), "the parameters fill the layout");
  std::vector<StoredTensor> tensors;
  for (const params::Tensor& tensor : layout.tensors()) {
    tensors.push_back(
        {tensor.name, {tensor.shape.begin(), tensor.shape.end()}, tensor.offset, tensor.size});
  }
  ModelMetadata about = {{"format", "sheaf"}};
  about.insert(about.end(), metadata.begin(), metadata.end());
  const std::string head = checkpoint::safetensors_head(tensors, about);
  const std::array parts = {std::as_bytes(std::span(head)), std::as_bytes(parameters)};
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
    fail(Fault::data, "{}: cannot be read: {}", path.string(), text_of(errno));
  }
  const auto read = [&](void* into, std::uint64_t bytes) {
    file.read(static_cast<char*>(into), static_cast<std::streamsize>(bytes));
    if (!file) refuse(path, "it ends early");
  };
  std::error_code error;
  const std::uint64_t file_bytes = fs::file_size(path, error);
  if (error) fail(Fault::data, "{}: cannot be read: {}", path.string(), error.message());
  std::uint64_t length = 0;
  read(&length, checkpoint::kHeaderLengthBytes);
  if (length > checkpoint::kMaxHeaderBytes ||
      length > file_bytes - checkpoint::kHeaderLengthBytes) {
    refuse(path, "its header claims {} bytes, the file has {}", length, file_bytes);
  }
  std::string json(length, '\0');
  read(json.data(), length);

  StoredModel model;
  const std::uint64_t data_bytes = file_bytes - checkpoint::kHeaderLengthBytes - length;
  try {
    auto header = checkpoint::parse_safetensors(json, data_bytes);
    model.tensors = std::move(header.tensors);
    model.metadata = std::move(header.metadata);
  } catch (const std::invalid_argument& e) {
    refuse(path, "{}", e.what());
  }
  model.parameters.resize(data_bytes / sizeof(float));
  read(model.parameters.data(), data_bytes);
  model.sha256 = model_sha256(model.parameters);
  return model;
}

}  // namespace sheaf::launcher
