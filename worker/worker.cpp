#include "worker/worker.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "common/base/error.h"
#include "common/metrics/evaluation.h"
#include "worker/data/batcher.h"
#include "worker/models/losses/loss.h"
#include "worker/step/stand_in.h"
#include "worker/step/training_step.h"

namespace sheaf::worker {
namespace {

std::string_view name_of(Part part) {
  switch (part) {
    case Part::train: return "train";
    case Part::validation: return "validation";
    case Part::test: return "test";
  }
  return "part";
}

}  // namespace

Worker::Worker(const WorkerParts& parts, const WorkerOptions& options)
    : parts_(parts), options_(options) {
  const Schema& schema = parts.model.schema();
  block_.inputs = AlignedBuffer<float>(kEvaluationBlock * schema.features);
  block_.targets = AlignedBuffer<float>(kEvaluationBlock * schema.targets);
}

void Worker::plan_exchange(const params::ChunkMap& chunks, const compression::Compressor& push,
                           const privacy::Mechanism& mechanism, bool synchronous,
                           PushPull::Options& options) {
  TrainingStep::plan_workspaces(chunks, push, mechanism, synchronous, options);
}

WorkerReport Worker::run() {
  const PartitionRange hosted = parts_.data.hosted();
  std::uint64_t most = kEvaluationBlock;
  std::uint64_t largest_batch = 1;
  for (std::uint32_t p = 0; p < parts_.plan.partitions(); ++p) {
    largest_batch = std::max(largest_batch, parts_.plan.rows(p));
  }
  if (parts_.local == nullptr) most = std::max(most, largest_batch);  // else a Replica's parts

  if (parts_.local != nullptr) {
    for (std::uint32_t p = 0; p < parts_.plan.partitions(); ++p) {
      most = std::max<std::uint64_t>(
          most,
          std::min(Replica::largest_part(*parts_.local, parts_.plan.batch(p)), largest_batch));
    }
  }
  parts_.model.reserve(most);
  if (parts_.mechanism.clip()) parts_.model.reserve_clipping(largest_batch);

  const Batcher::Fill fill =
      training_batches(parts_.data, parts_.plan, parts_.normaliser, parts_.sampler);
  Batcher batcher({.hosted = hosted,
                   .first = options_.first,
                   .prefetch = options_.prefetch,
                   .examples = largest_batch,
                   .schema = parts_.model.schema()},
                  fill);
  // Before the training step, whose end stops the exchange: until then it may be sending these.
  const std::size_t size = parts_.model.layout().size();
  const bool initialises = options_.first == 0 && hosted.contains(0);
  AlignedBuffer<float> first(initialises ? parts_.chunks.elements() : 0);  // averages begin at 0
  std::optional<OtherShares> shares;
  std::optional<StandIn> stand_in;
  if (parts_.stand_in != nullptr) {
    shares.emplace(OtherShares::Options{.prepare = parts_.stand_in->read,
                                        .on_loaded = [this] { parts_.exchange.nudge(); },
                                        .say = parts_.stand_in->say});
    stand_in.emplace(StandIn::Parts{.model = parts_.model,
                                    .plan = parts_.plan,
                                    .normaliser = parts_.normaliser,
                                    .chunks = parts_.chunks,
                                    .compressor = parts_.push,
                                    .mechanism = parts_.mechanism,
                                    .exchange = parts_.exchange,
                                    .coordination = parts_.coordination,
                                    .shares = *shares,
                                    .seed = options_.seed,
                                    .non_finite = parts_.non_finite});
  }
  TrainingStep training({.model = parts_.model,
                         .plan = parts_.plan,
                         .batcher = batcher,
                         .fill = fill,
                         .chunks = parts_.chunks,
                         .compressor = parts_.push,
                         .mechanism = parts_.mechanism,
                         .exchange = parts_.exchange,
                         .coordination = parts_.coordination,
                         .hosted = hosted,
                         .seed = options_.seed,
                         .synchronous = parts_.synchronous,
                         .drops = parts_.drops,
                         .non_finite = parts_.non_finite,
                         .local = parts_.local,
                         .residuals = parts_.residuals,
                         .saver = parts_.saver,
                         .estimates = parts_.estimates,
                         .stand_in = stand_in ? &*stand_in : nullptr,
                         .patience = stand_in ? parts_.stand_in->after : 0});

  if (initialises) {  // whoever hosts partition 0 gives the model its first values
    parts_.model.initialise(first.span().first(size), options_.seed);
    parts_.exchange.init(first.span());
    parts_.exchange.wait_settled();
    first = {};
  }
  for (std::uint32_t c = 0; c < parts_.chunks.size(); ++c) {
    parts_.exchange.pull(options_.first, c);
  }
  parts_.exchange.wait_arrived(0, parts_.chunks.elements(), options_.first);

  const auto begin = std::chrono::steady_clock::now();
  Step step = catch_up(training, options_.first);
  while (step < options_.steps && parts_.coordination.may_begin(step)) {
    if (step != 0 && step % parts_.plan.steps_per_epoch() == 0 && evaluates(Part::validation)) {
      evaluate(Part::validation, step, read_whole(step));
    }
    training.run(step);
    step = catch_up(training, step + 1);
  }
  if (parts_.saver != nullptr) parts_.saver->on_end(step);
  const std::span<const float> final_model = read_whole(step);

  WorkerReport report;
  report.steps = step;
  report.seconds = seconds(std::chrono::steady_clock::now() - begin);
  report.waited_seconds = parts_.exchange.waited_seconds();
  report.traffic = parts_.exchange.traffic();
  if (stand_in) report.stood_in = stand_in->computed();
  if (step >= options_.steps) {  // a job that drains goes on later: the test part is used once
    for (const Part part : {Part::validation, Part::train, Part::test}) {
      // What is protected is not looked at without noise.
      if (part == Part::train && parts_.mechanism.clip()) continue;
      evaluate(part, step, final_model);
    }
  }
  if (hosted.contains(0)) parts_.coordination.send_model(0, final_model);
  return report;
}

// The step that the job is at: later than ours where others went on without us. Of a step that is
// not over we read one version of all chunks; of one that is over, our push would come too late.
Step Worker::catch_up(TrainingStep& training, Step step) {
  while (parts_.drops || parts_.stand_in != nullptr) {
    const Step now = parts_.drops ? step_of_first_chunk(step) : first_open_step(step);
    if (now == step) break;
    parts_.exchange.wait_arrived(0, parts_.model.layout().size(), step);
    training.pass(step, now);
    for (std::uint32_t c = 0; c < parts_.chunks.size(); ++c) parts_.exchange.pull(now, c);
    step = now;
  }
  return step;
}

// With drop one decision closes a step for all chunks, which are pushed with the first one last.
Step Worker::step_of_first_chunk(Step step) {
  parts_.exchange.wait_arrived(0, 1, step);
  return parts_.exchange.version(0);
}

// Where each chunk takes a step by itself: the first step that some chunk may lack. A chunk at
// version v has read v - 1 of all others, so the steps before v - 1 are over everywhere. Nobody
// passes a step that is open: whoever computes for us may be lost in the middle of it.
Step Worker::first_open_step(Step step) {
  parts_.exchange.wait_arrived(0, parts_.model.layout().size(), step);
  Version most = step;
  bool over = true;  // this step, in all chunks
  for (std::uint32_t c = 0; c < parts_.chunks.size(); ++c) {
    const Version version = parts_.exchange.version(c);
    most = std::max(most, version);
    over = over && (version > step || parts_.exchange.is_superseded(c));
  }
  if (most > step + 1) return most - 1;
  return over ? step + 1 : step;
}

// The parameters after `step` steps of every partition, the same for all workers. Where pushes are
// steps of their own, nobody pushes between the two meetings, and all that was pushed is in them.
// Where steps go on without somebody who is late, nobody passes an evaluation without him.
std::span<const float> Worker::read_whole(Step step) {
  const std::size_t size = parts_.chunks.elements();
  parts_.exchange.wait_arrived(0, size, step);
  if (parts_.stand_in != nullptr) meet("before", step);
  if (!parts_.synchronous) {
    meet("before", step);
    for (std::uint32_t c = 0; c < parts_.chunks.size(); ++c) parts_.exchange.pull_again(step, c);
    parts_.exchange.wait_arrived(0, size, step);
    meet("after", step);
  }
  return parts_.exchange.parameters(step).first(parts_.model.layout().size());
}

// Until every worker is here.
void Worker::meet(std::string_view when, Step step) {
  cluster::Coordination::Values present;
  const PartitionRange hosted = parts_.data.hosted();
  for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) present[p] = {1};
  parts_.coordination.sum(fmt::format("{} reading {}", when, step), present);
}

bool Worker::evaluates(Part part) const { return options_.evaluate && parts_.data.size(part) != 0; }

void Worker::evaluate(Part part, Step step, std::span<const float> parameters) {
  if (!evaluates(part)) return;
  const metrics::Shape shape{parts_.model.loss().task(), parts_.model.outputs(),
                             parts_.model.schema().targets};
  cluster::Coordination::Values sums;
  cluster::Coordination::Values scores;
  const PartitionRange hosted = parts_.data.hosted();
  for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
    const Partition share = parts_.data.part(part, p);
    metrics::Tally tally(shape);
    for (std::size_t b = 0; b < share.blocks(); ++b) {
      share.block(b, parts_.normaliser, block_);
      std::span<const float> outputs;
      const double loss = parts_.model.evaluate(parameters, block_, outputs);
      tally.add(block_.examples, outputs,
                block_.targets.first(block_.examples * parts_.model.schema().targets), loss);
    }
    sums[p] = tally.sums();
    if (shape.has_scores()) scores[p] = tally.scores();
  }
  const std::string tag = fmt::format("{} {}", name_of(part), step);
  parts_.coordination.submit(tag, sums);
  if (shape.has_scores()) parts_.coordination.collect(tag + " scores", scores);
}

}  // namespace sheaf::worker
