#include "common/checkpoint/reader.h"

#include <algorithm>
#include <tuple>

#include "common/base/error.h"

namespace sheaf::checkpoint {

template <typename Stored>
void Reader::load(const Stored& stored) {
  if (current_ == &stored) return;
  current_ = nullptr;
  if (const auto damage = extents_.read(stored)) {
    fail(Fault::checkpoint, "step {}: {}", manifest_.step, damage->text());
  }
  current_ = &stored;
}

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
    load(*chunk);
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

void Reader::read_residual(std::uint32_t partition, std::uint32_t run, std::size_t begin,
                           std::span<float> values) {
  using Place = std::tuple<std::uint32_t, std::uint32_t, std::size_t>;
  const std::size_t end = begin + values.size();
  check(begin <= manifest_.layout.size() && values.size() <= manifest_.layout.size() - begin,
        "the range is in the layout");
  const auto is_behind = [](const Place& at, const StoredResidual& r) {
    return at < Place(r.partition, r.run, r.chunk.offset + r.chunk.size);
  };
  auto residual = std::upper_bound(manifest_.residuals.begin(), manifest_.residuals.end(),
                                   Place(partition, run, begin), is_behind);
  for (std::size_t at = begin; at < end; ++residual) {
    check(residual != manifest_.residuals.end() && residual->partition == partition &&
              residual->run == run,
          "the checkpoint has residuals of the partition");
    load(*residual);
    const std::size_t from = at - residual->chunk.offset;
    const std::size_t count = std::min<std::size_t>(end - at, residual->chunk.size - from);
    std::ranges::copy(extents_.values().subspan(from, count), values.subspan(at - begin).begin());
    at += count;
  }
}

}  // namespace sheaf::checkpoint
