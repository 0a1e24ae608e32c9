// Which tensors, or pieces of them, a range of the flat vector holds, and what they are called in a
// data file. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/params/layout.h"

namespace sheaf::checkpoint {

struct Piece {
  std::string name;                  // "layers.0.weight", or "layers.0.weight[0:4096]" of a part
  std::vector<std::uint64_t> shape;  // of the tensor, or of the part: flat
  std::size_t offset = 0;            // elements from the start of the range
  std::size_t size = 0;              // elements
};

// In the order of the vector; they fill the range. REQUIRES: the range lies in the layout.
std::vector<Piece> pieces_of(const params::Layout& layout, std::size_t offset, std::size_t size);

// The name that a run of the optimizer's state has for a piece: "optimizer.0.layers.0.weight".
std::string state_name(std::uint32_t run, const Piece& piece);

// The name of what workers have of a piece: "view.layers.0.weight".
std::string view_name(const Piece& piece);

// The name of what pushes of a partition have left out of a piece: "residual.3.layers.0.weight"; of
// run 1, which is their velocity, "velocity.3.layers.0.weight".
std::string residual_name(std::uint32_t partition, std::uint32_t run, const Piece& piece);

// The range for a person: its only piece, or the first and the last one.
std::string range_text(const params::Layout& layout, std::size_t offset, std::size_t size);

}  // namespace sheaf::checkpoint
