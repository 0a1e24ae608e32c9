#include "common/checkpoint/base.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/store.h"

namespace sheaf::checkpoint {
namespace {

bool same_bytes(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

}  // namespace

Base::Base(Disk& disk, std::filesystem::path checkpoints, Manifest manifest)
    : manifest_(std::move(manifest)),
      extents_(disk, std::move(checkpoints), manifest_),
      headers_(manifest_.files.size(), Header::unread) {}

std::unique_ptr<Base> Base::open(Disk& disk, const std::filesystem::path& checkpoints, Step step) {
  auto manifest = Store(disk, checkpoints).manifest(step);
  if (!manifest) return nullptr;
  return std::make_unique<Base>(disk, checkpoints, std::move(*manifest));
}

bool Base::has_sound_header(std::uint32_t file) {
  if (headers_[file] == Header::unread) {
    headers_[file] = extents_.read_header(file) ? Header::damaged : Header::sound;
  }
  return headers_[file] == Header::sound;
}

const StoredChunk* Base::find(std::uint64_t offset, std::span<const float> parameters,
                              std::span<const float> state, std::uint32_t crc) {
  const auto found = std::ranges::lower_bound(manifest_.chunks, offset, {}, &StoredChunk::offset);
  if (found == manifest_.chunks.end() || found->offset != offset) return nullptr;
  if (found->size != parameters.size() || found->crc != crc) return nullptr;
  if (manifest_.extent_bytes(*found) != parameters.size_bytes() + state.size_bytes()) {
    return nullptr;
  }
  if (!has_sound_header(found->file) || extents_.read(*found)) return nullptr;
  const std::span<const float> values = extents_.values();
  const bool same = same_bytes(values.first(parameters.size()), parameters) &&
                    same_bytes(values.subspan(parameters.size()), state);
  return same ? &*found : nullptr;
}

std::span<const float> Base::read(const StoredChunk& chunk) {
  if (const auto damage = extents_.read(chunk)) {
    fail(Fault::data, "step {}: {}", manifest_.step, damage->text());
  }
  return extents_.values();
}

}  // namespace sheaf::checkpoint
