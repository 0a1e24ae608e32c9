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
                                    const StoredChunk* chunk, const std::string& whose) {
  const std::string& name = manifest_.files[file].name;
  const auto block = [&]() -> std::string {
    if (chunk == nullptr) return "header";
    return whose + range_text(manifest_.layout, chunk->offset, chunk->size);
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
  return read_values(chunk, manifest_.extent_bytes(chunk), {});
}

std::optional<Damage> Extents::read(const StoredResidual& residual) {
  return read_values(residual.chunk, residual.extent_bytes(),
                     fmt::format("what partition {} left out of ", residual.partition));
}

std::optional<Damage> Extents::read_values(const StoredChunk& place, std::uint64_t bytes,
                                           const std::string& whose) {
  if (auto damage = open(place.file)) return damage;
  const std::size_t floats = bytes / sizeof(float);
  if (buffer_.size() < floats) buffer_.resize(floats);
  const std::span<float> values = std::span(buffer_).first(floats);
  values_ = values;
  return read(place.file, place.at, std::as_writable_bytes(values), place.crc, &place, whose);
}

std::vector<Damage> damage_of(Disk& disk, const std::filesystem::path& checkpoints,
                              const Manifest& manifest) {
  struct Place {
    const StoredChunk* chunk = nullptr;
    const StoredResidual* residual = nullptr;  // of which that is the place
    auto where() const { return std::pair(chunk->file, chunk->at); }
  };
  std::vector<Place> places;  // as they lie on the disk
  places.reserve(manifest.chunks.size() + manifest.residuals.size());
  for (const StoredChunk& chunk : manifest.chunks) places.push_back({&chunk});
  for (const StoredResidual& r : manifest.residuals) places.push_back({&r.chunk, &r});
  std::ranges::sort(places, {}, &Place::where);
  std::vector<Damage> all;
  const auto note = [&](std::optional<Damage> damage) {
    if (damage) all.push_back(std::move(*damage));
  };
  Extents extents(disk, checkpoints, manifest);
  auto place = places.begin();
  for (std::uint32_t file = 0; file < manifest.files.size(); ++file) {
    const bool there = !extents.open(file);
    note(extents.read_header(file));
    for (; place != places.end() && place->chunk->file == file; ++place) {
      if (!there) continue;
      note(place->residual != nullptr ? extents.read(*place->residual)
                                      : extents.read(*place->chunk));
    }
  }
  return all;
}

}  // namespace sheaf::checkpoint
