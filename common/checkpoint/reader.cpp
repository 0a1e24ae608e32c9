#include "common/checkpoint/reader.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::checkpoint {

void Reader::read(std::size_t begin, std::span<float> parameters, std::span<float> state) {
  const std::size_t size = parameters.size();
  const std::size_t end = begin + size;
  check(begin <= manifest_.layout.size() && size <= manifest_.layout.size() - begin,
        "the range is in the layout");
  check(state.empty() || state.size() == size * manifest_.state_per_parameter,
        "the state fits the range");
  const std::size_t runs = state.empty() ? 0 : manifest_.state_per_parameter;
  auto chunk =
      std::upper_bound(manifest_.chunks.begin(), manifest_.chunks.end(), begin,
                       [](std::size_t at, const StoredChunk& c) { return at < c.offset + c.size; });
  for (std::size_t at = begin; at < end; at = chunk->offset + chunk->size, ++chunk) {
    if (current_ != &*chunk) {
      current_ = nullptr;
      if (const auto damage = extents_.read(*chunk)) {
        fail(Fault::checkpoint, "step {}: {}", manifest_.step, damage->text());
      }
      current_ = &*chunk;
    }
    const std::size_t from = at - chunk->offset;
    const std::size_t count = std::min<std::size_t>(end - at, chunk->size - from);
    for (std::size_t run = 0; run <= runs; ++run) {
      const auto values = extents_.values().subspan(run * chunk->size + from, count);
      const auto into = run == 0 ? parameters.subspan(at - begin, count)
                                 : state.subspan((run - 1) * size + (at - begin), count);
      std::copy(values.begin(), values.end(), into.begin());
    }
  }
}

}  // namespace sheaf::checkpoint
