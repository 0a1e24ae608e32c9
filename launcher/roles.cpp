#include "launcher/roles.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/compression/exempting.h"
#include "common/params/partition_tree.h"
#include "worker/models/losses/loss.h"

namespace sheaf::launcher {
namespace {

worker::Split::Fractions fractions(const RunConfig& config) {
  return {config.data().validation, config.data().test};
}

worker::BatchPlan make_plan(const RunConfig& config, worker::Source& source) {
  const RunSection& run = config.run();
  const worker::Split split(source.rows(worker::SourcePart::train), fractions(config),
                            run.partitions, run.seed);
  return {split.size(worker::Part::train), config.step_examples(), run.partitions, run.seed};
}

// Where a push is a step, a step is left out by the worker that does not push it.
optimization::NonFinite worker_policy(const RunConfig& config) {
  using optimization::NonFinite;
  const NonFinite policy = config.optimizer().non_finite;
  return policy == NonFinite::skip && !config.synchronous() ? NonFinite::reject : policy;
}

}  // namespace

server::ServerOptions server_options(const RunConfig& config, std::uint32_t id,
                                     net::Credentials credentials, Warn warn) {
  server::ServerOptions options;
  options.id = id;
  options.servers = config.run().servers;
  options.workers = config.run().workers;
  options.partitions = config.run().partitions;
  options.lanes = config.network().lanes;
  options.chunk_bytes = config.network().chunk_bytes;
  options.clip_norm = config.optimizer().clip_norm.value_or(0);
  options.seed = config.run().seed;
  options.skip_non_finite =
      config.synchronous() && config.optimizer().non_finite == optimization::NonFinite::skip;
  options.gate = config.make_gate();
  options.optimizer = config.make_optimizer();
  options.schedule = std::make_unique<optimization::Schedule>(config.make_schedule());
  options.push = config.make_push_compressor();
  options.pull = config.make_pull_compressor();
  options.push_exempt = config.push_exempt();
  options.pull_exempt = config.pull_exempt();
  options.credentials = std::move(credentials);
  options.handshake_limit = config.timeouts().suspect;
  options.dead_limit = config.timeouts().dead;
  options.warn = std::move(warn);
  return options;
}

WorkerRole::WorkerRole(const RunConfig& config, std::uint32_t id)
    : config_(config),
      hosted_(params::hosted_partitions(config.run().partitions, config.run().workers, id)),
      source_(config.make_source()),
      model_(config.make_model(source_->schema())),
      plan_(make_plan(config, *source_)),
      steps_(plan_.steps_per_epoch() * config.run().epochs),
      chunks_(model_->layout(), config.network().chunk_bytes),
      shards_(chunks_, std::max(1U, config.run().servers), config.network().lanes),
      push_(compression::exempting(config.make_push_compressor(), model_->layout(), chunks_,
                                   config.push_exempt())),
      pull_(compression::exempting(config.make_pull_compressor(), model_->layout(), chunks_,
                                   config.pull_exempt())),
      mechanism_(config.make_mechanism()) {
  if (config.local_steps() != 0) {
    inner_ = config.make_inner_optimizer();
    inner_schedule_.emplace(config.make_inner_schedule());
    local_.emplace(worker::LocalSteps{config.local_steps(), *inner_, *inner_schedule_,
                                      config.optimizer().non_finite});
  }
  if (config.run().steps) steps_ = std::min(steps_, *config.run().steps);
}

void WorkerRole::load(const worker::SumOverPartitions& sum) {
  data_ = std::make_unique<worker::PartitionSet>(
      *source_,
      worker::Partitioning{config_.run().partitions, fractions(config_), config_.run().seed},
      hosted_);
  check_targets();
  normaliser_ = worker::make_normaliser(config_.data().normalise, *data_, sum);
}

// A label or target that the loss cannot use is a fault of the data, with its place.
void WorkerRole::check_targets() const {
  data_->each_target(
      [&](worker::SourcePart part, std::uint64_t row, std::span<const float> targets) {
        if (const auto problem = model_->loss().bad_target(targets, model_->outputs())) {
          fail(Fault::data, "{}: {}", source_->locate(part, row), *problem);
        }
      });
}

worker::PushPull::Options WorkerRole::exchange_options(net::Credentials credentials,
                                                       Warn warn) const {
  worker::PushPull::Options options;
  options.partitions = config_.run().partitions;
  options.hosted = hosted_;
  options.window = config_.network().window;
  options.dead_limit = config_.timeouts().dead;
  options.rejoin_limit = config_.timeouts().dead;
  options.servers_return = config_.keeps_snapshots();
  // The coordinator gives a server up before that.
  if (options.servers_return) options.rejoin_limit += config_.timeouts().start;
  options.share_limit = config_.timeouts().start;
  options.stall_warning = config_.timeouts().dead;
  options.credentials = std::move(credentials);
  options.warn = std::move(warn);
  worker::Worker::plan_exchange(chunks_, *push_, *mechanism_, config_.exact(), options);
  return options;
}

worker::WorkerParts WorkerRole::parts(worker::PushPull& exchange,
                                      cluster::Coordination& coordination,
                                      cluster::Shutdown& shutdown) const {
  return {.data = *data_,
          .plan = plan_,
          .normaliser = normaliser_,
          .model = *model_,
          .chunks = chunks_,
          .push = *push_,
          .mechanism = *mechanism_,
          .exchange = exchange,
          .coordination = coordination,
          .shutdown = shutdown,
          .synchronous = config_.exact(),
          .drops = config_.backup() != 0,
          .non_finite = worker_policy(config_),
          .local = local_ ? &*local_ : nullptr,
          .feedback = config_.error_feedback()};
}

}  // namespace sheaf::launcher
