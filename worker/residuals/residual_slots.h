// What pushes of one partition have left out (and with momentum its velocity), chunk by chunk, so
// that a step can be taken again: each chunk in two slots, before a step and after it, and the
// bytes that the newest step has pushed. A slot is void while it is written; the word that says of
// which step it is comes last. So wherever a process is killed, another one that goes on with the
// memory finds what it was before the step, and, of a chunk that may have left, the very bytes that
// did.
//
// A step that pushes nothing of a partition changes nothing: what is newest stays.
// A view: the memory belongs to somebody else. Belongs to one thread; others may read what is
// before a step while that step is taken.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "common/base/ids.h"
#include "common/params/chunk_map.h"

namespace sheaf::worker {

class ResidualSlots {
 public:
  struct Shape {
    const params::ChunkMap& chunks;  // outlives the slots
    std::size_t push_bytes = 0;      // the most of one encoded chunk
    std::uint32_t partition = 0;
    std::uint32_t runs = 1;  // floats for each parameter; of a chunk one run after the other
  };
  static std::size_t bytes(const Shape& shape);

  // Views memory on a cache line. REQUIRES: memory.size() == bytes(shape).
  ResidualSlots(std::span<std::byte> memory, const Shape& shape);

  // The incarnation of the worker whose residuals these are; nothing if there are none of this
  // shape.
  std::optional<std::uint32_t> owner() const;
  // What is left out before step `first` is what `restore` puts into a chunk, whatever was there;
  // or nothing, if it is null.
  using Restore = std::function<void(std::uint32_t chunk, std::span<float> values)>;
  void begin(std::uint32_t owner, Step first, const Restore& restore);
  // Takes the place of a worker whose residuals are lost: before step `first` nothing is left out.
  // Of that step servers may have that one's push of a chunk, in place of which the one made now
  // does not count. So what the step leaves out is not kept: it may have been sent.
  void begin_without(std::uint32_t owner, Step first);
  // Goes on with what is there. REQUIRES: owner() says whose it is, and that one has ended.
  void adopt(std::uint32_t owner);

  // What is left out before `step`. Throws Fault::network if that is not known any more.
  std::span<const float> before(std::uint32_t chunk, Step step) const;
  // What `step` has pushed of the chunk; nothing if it has not, or not yet.
  std::optional<std::span<const std::byte>> pushed(std::uint32_t chunk, Step step) const;
  // Where the step leaves what it leaves out: over what was before the step before it.
  std::span<float> open(std::uint32_t chunk, Step step);
  // It has, and has pushed that: before the first byte leaves. Nothing of it is kept in the step
  // that begin_without() names.
  void commit(std::uint32_t chunk, Step step, std::span<const std::byte> pushed);

 private:
  struct Title {
    std::uint64_t magic = 0;
    std::uint64_t bytes = 0;
    std::uint64_t chunks = 0;
    std::uint64_t elements = 0;
    Step kept_from = 0;  // the first step of which is kept what it leaves out
    std::uint32_t partition = 0;
    std::uint32_t owner = 0;
    bool operator==(const Title&) const = default;
  };
  struct Words {
    std::atomic<std::uint64_t> slot[2];  // 1 + the step that it is before; 0: void
    std::atomic<std::uint64_t> pushed;   // 1 + the step; 0: void
    std::atomic<std::uint64_t> size;     // bytes of that
  };
  Title title(std::uint32_t owner, Step kept_from) const;
  void begin(std::uint32_t owner, Step first, Step kept_from, const Restore& restore);
  std::optional<int> newest(std::uint32_t chunk, Step step) const;
  std::span<float> slot(std::uint32_t chunk, int which) const;

  Shape shape_;
  Title* title_ = nullptr;
  Words* words_ = nullptr;
  std::span<float> slots_[2];
  std::span<std::byte> pushes_;
};

}  // namespace sheaf::worker
