#include "worker/residuals/residual_slots.h"

#include <algorithm>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

constexpr std::uint64_t kResidualMagic = 0x3153445352534C53;
constexpr std::size_t kResidualLine = 64;

constexpr std::size_t up_to_line(std::size_t bytes) {
  return (bytes + kResidualLine - 1) / kResidualLine * kResidualLine;
}

}  // namespace

std::size_t ResidualSlots::bytes(const Shape& shape) {
  return kResidualLine + up_to_line(shape.chunks.size() * sizeof(Words)) +
         2 * up_to_line(shape.runs * shape.chunks.elements() * sizeof(float)) +
         shape.chunks.size() * up_to_line(shape.push_bytes);
}

ResidualSlots::ResidualSlots(std::span<std::byte> memory, const Shape& shape) : shape_(shape) {
  static_assert(sizeof(Title) <= kResidualLine && std::atomic<std::uint64_t>::is_always_lock_free);
  check(memory.size() == bytes(shape), "residuals have the size of their shape");
  title_ = reinterpret_cast<Title*>(memory.data());
  words_ = reinterpret_cast<Words*>(memory.data() + kResidualLine);
  std::size_t at = kResidualLine + up_to_line(shape.chunks.size() * sizeof(Words));
  for (std::span<float>& slot : slots_) {
    slot = {reinterpret_cast<float*>(memory.data() + at), shape.runs * shape.chunks.elements()};
    at += up_to_line(slot.size_bytes());
  }
  pushes_ = memory.subspan(at);
}

ResidualSlots::Title ResidualSlots::title(std::uint32_t owner, Step kept_from) const {
  return {.magic = kResidualMagic,
          .bytes = bytes(shape_),
          .chunks = shape_.chunks.size(),
          .elements = shape_.runs * shape_.chunks.elements(),
          .kept_from = kept_from,
          .partition = shape_.partition,
          .owner = owner};
}

std::optional<std::uint32_t> ResidualSlots::owner() const {
  if (*title_ != title(title_->owner, title_->kept_from)) return std::nullopt;
  return title_->owner;
}

void ResidualSlots::begin(std::uint32_t owner, Step first, const Restore& restore) {
  begin(owner, first, first, restore);
}

void ResidualSlots::begin_without(std::uint32_t owner, Step first) {
  begin(owner, first, first + 1, nullptr);
}

void ResidualSlots::begin(std::uint32_t owner, Step first, Step kept_from, const Restore& restore) {
  title_->magic = 0;  // until it is whole these are nobody's
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (std::uint32_t c = 0; c < shape_.chunks.size(); ++c) {
    std::ranges::fill(slot(c, 0), 0.0F);
    if (restore) restore(c, slot(c, 0));
    Words& words = words_[c];
    words.slot[0].store(first + 1, std::memory_order_relaxed);
    words.slot[1].store(0, std::memory_order_relaxed);
    words.pushed.store(0, std::memory_order_relaxed);
    words.size.store(0, std::memory_order_relaxed);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  *title_ = title(owner, kept_from);
}

void ResidualSlots::adopt(std::uint32_t owner) { title_->owner = owner; }

std::span<float> ResidualSlots::slot(std::uint32_t chunk, int which) const {
  const params::Chunk& c = shape_.chunks[chunk];
  return slots_[which].subspan(shape_.runs * c.offset, shape_.runs * c.size);
}

// The slot of the last step that is not behind `step`.
std::optional<int> ResidualSlots::newest(std::uint32_t chunk, Step step) const {
  std::optional<int> best;
  std::uint64_t of_best = 0;
  for (const int which : {0, 1}) {
    const std::uint64_t word = words_[chunk].slot[which].load(std::memory_order_acquire);
    if (word <= of_best || word > step + 1) continue;
    best = which;
    of_best = word;
  }
  return best;
}

std::span<const float> ResidualSlots::before(std::uint32_t chunk, Step step) const {
  const auto which = newest(chunk, step);
  if (!which) {
    fail(Fault::network, "what partition {} had left out of chunk {} before step {} is gone",
         shape_.partition, chunk, step);
  }
  return slot(chunk, *which);
}

std::optional<std::span<const std::byte>> ResidualSlots::pushed(std::uint32_t chunk,
                                                                Step step) const {
  const Words& words = words_[chunk];
  const std::uint64_t size = words.size.load(std::memory_order_relaxed);
  const bool is_done = std::ranges::any_of(words.slot, [&](const auto& word) {
    return word.load(std::memory_order_acquire) == step + 2;
  });
  if (!is_done || words.pushed.load(std::memory_order_acquire) != step + 1) return std::nullopt;
  if (size > shape_.push_bytes) return std::nullopt;
  return pushes_.subspan(chunk * up_to_line(shape_.push_bytes), size);
}

std::span<float> ResidualSlots::open(std::uint32_t chunk, Step step) {
  const auto which = newest(chunk, step);
  check(which.has_value(), "what comes after a step is made of what was before it");
  words_[chunk].slot[1 - *which].store(0, std::memory_order_relaxed);
  words_[chunk].pushed.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // nothing that is written moves before it
  return slot(chunk, 1 - *which);
}

void ResidualSlots::commit(std::uint32_t chunk, Step step, std::span<const std::byte> pushed) {
  const auto which = newest(chunk, step);
  check(which.has_value() && pushed.size() <= shape_.push_bytes, "the step was opened");
  std::ranges::copy(
      pushed, pushes_.begin() + static_cast<std::ptrdiff_t>(chunk * up_to_line(shape_.push_bytes)));
  if (step < title_->kept_from) std::ranges::fill(slot(chunk, 1 - *which), 0.0F);
  Words& words = words_[chunk];
  words.size.store(pushed.size(), std::memory_order_relaxed);
  words.pushed.store(step + 1, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  words.slot[1 - *which].store(step + 2, std::memory_order_release);
}

}  // namespace sheaf::worker
