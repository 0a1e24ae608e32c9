// The files of one checkpoint, read part by part, each against its checksum. Nothing that was read
// is to be believed unless there is no Damage.
// Borrows disk and manifest. Not thread-safe: each thread has its own.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/checkpoint/disk.h"
#include "common/checkpoint/manifest.h"

namespace sheaf::checkpoint {

struct Damage {
  std::string file;   // relative to checkpoints/
  std::string block;  // the part of it: "header", or the tensors of an extent; empty: the whole
  std::string expected;
  std::string found;
  std::string text() const;  // on one line
};

class Extents {
 public:
  Extents(Disk& disk, std::filesystem::path checkpoints, const Manifest& manifest);

  // Opens the file if it is not open, and compares its size.
  std::optional<Damage> open(std::uint32_t file);
  std::optional<Damage> read_header(std::uint32_t file);
  // Makes values() those of the chunk, or of the residual. Allocates no more than the file is long.
  std::optional<Damage> read(const StoredChunk& chunk);
  std::optional<Damage> read(const StoredResidual& residual);
  // The parameters of a chunk, then the runs of its state.
  std::span<const float> values() const { return values_; }

 private:
  std::optional<Damage> read_values(const StoredChunk& place, std::uint64_t bytes,
                                    const std::string& whose);
  // `whose` comes before the range of a chunk; that is none for a header.
  std::optional<Damage> read(std::uint32_t file, std::uint64_t at, std::span<std::byte> bytes,
                             std::uint32_t expected, const StoredChunk* chunk,
                             const std::string& whose = {});

  Disk& disk_;
  std::filesystem::path checkpoints_;
  const Manifest& manifest_;
  std::vector<std::unique_ptr<File>> files_;
  std::vector<float> buffer_;
  std::span<const float> values_;
};

// Reads every byte of the checkpoint. Empty if all is as the manifest says.
std::vector<Damage> damage_of(Disk& disk, const std::filesystem::path& checkpoints,
                              const Manifest& manifest);

}  // namespace sheaf::checkpoint
