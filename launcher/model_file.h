// model.safetensors: the trained parameters in the public format of the safetensors library.
//
//   u64 little-endian N | N bytes of JSON, padded with spaces so that the data is 8-byte aligned |
//   the tensors as little-endian F32, row-major, in Layout order, without gaps
//
// Thus the data section is the flat parameter vector itself, and its SHA-256 names the model.
// Pure functions over files; thread-safe on different paths.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/params/layout.h"

namespace sheaf::launcher {

using ModelMetadata = std::vector<std::pair<std::string, std::string>>;

// Writes atomically; returns model_sha256 in hex. `metadata` joins {"format": "sheaf"} under
// __metadata__. Throws Fault::data when the file cannot be written (no space: bytes needed, free).
// REQUIRES: parameters.size() = layout.size(); tensor names are unique and not "__metadata__".
std::string write_model(const std::filesystem::path& path, const params::Layout& layout,
                        std::span<const float> parameters, const ModelMetadata& metadata = {});

// The SHA-256 of the parameters as a model file holds them, in hex.
std::string model_sha256(std::span<const float> parameters);

struct StoredTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::size_t offset = 0;  // elements from the start of the parameters
  std::size_t size = 0;    // elements
};

struct StoredModel {
  std::vector<StoredTensor> tensors;  // by offset
  std::vector<float> parameters;
  ModelMetadata metadata;
  std::string sha256;  // of the data section
};

// Reads a model that holds F32 tensors only. Throws Fault::data naming the file for anything that
// the format does not allow: a header beyond 100 MB or the file, JSON that is none or repeats a
// name, another dtype, a shape that does not fit its bytes, holes, overlaps, bytes left over.
// Allocates no more than the file is long, and a small multiple of its header.
StoredModel read_model(const std::filesystem::path& path);

}  // namespace sheaf::launcher
