// model.safetensors: the trained parameters in the public format of the safetensors library
// (common/checkpoint/safetensors.h), the tensors in Layout order. Thus the data section is the flat
// parameter vector itself, and its SHA-256 names the model.
// Pure functions over files; thread-safe on different paths.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "common/checkpoint/safetensors.h"
#include "common/params/layout.h"

namespace sheaf::launcher {

using ModelMetadata = checkpoint::Metadata;
using checkpoint::StoredTensor;

// Writes atomically; returns model_sha256 in hex. `metadata` joins {"format": "sheaf"} under
// __metadata__. Throws Fault::data when the file cannot be written (no space: bytes needed, free).
// REQUIRES: parameters.size() = layout.size(); tensor names are unique and not "__metadata__".
std::string write_model(const std::filesystem::path& path, const params::Layout& layout,
                        std::span<const float> parameters, const ModelMetadata& metadata = {});

// The SHA-256 of the parameters as a model file holds them, in hex.
std::string model_sha256(std::span<const float> parameters);

struct StoredModel {
  std::vector<StoredTensor> tensors;  // by offset
  std::vector<float> parameters;
  ModelMetadata metadata;  // by name
  std::string sha256;      // of the data section
};

// Reads a model that holds F32 tensors only. Throws Fault::data naming the file for anything that
// the format does not allow: a header beyond 100 MB or the file, JSON that is none or repeats a
// name, another dtype, a shape that does not fit its bytes, holes, overlaps, bytes left over.
// Allocates no more than the file is long, and a small multiple of its header.
StoredModel read_model(const std::filesystem::path& path);

}  // namespace sheaf::launcher
