// What makes a folder a checkpoint: which tensors there are, which files hold which part of them,
// and the checksum of every byte. FORMAT.md says how it is written down. Plain data and pure
// functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/params/layout.h"

namespace sheaf::checkpoint {

inline constexpr std::uint64_t kFormatVersion = 1;
inline constexpr std::uint64_t kResidualsVersion = 2;  // of a manifest that lists residuals
inline constexpr std::uint64_t kRunsVersion = 3;       // of one with several runs of them
inline constexpr std::uint64_t kAveragedVersion = 4;   // of one with tensors that are averaged
// Of one with a group that has a descent of its own; then there are no residuals.
inline constexpr std::uint64_t kDescentVersion = 5;
constexpr bool has_residuals(std::uint64_t version) {
  return version != kFormatVersion && version != kDescentVersion;
}
inline constexpr std::uint64_t kMaxManifestBytes = 64'000'000;
inline constexpr std::uint32_t kMaxStatePerParameter = 16;

struct FileEntry {
  std::string name;                // relative to checkpoints/; its folder may be an older one
  std::uint64_t bytes = 0;         // of the whole file
  std::uint64_t header_bytes = 0;  // before the first extent
  std::uint32_t header_crc = 0;
  std::string host;  // that wrote it
  bool operator==(const FileEntry&) const = default;
};

// A range of the vector, and the extent of a file that holds its parameters and then its state.
struct StoredChunk {
  std::uint64_t offset = 0;  // elements from the start of the vector
  std::uint64_t size = 0;    // elements
  std::uint32_t file = 0;    // index into the manifest's files
  std::uint64_t at = 0;      // bytes from the start of the file
  std::uint32_t crc = 0;     // of the extent
  bool operator==(const StoredChunk&) const = default;
};

// A range of what the pushes of one partition have left out (error feedback): run 0; with momentum
// its velocity is run 1. Its extent has no state.
struct StoredResidual {
  std::uint32_t partition = 0;
  std::uint32_t run = 0;
  StoredChunk chunk;
  std::uint64_t extent_bytes() const { return chunk.size * sizeof(float); }
  bool operator==(const StoredResidual&) const = default;
};

// A file, and those of its extents that are of this checkpoint; `file` of its chunks means nothing
// yet.
struct WrittenFile {
  FileEntry file;
  std::vector<StoredChunk> chunks = {};
  std::vector<StoredResidual> residuals = {};
};

// What a server or a worker has of a checkpoint: the file that it has written, if any, and files of
// older checkpoints with what has stayed the same since.
using Part = std::vector<WrittenFile>;

struct Manifest {
  std::string job;
  Step step = 0;  // of every chunk: the version of its parameters
  params::Layout layout;
  std::uint32_t state_per_parameter = 0;  // floats of optimizer state for each parameter
  std::vector<FileEntry> files;
  std::vector<StoredChunk> chunks;           // by offset; they cover the layout
  std::vector<StoredResidual> residuals;     // by partition and run, then the same of each; or none
  std::map<std::string, std::string> about;  // whatever else a resumed job needs to know

  // Parts may share an older file.
  void add(const WrittenFile& written);
  std::uint64_t extent_bytes(const StoredChunk& chunk) const {
    return chunk.size * sizeof(float) * (1 + std::uint64_t{state_per_parameter});
  }
  // Of residuals; the same of each partition.
  std::uint32_t runs() const { return residuals.empty() ? 0 : residuals.back().run + 1; }
  // Whether there are tensors that are averaged; then residuals have one run.
  bool averages() const;
  // Whether a group has a descent of its own; then there are no residuals, and nothing is averaged.
  bool descends() const;
  // Of headers and extents: what this checkpoint reads of its files.
  std::uint64_t bytes() const;
  // Of files in its own folder: what was written for it.
  std::uint64_t written_bytes() const;
};

// Throws Fault::internal for a manifest that manifest_from_text() would refuse.
// REQUIRES: texts are UTF-8.
std::string to_text(const Manifest& manifest);

// Accepts what to_text() writes. Anything else throws Fault::checkpoint with the first thing that
// is wrong; the caller names the file. Allocates a small multiple of the text.
Manifest manifest_from_text(std::string_view text);

// Throws std::invalid_argument unless the chunks cover the layout, residuals do so for each of the
// partitions from 0 on and each of their runs, and the extents cover the files, and everything has
// a valid name. Own files are filled by their extents; older ones may hold more.
void require_sound(const Manifest& manifest);

}  // namespace sheaf::checkpoint
