// The job whose ranks are threads, worked out serially by one loop over the partitions.
#include <cmath>
#include <map>
#include <optional>

#include "common/math/blas.h"
#include "common/math/kernels.h"
#include "common/metrics/evaluation.h"
#include "common/params/partition_tree.h"
#include "tests/cluster/job_site.h"
#include "tests/cluster/serial_powersgd.h"
#include "tests/cluster/threaded_job.h"
#include "worker/models/losses/loss.h"

namespace sheaf::threads {
namespace {

using optimization::NonFinite;
using Sum = std::optional<std::vector<float>>;

bool is_finite(const std::vector<float>& values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

// Left half plus right half; the left one has the largest power of two below the width.
Sum tree_sum(const std::vector<Sum>& leaves, PartitionRange node) {
  if (node.count == 1) return leaves[node.first];
  std::uint32_t half = 1;
  while (2 * half < node.count) half *= 2;
  Sum left = tree_sum(leaves, {node.first, half});
  const Sum right = tree_sum(leaves, {node.first + half, node.count - half});
  if (!left) return right;
  if (!right) return left;
  for (std::size_t i = 0; i < left->size(); ++i) (*left)[i] += (*right)[i];
  return left;
}

class Serial {
 public:
  explicit Serial(const JobOptions& options)
      : options_(options),
        site_(options_, {0, options.partitions},
              [](std::string_view, std::map<std::uint32_t, std::vector<double>> mine) {
                std::vector<std::vector<double>> in_order;
                for (auto& [partition, values] : mine) in_order.push_back(std::move(values));
                return params::tree_sum(in_order);
              }),
        fill_(worker::training_batches(site_.data, site_.plan, site_.normaliser, &site_.sampler)),
        optimizer_(make_optimizer()),
        chunks_(site_.model.layout(), kChunkBytes),
        parameters_(site_.model.layout().size()),
        state_(optimizer_->state_per_parameter() * parameters_.size()) {
    site_.model.reserve(options.batch);
    if (const std::uint32_t rank = site_.push->rank(); rank != 0) {
      factors_.emplace(site_.model.layout(), chunks_, rank, options.exempt_below, kSeed,
                       options.pull_feedback);
    }
  }

  Reference run() {
    site_.model.initialise(parameters_, kSeed);
    view_ = parameters_;
    told_.assign(parameters_.size(), 0.0F);
    for (Step step = 0; step < options_.steps; ++step) take(step);
    return {pulled(options_.steps), chunks_.size(), parameters_.size() * sizeof(float), skipped_,
            rejected_};
  }

  std::vector<double> train_sums(std::span<const float> model) {
    const metrics::Shape shape{site_.model.loss().task(), site_.model.outputs(),
                               site_.model.schema().targets};
    site_.model.reserve(worker::kEvaluationBlock);
    worker::Batch block = worker::make_batch(worker::kEvaluationBlock, site_.model.schema());
    std::vector<std::vector<double>> sums;
    for (std::uint32_t p = 0; p < options_.partitions; ++p) {
      const worker::Partition share = site_.data.part(worker::Part::train, p);
      metrics::Tally tally(shape);
      for (std::size_t b = 0; b < share.blocks(); ++b) {
        share.block(b, site_.normaliser, block);
        std::span<const float> outputs;
        const double loss = site_.model.evaluate(model, block, outputs);
        tally.add(block.examples, outputs, block.targets.first(block.examples * shape.targets),
                  loss);
      }
      sums.push_back(tally.sums());
    }
    return params::tree_sum(sums);
  }

 private:
  // The parameters as workers see them.
  std::vector<float> pulled(Step version) const {
    if (options_.pull_feedback) return view_;
    std::vector<float> seen = parameters_;
    for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
      pass(*site_.pull, {kSeed, version, compression::kEveryPartition, c},
           std::span(seen).subspan(chunks_[c].offset, chunks_[c].size));
    }
    return seen;
  }
  // What a compressor makes of a chunk.
  static void pass(const compression::Compressor& compressor, const compression::EncodingKey& key,
                   std::span<float> values) {
    if (compressor.identity()) return;
    std::vector<std::byte> bytes(compressor.max_bytes(values.size()));
    bytes.resize(compressor.encode(values, key, bytes));
    std::ranges::fill(values, 0.0F);
    compressor.decode_add(bytes, key, values);
  }

  // What leaves one partition: the gradient, then the noise chunk by chunk, then the encoding.
  Sum contribution(Step step, std::uint32_t partition, std::span<const float> seen) {
    if (site_.plan.count(step, partition) == 0) return std::nullopt;
    worker::Batch batch = worker::make_batch(options_.batch * std::max(1U, options_.local_steps),
                                             site_.model.schema());
    fill_(step, partition, batch);
    site_.model.reserve(batch.examples);
    std::vector<float> gradient(parameters_.size());
    if (options_.privacy != "") {
      site_.model.reserve_clipping(batch.examples);
      site_.model.clipped_gradient(seen, batch, {kSeed, step, partition}, *site_.mechanism->clip(),
                                   gradient);
    } else if (options_.local_steps == 0) {
      site_.model.gradient(seen, batch, {kSeed, step, partition}, gradient);
    } else {
      gradient = way_of_a_round(step, partition, seen, batch);
    }
    if (options_.non_finite == NonFinite::reject && !is_finite(gradient)) {
      rejected_.emplace(step, partition);
      return std::nullopt;
    }
    for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
      const params::Chunk& chunk = chunks_[c];
      const auto values = std::span(gradient).subspan(chunk.offset, chunk.size);
      if (options_.noise || options_.privacy == "local")
        site_.mechanism->perturb(values, {step, partition, c});
      if (options_.estimates) {
        tell(step, partition, c, values);
        continue;
      }
      std::vector<float>& rest = residuals_[{partition, c}];
      rest.resize(chunk.size);
      if (options_.feedback || factors_) {
        for (std::size_t i = 0; i < chunk.size; ++i) rest[i] = values[i] = values[i] + rest[i];
      }
      if (factors_) continue;  // all partitions together
      pass(*site_.push, {kSeed, step, partition, c}, values);
      for (std::size_t i = 0; i < chunk.size; ++i) rest[i] -= values[i];
    }
    return gradient;
  }

  // EF21 of a chunk: what is new in the mean of its gradients, each that of a usual step.
  void tell(Step step, std::uint32_t partition, std::uint32_t chunk, std::span<float> values) {
    auto& [told, mean] = estimates_[{partition, chunk}];
    told.resize(values.size());
    mean.resize(values.size());
    const auto momentum = static_cast<float>(*options_.estimates);
    const auto rest = static_cast<float>(1 - *options_.estimates);
    const double usual = static_cast<double>(site_.plan.batch(partition));
    const auto weight =
        static_cast<float>(usual / static_cast<double>(site_.plan.count(step, partition)));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float gradient = weight * values[i];
      const float kept = momentum * mean[i];
      mean[i] = kept + rest * gradient;
      values[i] = mean[i] - told[i];
    }
    pass(*site_.push, {kSeed, step, partition, chunk}, values);
    for (std::size_t i = 0; i < values.size(); ++i) told[i] += values[i];
  }

  // Local steps from the definition: each on its part of the round's examples, then how far they
  // came, once for each example.
  std::vector<float> way_of_a_round(Step step, std::uint32_t partition, std::span<const float> seen,
                                    const worker::Batch& round) {
    const std::size_t features = site_.model.schema().features;
    const std::size_t most = site_.plan.batch(partition);
    const auto inner = make_inner_optimizer();
    std::vector<float> now(seen.begin(), seen.end()), next(now.size()), gradient(now.size());
    std::vector<std::vector<float>> state;
    for (const params::Tensor& t : site_.model.layout().tensors()) state.emplace_back(t.size);
    // Part h ends before example most * (h + 1) / steps.
    std::vector<std::vector<std::size_t>> parts(options_.local_steps);
    for (std::size_t h = 0, i = 0; h < parts.size(); ++h) {
      for (; i < round.examples && i < most * (h + 1) / parts.size(); ++i) parts[h].push_back(i);
    }
    Step taken = 0;
    for (std::size_t h = 0; h < parts.size(); ++h) {
      if (parts[h].empty()) continue;
      worker::Batch some = worker::make_batch(parts[h].size(), site_.model.schema());
      some.examples = parts[h].size();
      for (std::size_t i = 0; i < some.examples; ++i) {
        std::copy_n(
            round.inputs.span().begin() + static_cast<std::ptrdiff_t>(parts[h][i] * features),
            features, some.inputs.span().begin() + static_cast<std::ptrdiff_t>(i * features));
        some.targets.span()[i] = round.targets.span()[parts[h][i]];
      }
      const Step local = step * options_.local_steps + h;
      site_.model.gradient(now, some, {kSeed, local, partition}, gradient);
      std::size_t n = 0;
      for (const params::Tensor& t : site_.model.layout().tensors()) {
        optimization::OptimizerStep request;
        request.step = taken;
        request.gradient_scale = 1 / static_cast<double>(some.examples);
        request.rate = kInnerRate * std::min(1.0, static_cast<double>(local + 1) / 7);
        request.group = site_.model.layout().groups()[t.group];
        inner->step(request, std::span(now).subspan(t.offset, t.size),
                    std::span(gradient).subspan(t.offset, t.size), state[n++],
                    std::span(next).subspan(t.offset, t.size));
      }
      now.swap(next);
      ++taken;
    }
    for (std::size_t i = 0; i < now.size(); ++i) {
      gradient[i] = static_cast<float>(round.examples) * (seen[i] - now[i]);
    }
    return gradient;
  }

  void take(Step step) {
    const auto seen = pulled(step);
    std::vector<Sum> leaves;
    std::uint64_t examples = 0;
    for (std::uint32_t p = 0; p < options_.partitions; ++p) {
      leaves.push_back(contribution(step, p, seen));
      if (leaves.back()) examples += site_.plan.count(step, p);
    }
    if (factors_) push_factors(step, examples, leaves);
    Sum sum = tree_sum(leaves, {0, options_.partitions});
    if (!sum) return;
    if (options_.non_finite == NonFinite::skip && !is_finite(*sum)) {
      skipped_.insert(step);
      return;
    }
    if (options_.estimates) {  // the gradient is all that was told, over the examples of all
      for (std::size_t i = 0; i < told_.size(); ++i) told_[i] += (*sum)[i];
      *sum = told_;
      examples = options_.batch;
    }
    for (std::uint32_t c = 0; site_.mechanism->perturbs_at_server() && c < chunks_.size(); ++c) {
      const params::Chunk& chunk = chunks_[c];
      site_.mechanism->perturb(std::span(*sum).subspan(chunk.offset, chunk.size), {step, 0, c});
    }
    double squares = 0;
    for (const params::Chunk& c : chunks_.chunks()) {
      squares += math::sum_squares(std::span(*sum).subspan(c.offset, c.size));
    }
    const double norm = std::sqrt(squares) / static_cast<double>(examples);
    const bool clipped = options_.clip_norm != 0 && norm > options_.clip_norm;
    optimization::OptimizerStep request;
    request.step = step;
    request.rate = options_.rate;
    if (options_.rate_changes && step == 0) request.rate /= 2;
    if (options_.rate_changes && step >= 2) request.rate *= static_cast<double>(10 - step) / 8;
    request.gradient_scale =
        (clipped ? options_.clip_norm / norm : 1) / static_cast<double>(examples);
    std::vector<float> next(parameters_.size());
    const std::size_t per_parameter = optimizer_->state_per_parameter();
    // Tensor by tensor: optimizers are elementwise, so chunks must not show.
    for (const params::Tensor& t : site_.model.layout().tensors()) {
      request.group = site_.model.layout().groups()[t.group];
      // The way has been scaled by each local step already.
      if (options_.local_steps != 0 && request.group.rate_scale != 0) request.group.rate_scale = 1;
      if (options_.adaptive && t.offset + 1 == next.size()) {
        next.back() = next_log_bound(sum->back(), examples);
        continue;
      }
      optimizer_->step(request, std::span(parameters_).subspan(t.offset, t.size),
                       std::span(*sum).subspan(t.offset, t.size),
                       std::span(state_).subspan(t.offset * per_parameter, t.size * per_parameter),
                       std::span(next).subspan(t.offset, t.size));
    }
    parameters_ = next;
    if (options_.pull_feedback) follow(step + 1);
  }
  void push_factors(Step step, std::uint64_t examples, std::vector<Sum>& leaves) {
    factors_->take(
        step, examples,
        [&](const std::vector<Sum>& all) { return tree_sum(all, {0, options_.partitions}); },
        leaves);
    for (std::uint32_t p = 0; p < options_.partitions; ++p) {
      for (std::uint32_t c = 0; leaves[p] && c < chunks_.size(); ++c) {
        const auto values = std::span(*leaves[p]).subspan(chunks_[c].offset, chunks_[c].size);
        if (!factors_->has(c)) pass(*site_.push, {kSeed, step, p, c}, values);
        std::vector<float>& rest = residuals_[{p, c}];
        for (std::size_t i = 0; i < values.size(); ++i) rest[i] -= values[i];
      }
    }
  }
  // Andrew et al. (2021): x -= rate (b - quantile), b the noised share below the bound. In the
  // order of operations, all in floats, that gives the same bits.
  float next_log_bound(float noised, std::uint64_t expected) const {
    const privacy::Clip clip = *site_.mechanism->clip();
    const float unit = clip.count_unit() * static_cast<float>(clip.examples);
    const float mean = static_cast<float>(1 / static_cast<double>(expected)) * noised;  // u (b-1/2)
    const auto quantile = static_cast<float>(static_cast<double>(unit) * (clip.quantile - 0.5));
    return parameters_.back() -
           static_cast<float>(clip.bound_rate / static_cast<double>(unit)) * (mean - quantile);
  }
  // What workers have moves by what a compressor makes of its distance to the parameters.
  void follow(Step version) {
    for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
      const params::Chunk& chunk = chunks_[c];
      std::vector<float> way(chunk.size);
      for (std::size_t i = 0; i < chunk.size; ++i) {
        way[i] = parameters_[chunk.offset + i] - view_[chunk.offset + i];
      }
      pass(*site_.pull, {kSeed, version, compression::kEveryPartition, c}, way);
      for (std::size_t i = 0; i < chunk.size; ++i) view_[chunk.offset + i] += way[i];
    }
  }

  JobOptions options_;
  Site site_;
  worker::Batcher::Fill fill_;
  std::unique_ptr<optimization::Optimizer> optimizer_;
  params::ChunkMap chunks_;
  std::vector<float> parameters_;
  std::vector<float> view_;  // what workers have, with feedback of pulls
  std::vector<float> state_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::vector<float>> residuals_;
  std::optional<SerialPowerSgd> factors_;
  struct Estimate {
    std::vector<float> told, mean;
  };
  std::map<std::pair<std::uint32_t, std::uint32_t>, Estimate> estimates_;
  std::vector<float> told_;  // by all
  std::set<Step> skipped_;
  std::set<std::pair<Step, std::uint32_t>> rejected_;
};

}  // namespace

Reference reference(const JobOptions& options) {
  math::set_blas_threads(1);
  return Serial(options).run();
}

std::vector<double> train_sums(const JobOptions& options, std::span<const float> model) {
  math::set_blas_threads(1);
  return Serial(options).train_sums(model);
}

}  // namespace sheaf::threads
