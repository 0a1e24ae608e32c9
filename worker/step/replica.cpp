#include "worker/step/replica.h"

#include <algorithm>
#include <limits>

#include "common/base/error.h"

namespace sheaf::worker {

Replica::Replica(Model& model, const LocalSteps& local, std::uint64_t seed)
    : model_(model), local_(local), seed_(seed) {
  const std::size_t size = model.layout().size();
  for (auto& vector : at_) vector = AlignedBuffer<float>(size);
  state_ = AlignedBuffer<float>(size * local.optimizer.state_per_parameter());
}

double Replica::run(Step step, std::uint32_t partition, std::span<const float> parameters,
                    const Batch& round, std::size_t most, std::span<float> way) {
  const std::size_t features = model_.schema().features, targets = model_.schema().targets;
  const std::size_t largest = std::min(largest_part(local_, most), round.examples);
  if (part_.inputs.size() < largest * features) part_ = make_batch(largest, model_.schema());
  std::ranges::fill(state_.span(), 0.0F);
  std::span<const float> now = parameters;
  double loss = 0;
  Step of_round = 0;
  for (std::uint64_t part = 0; part < local_.steps; ++part) {
    const std::size_t first = std::min<std::size_t>(most * part / local_.steps, round.examples);
    const std::size_t end = std::min<std::size_t>(most * (part + 1) / local_.steps, round.examples);
    if (first == end) continue;
    part_.examples = end - first;
    std::ranges::copy(round.inputs.span().subspan(first * features, part_.examples * features),
                      part_.inputs.span().begin());
    std::ranges::copy(round.targets.span().subspan(first * targets, part_.examples * targets),
                      part_.targets.span().begin());
    const Step local_step = step * local_.steps + part;
    loss += model_.gradient(now, part_, {seed_, local_step, partition}, way);
    now = take(local_step, of_round++, now, way, part_.examples);
    if (now.empty()) {
      std::ranges::fill(way, std::numeric_limits<float>::quiet_NaN());
      return std::numeric_limits<double>::quiet_NaN();
    }
  }
  const auto weight = static_cast<float>(round.examples);
  for (std::size_t i = 0; i < way.size(); ++i) way[i] = weight * (parameters[i] - now[i]);
  return loss;
}

// One step of the inner optimizer, tensor by tensor, to the other of the two vectors. Empty if the
// gradient is not finite and that does not end the job.
std::span<float> Replica::take(Step local_step, Step of_round, std::span<const float> from,
                               std::span<const float> gradient, std::size_t examples) {
  const std::span<float> to = at_[of_round % 2].span();
  const params::Layout& layout = model_.layout();
  const std::size_t runs = local_.optimizer.state_per_parameter();
  optimization::OptimizerStep request;
  request.step = of_round;
  request.gradient_scale = 1 / static_cast<double>(examples);
  request.rate = local_.schedule.rate(local_step);
  for (const params::Tensor& t : layout.tensors()) {
    request.group = layout.groups()[t.group];
    const bool finite = local_.optimizer.step(
        request, from.subspan(t.offset, t.size), gradient.subspan(t.offset, t.size),
        state_.span().subspan(t.offset * runs, t.size * runs), to.subspan(t.offset, t.size));
    if (!finite && local_.non_finite != optimization::NonFinite::abort) return {};
    if (!finite) {
      fail(Fault::diverged,
           "the gradient of local step {} is not finite ({}); lower consistency.inner.rate",
           local_step, t.name);
    }
  }
  return to;
}

}  // namespace sheaf::worker
