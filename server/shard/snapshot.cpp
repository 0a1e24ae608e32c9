#include "server/shard/snapshot.h"

#include <algorithm>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::server {
namespace {

constexpr std::uint64_t kSnapshotMagic = 0x313050414E534C53;
constexpr std::size_t kLine = 64;

constexpr std::size_t whole_lines(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

std::size_t words_bytes(const Snapshot::Shape& shape) {
  return whole_lines(shape.chunks.size() * 2 * sizeof(std::uint64_t));
}

// Clocks and the scalar.
std::size_t head_bytes(const Snapshot::Shape& shape) {
  return whole_lines(shape.clocks * sizeof(Step) + (shape.scalar ? sizeof(double) : 0));
}

std::size_t parameters_bytes(const Snapshot::Shape& shape, std::size_t elements) {
  return shape.parameters ? whole_lines(elements * sizeof(float)) : 0;
}

std::size_t state_bytes(const Snapshot::Shape& shape, std::size_t elements) {
  return whole_lines(elements * shape.runs * sizeof(float));
}

// Head, parameters, state, view.
std::size_t slot_bytes(const Snapshot::Shape& shape, std::size_t elements) {
  return head_bytes(shape) + parameters_bytes(shape, elements) + state_bytes(shape, elements) +
         (shape.views ? whole_lines(elements * sizeof(float)) : 0);
}

}  // namespace

std::size_t Snapshot::bytes(const Shape& shape) {
  std::size_t bytes = kLine + words_bytes(shape);
  for (const std::size_t elements : shape.chunks) bytes += 2 * slot_bytes(shape, elements);
  return bytes;
}

Snapshot::Title Snapshot::title_of(const Shape& shape) {
  return {.magic = kSnapshotMagic,
          .chunks = shape.chunks.size(),
          .bytes = bytes(shape),
          .runs = shape.runs,
          .clocks = shape.clocks,
          .parameters = shape.parameters ? 1U : 0U,
          .scalar = shape.scalar ? 1U : 0U,
          .views = shape.views ? 1U : 0U};
}

Snapshot::Snapshot(std::span<std::byte> memory, const Shape& shape) : shape_(shape) {
  static_assert(sizeof(Title) <= kLine && std::atomic<std::uint64_t>::is_always_lock_free);
  check(memory.size() == bytes(shape), "a snapshot has the size of its shape");
  title_ = reinterpret_cast<Title*>(memory.data());
  words_ = reinterpret_cast<Word*>(memory.data() + kLine);
  std::size_t at = kLine + words_bytes(shape);
  for (const std::size_t elements : shape.chunks) {
    for (int slot = 0; slot < 2; ++slot) {
      const std::size_t size = slot_bytes(shape, elements);
      slots_.push_back(memory.subspan(at, size));
      at += size;
    }
  }
}

Snapshot Snapshot::begin(std::span<std::byte> memory, const Shape& shape) {
  Snapshot snapshot(memory, shape);
  *snapshot.title_ = title_of(shape);
  std::memset(static_cast<void*>(snapshot.words_), 0, words_bytes(shape));
  return snapshot;
}

Snapshot Snapshot::adopt(std::span<std::byte> memory, const Shape& shape) {
  Snapshot snapshot(memory, shape);
  if (*snapshot.title_ != title_of(shape)) {
    fail(Fault::checkpoint,
         "the snapshot in memory: found {} chunks in {} bytes, expected {} chunks in {} bytes",
         snapshot.title_->chunks, snapshot.title_->bytes, shape.chunks.size(), memory.size());
  }
  return snapshot;
}

std::span<std::byte> Snapshot::slot(std::size_t n, Version version) const {
  return slots_[2 * n + version % 2];
}

std::span<Step> Snapshot::clocks(std::size_t n, Version version) const {
  return {reinterpret_cast<Step*>(slot(n, version).data()), shape_.clocks};
}

std::span<double> Snapshot::scalar(std::size_t n, Version version) const {
  if (!shape_.scalar) return {};
  const auto bytes = slot(n, version).subspan(shape_.clocks * sizeof(Step));
  return {reinterpret_cast<double*>(bytes.data()), 1};
}

std::span<float> Snapshot::parameters(std::size_t n, Version version) const {
  if (!shape_.parameters) return {};
  const auto bytes = slot(n, version).subspan(head_bytes(shape_));
  return {reinterpret_cast<float*>(bytes.data()), shape_.chunks[n]};
}

std::span<float> Snapshot::state(std::size_t n, Version version) const {
  const std::size_t before = head_bytes(shape_) + parameters_bytes(shape_, shape_.chunks[n]);
  const auto bytes = slot(n, version).subspan(before);
  return {reinterpret_cast<float*>(bytes.data()), shape_.chunks[n] * shape_.runs};
}

std::span<float> Snapshot::view(std::size_t n, Version version) const {
  if (!shape_.views) return {};
  const std::size_t elements = shape_.chunks[n];
  const std::size_t before =
      head_bytes(shape_) + parameters_bytes(shape_, elements) + state_bytes(shape_, elements);
  return {reinterpret_cast<float*>(slot(n, version).subspan(before).data()), elements};
}

void Snapshot::open(std::size_t n, Version version) const {
  words_[n].slot[version % 2].store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // nothing that is written moves before it
}

void Snapshot::commit(std::size_t n, Version version) const {
  // Behind stores that went past the caches, too.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  words_[n].slot[version % 2].store(version + 1, std::memory_order_release);
}

std::optional<Version> Snapshot::newest(std::size_t n) const {
  const Word& word = words_[n];
  const std::uint64_t newest = std::max(word.slot[0].load(std::memory_order_acquire),
                                        word.slot[1].load(std::memory_order_acquire));
  if (newest == 0) return std::nullopt;
  return newest - 1;
}

bool Snapshot::has(std::size_t n, Version version) const {
  return words_[n].slot[version % 2].load(std::memory_order_acquire) == version + 1;
}

}  // namespace sheaf::server
