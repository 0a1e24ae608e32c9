#include "server/shard/step_scalars.h"

#include <algorithm>

namespace sheaf::server {

StepScalars::StepScalars(std::size_t chunks) {
  for (Step parity = 0; parity < 2; ++parity) {
    open_[parity] = {parity, BitSet(chunks), std::vector<double>(chunks), std::nullopt};
  }
}

StepScalars::Open* StepScalars::opened(Step step) {
  Open& open = open_[step % 2];
  if (step < open.step) return nullptr;
  if (step > open.step) {
    open.step = step;
    open.known.clear();
    open.total.reset();
  }
  return &open;
}

void StepScalars::add(Step step, std::uint32_t chunk, double value) {
  Open* const open = opened(step);
  if (open == nullptr || open->known.test(chunk)) return;
  open->known.set(chunk);
  open->values[chunk] = value;
}

void StepScalars::add_total(Step step, double total) {
  if (Open* const open = opened(step)) open->total = total;
}

std::optional<double> StepScalars::value(Step step, std::uint32_t chunk) const {
  const Open& open = open_[step % 2];
  if (open.step != step || !open.known.test(chunk)) return std::nullopt;
  return open.values[chunk];
}

std::optional<double> StepScalars::total(Step step) const {
  const Open& open = open_[step % 2];
  if (open.step != step) return std::nullopt;
  if (open.known.count() != open.values.size()) return open.total;
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

std::array<Step, 2> StepScalars::open_steps() const {
  return {std::min(open_[0].step, open_[1].step), std::max(open_[0].step, open_[1].step)};
}

}  // namespace sheaf::server
