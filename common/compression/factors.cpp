#include "common/compression/factors.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::compression {
namespace {

std::optional<Matrix> matrix_of(const params::Tensor& tensor, const params::Chunk& chunk,
                                std::uint32_t rank) {
  if (tensor.shape.size() < 2) return std::nullopt;
  const std::size_t begin = std::max(tensor.offset, chunk.offset);
  const std::size_t end = std::min(tensor.offset + tensor.size, chunk.end());
  const std::size_t columns = tensor.size / tensor.shape.front();
  const Matrix matrix{end - begin, columns, (begin - tensor.offset) % columns,
                      begin - chunk.offset};
  if (2 * matrix.factor_floats(rank) >= matrix.size) return std::nullopt;
  return matrix;
}

}  // namespace

const FactoredChunk* Factors::find(std::uint32_t chunk) const {
  const auto found = std::ranges::lower_bound(chunks, chunk, {}, &FactoredChunk::chunk);
  return found == chunks.end() || found->chunk != chunk ? nullptr : &*found;
}

Factors factors_of(std::uint32_t rank, const params::Layout& layout, const params::ChunkMap& chunks,
                   const std::vector<bool>& candidates) {
  Factors factors{.rank = rank, .chunks = {}, .parameters = layout.parameters().size()};
  if (rank == 0) return factors;
  for (const params::Tensor& tensor : layout.tensors()) {
    if (layout.groups()[tensor.group].averaged) break;
    for (std::size_t c = chunks.holding(tensor.offset);
         c < chunks.size() && chunks[c].offset < tensor.offset + tensor.size; ++c) {
      const auto matrix = candidates[c] ? matrix_of(tensor, chunks[c], rank) : std::nullopt;
      if (!matrix) continue;
      const auto id = static_cast<std::uint32_t>(c);
      if (factors.chunks.empty() || factors.chunks.back().chunk != id) {
        factors.chunks.push_back({id, {}, factors.left_floats, factors.right_floats});
      }
      factors.chunks.back().matrices.push_back(*matrix);
      factors.left_floats += rank * matrix->rows();
      factors.right_floats += rank * matrix->columns;
    }
  }
  return factors;
}

params::Layout with_factors(const Factors& factors, params::Layout layout) {
  if (factors.chunks.empty()) return layout;
  check(layout.size() == factors.parameters, "factors stand behind parameters alone");
  const auto rank = factors.rank;
  const params::Group averaged{.averaged = true};
  layout.add("factors.left", {static_cast<std::uint32_t>(factors.left_floats / rank), rank},
             averaged);
  layout.add("factors.right", {static_cast<std::uint32_t>(factors.right_floats / rank), rank},
             averaged);
  return layout;
}

}  // namespace sheaf::compression
