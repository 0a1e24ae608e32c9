#include "common/checkpoint/extents.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/checksum_text.h"
#include "common/checkpoint/pieces.h"
#include "common/wire/checksum.h"

namespace sheaf::checkpoint {

std::string Damage::text() const {
  return fmt::format("{}: {}{}expected {}, found {}", file, block, block.empty() ? "" : ": ",
                     expected, found);
}

Extents::Extents(Disk& disk, std::filesystem::path checkpoints, const Manifest& manifest)
    : disk_(disk),
      checkpoints_(std::move(checkpoints)),
      manifest_(manifest),
      files_(manifest.files.size()) {}

std::optional<Damage> Extents::open(std::uint32_t file) {
  if (files_[file]) return std::nullopt;
  const FileEntry& entry = manifest_.files[file];
  try {
    auto opened = disk_.open(checkpoints_ / entry.name);
    if (const std::uint64_t bytes = opened->size(); bytes != entry.bytes) {
      return Damage{entry.name, "", fmt::format("{} bytes", entry.bytes),
                    fmt::format("{} bytes", bytes)};
    }
    files_[file] = std::move(opened);
    return std::nullopt;
  } catch (const Error& error) {
    return Damage{entry.name, "", "a file that can be read", error.message()};
  }
}

std::optional<Damage> Extents::read(std::uint32_t file, std::uint64_t at,
                                    std::span<std::byte> bytes, std::uint32_t expected,
                                    const StoredChunk* chunk) {
  const std::string& name = manifest_.files[file].name;
  const auto block = [&]() -> std::string {
    return chunk == nullptr ? "header" : range_text(manifest_.layout, chunk->offset, chunk->size);
  };
  try {
    files_[file]->read_at(at, bytes);
  } catch (const Error& error) {
    return Damage{name, block(), "bytes that can be read", error.message()};
  }
  const std::uint32_t found = wire::crc32c(bytes);
  if (found == expected) return std::nullopt;
  return Damage{name, block(), "crc32c " + checksum_text(expected), checksum_text(found)};
}

std::optional<Damage> Extents::read_header(std::uint32_t file) {
  if (auto damage = open(file)) return damage;
  const FileEntry& entry = manifest_.files[file];
  std::vector<std::byte> header(entry.header_bytes);
  return read(file, 0, header, entry.header_crc, nullptr);
}

std::optional<Damage> Extents::read(const StoredChunk& chunk) {
  if (auto damage = open(chunk.file)) return damage;
  const std::size_t floats = manifest_.extent_bytes(chunk) / sizeof(float);
  if (buffer_.size() < floats) buffer_.resize(floats);
  const std::span<float> values = std::span(buffer_).first(floats);
  values_ = values;
  return read(chunk.file, chunk.at, std::as_writable_bytes(values), chunk.crc, &chunk);
}

std::vector<Damage> damage_of(Disk& disk, const std::filesystem::path& checkpoints,
                              const Manifest& manifest) {
  std::vector<const StoredChunk*> chunks;  // as they lie on the disk
  chunks.reserve(manifest.chunks.size());
  for (const StoredChunk& chunk : manifest.chunks) chunks.push_back(&chunk);
  std::sort(chunks.begin(), chunks.end(), [](const StoredChunk* a, const StoredChunk* b) {
    return std::pair(a->file, a->at) < std::pair(b->file, b->at);
  });
  std::vector<Damage> all;
  const auto note = [&](std::optional<Damage> damage) {
    if (damage) all.push_back(std::move(*damage));
  };
  Extents extents(disk, checkpoints, manifest);
  auto chunk = chunks.begin();
  for (std::uint32_t file = 0; file < manifest.files.size(); ++file) {
    const bool there = !extents.open(file);
    note(extents.read_header(file));
    for (; chunk != chunks.end() && (*chunk)->file == file; ++chunk) {
      if (there) note(extents.read(**chunk));
    }
  }
  return all;
}

}  // namespace sheaf::checkpoint
