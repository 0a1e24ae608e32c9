// An older checkpoint that is whole, as whoever writes the next one sees it: what has stayed the
// same since need not be written again, and its file is named instead.
//
// A checksum only says where to look: an extent is the same if every byte of it is, and its file
// can be read as its manifest says. So neither a collision nor a disk that has gone bad since is
// ever taken for a chunk.
// Borrows the disk. Belongs to one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "common/checkpoint/extents.h"
#include "common/checkpoint/manifest.h"

namespace sheaf::checkpoint {

class Base {
 public:
  Base(Disk& disk, std::filesystem::path checkpoints, Manifest manifest);
  // Null if there is no manifest of that step here, or it cannot be read: then all is written.
  static std::unique_ptr<Base> open(Disk& disk, const std::filesystem::path& checkpoints,
                                    Step step);

  const Manifest& manifest() const { return manifest_; }

  // The extent that holds exactly that chunk: `parameters`, then `state`, whose checksum is `crc`.
  // Null if nothing does. It lives as long as this. Reads nothing where checksums differ.
  const StoredChunk* find(std::uint64_t offset, std::span<const float> parameters,
                          std::span<const float> state, std::uint32_t crc);
  // What lies there, until the next call. Throws Fault::data if it cannot be read any more.
  // REQUIRES: find() has returned it.
  std::span<const float> read(const StoredChunk& chunk);

 private:
  bool has_sound_header(std::uint32_t file);

  enum class Header : std::uint8_t { unread, sound, damaged };

  const Manifest manifest_;
  Extents extents_;
  std::vector<Header> headers_;  // of each file
};

}  // namespace sheaf::checkpoint
