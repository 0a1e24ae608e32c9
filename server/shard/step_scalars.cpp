#include "server/shard/step_scalars.h"

namespace sheaf::server {

StepScalars::StepScalars(std::size_t chunks) {
  for (Step parity = 0; parity < 2; ++parity) {
    open_[parity] = {parity, BitSet(chunks), std::vector<double>(chunks)};
  }
}

void StepScalars::add(Step step, std::uint32_t chunk, double value) {
  Open& open = open_[step % 2];
  if (step < open.step) return;
  if (step > open.step) {
    open.step = step;
    open.known.clear();
  }
  if (open.known.test(chunk)) return;
  open.known.set(chunk);
  open.values[chunk] = value;
}

std::optional<double> StepScalars::total(Step step) const {
  const Open& open = open_[step % 2];
  if (open.step != step || open.known.count() != open.values.size()) return std::nullopt;
  double sum = 0;
  for (const double value : open.values) sum += value;
  return sum;
}

std::vector<std::uint32_t> StepScalars::missing(Step step) const {
  const Open& open = open_[step % 2];
  std::vector<std::uint32_t> chunks;
  for (std::uint32_t c = 0; c < open.values.size(); ++c) {
    if (open.step != step || !open.known.test(c)) chunks.push_back(c);
  }
  return chunks;
}

}  // namespace sheaf::server
