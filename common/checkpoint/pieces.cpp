#include "common/checkpoint/pieces.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::checkpoint {

std::vector<Piece> pieces_of(const params::Layout& layout, std::size_t offset, std::size_t size) {
  check(offset <= layout.size() && size <= layout.size() - offset, "the range is in the layout");
  const auto& tensors = layout.tensors();
  auto tensor = std::upper_bound(
      tensors.begin(), tensors.end(), offset,
      [](std::size_t at, const params::Tensor& t) { return at < t.offset + t.size; });
  std::vector<Piece> pieces;
  for (std::size_t at = offset; at < offset + size; ++tensor) {
    const std::size_t begin = at - tensor->offset;
    const std::size_t end = std::min(offset + size - tensor->offset, tensor->size);
    Piece piece{
        tensor->name, {tensor->shape.begin(), tensor->shape.end()}, at - offset, end - begin};
    if (piece.size < tensor->size) {
      piece.name += fmt::format("[{}:{}]", begin, end);
      piece.shape = {piece.size};
    }
    pieces.push_back(std::move(piece));
    at = tensor->offset + end;
  }
  return pieces;
}

std::string state_name(std::uint32_t run, const Piece& piece) {
  return fmt::format("optimizer.{}.{}", run, piece.name);
}

std::string view_name(const Piece& piece) { return "view." + piece.name; }

std::string residual_name(std::uint32_t partition, std::uint32_t run, const Piece& piece) {
  return fmt::format("{}.{}.{}", run == 0 ? "residual" : "velocity", partition, piece.name);
}

std::string range_text(const params::Layout& layout, std::size_t offset, std::size_t size) {
  const std::vector<Piece> pieces = pieces_of(layout, offset, size);
  if (pieces.size() == 1) return pieces.front().name;
  return fmt::format("{} to {}", pieces.front().name, pieces.back().name);
}

}  // namespace sheaf::checkpoint
