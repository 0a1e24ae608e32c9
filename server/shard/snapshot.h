// What a lane keeps of its chunks in memory that outlives its process, so that another process can
// go on with them: each chunk in two slots by the parity of its version, parameters, optimizer
// state, the clocks of the partitions and the scalar that the step was taken with. A slot is void
// while it is written; the word that names its version is written last. So whatever a process was
// doing when it was killed, the newest version that it has committed is whole, and so is the one
// before until the next is begun.
//
// What follows a kill sees every store before it in the order of the program, so the order of
// stores is all that counts; the memory does not outlive its host.
// A view: the memory belongs to somebody else. Belongs to one lane; not thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/base/ids.h"

namespace sheaf::server {

class Snapshot {
 public:
  struct Shape {
    std::vector<std::size_t> chunks;  // elements of each
    std::size_t runs = 0;             // floats of optimizer state for each parameter
    std::uint32_t clocks = 0;         // partitions whose clocks are kept; 0: the version says them
    bool parameters = true;           // else they lie elsewhere, in memory that also outlives us
    bool scalar = false;              // steps have one
    bool views = false;               // workers have something else of a version than it is
  };
  static std::size_t bytes(const Shape& shape);

  Snapshot() = default;  // there is none
  // Begins in memory on a cache line: what is there counts for nothing, but state is to be zero.
  static Snapshot begin(std::span<std::byte> memory, const Shape& shape);
  // Goes on with what another process, which has ended, has left there. Throws Fault::checkpoint if
  // it was of another shape.
  static Snapshot adopt(std::span<std::byte> memory, const Shape& shape);
  explicit operator bool() const { return title_ != nullptr; }

  // Where a version of the n-th chunk lies; empty if it is kept elsewhere.
  std::span<float> parameters(std::size_t n, Version version) const;
  std::span<float> state(std::size_t n, Version version) const;
  std::span<float> view(std::size_t n, Version version) const;
  std::span<Step> clocks(std::size_t n, Version version) const;
  std::span<double> scalar(std::size_t n, Version version) const;  // one, or none
  // The slot of that version is about to be written, over the version two before.
  void open(std::size_t n, Version version) const;
  // It is whole: from now on this is the newest.
  void commit(std::size_t n, Version version) const;
  // Nothing if no version was ever committed.
  std::optional<Version> newest(std::size_t n) const;
  bool has(std::size_t n, Version version) const;

 private:
  struct Title {
    std::uint64_t magic = 0;
    std::uint64_t chunks = 0;
    std::uint64_t bytes = 0;
    std::uint64_t runs = 0;
    std::uint64_t clocks = 0;
    std::uint64_t parameters = 0;
    std::uint64_t scalar = 0;
    std::uint64_t views = 0;
    bool operator==(const Title&) const = default;
  };
  // 1 + the version in each slot; 0: void.
  struct Word {
    std::atomic<std::uint64_t> slot[2];
  };
  static Title title_of(const Shape& shape);
  Snapshot(std::span<std::byte> memory, const Shape& shape);
  std::span<std::byte> slot(std::size_t n, Version version) const;

  Title* title_ = nullptr;
  Word* words_ = nullptr;
  Shape shape_;
  std::vector<std::span<std::byte>> slots_;  // two for each chunk
};

}  // namespace sheaf::server
