// All that a server knows of a chunk, as it goes from one server to another: the two newest
// versions of the parameters, the optimizer's state, the scalar that the last step was taken with
// and, where pushes are steps of their own, the clocks of the partitions. On the wire it is a few
// frames, its parts, the last of which says so. Plain data and plain code. Belongs to one lane; not
// thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/ids.h"
#include "common/wire/out_frame.h"

namespace sheaf::server {

// No sum of squares is negative.
inline constexpr double kNoScalar = -1;

// What there is of a chunk besides parameters.
struct CopyShape {
  std::size_t runs = 0;      // floats of optimizer state for each parameter
  std::uint32_t clocks = 0;  // partitions, where pushes are steps of their own
  bool views = false;        // workers have something else of a version than it is (view.h)
  std::size_t floats() const { return (views ? 4 : 2) + runs; }  // for each parameter
};

struct ChunkCopy {
  ChunkCopy() = default;
  ChunkCopy(std::size_t elements, const CopyShape& shape);

  std::span<float> at(Version v) { return parameters[v % 2].span(); }
  std::span<const float> at(Version v) const { return parameters[v % 2].span(); }
  std::span<float> view(Version v) { return views[v % 2].span(); }
  std::span<const float> view(Version v) const { return views[v % 2].span(); }

  Version version = 0;
  bool holds = false;                              // a version
  bool has_before = false;                         // and the one before it
  std::array<AlignedBuffer<float>, 2> parameters;  // by the parity of the version
  std::array<AlignedBuffer<float>, 2> views;       // the same, or empty
  AlignedBuffer<float> state;                      // block by block, see blocks.h
  std::vector<Step> clocks;
  double scalar = kNoScalar;
};

// Gives the frames of one copy after another.
class CopySender {
 public:
  // `copy` stays as it is until all its frames are written.
  void begin(std::uint32_t chunk, const ChunkCopy& copy);
  bool more() const { return next_ < parts_.size(); }
  // REQUIRES: more().
  wire::OutFrame next();

 private:
  struct Part {
    std::uint64_t name;  // header.value
    std::span<const std::byte> bytes;
  };
  std::uint32_t chunk_ = 0;
  Version version_ = 0;
  std::vector<Part> parts_;
  std::size_t next_ = 0;
};

// Puts them together again. Throws Fault::network for what is no part of a copy, or comes out of
// order.
class CopyReceiver {
 public:
  explicit CopyReceiver(const CopyShape& shape) : shape_(shape) {}

  // Where the payload of a part goes, of a chunk of so many elements.
  std::span<std::byte> receive_into(const wire::Header& header, std::size_t elements);
  // The part is there; the copy, if it was the last.
  std::optional<ChunkCopy> on_part(const wire::Header& header);

 private:
  const CopyShape shape_;
  std::uint32_t chunk_ = 0;
  ChunkCopy copy_;
  std::uint64_t least_ = 0;  // name of the next part, or a later one
  std::size_t parts_ = 0;    // here
};

}  // namespace sheaf::server
