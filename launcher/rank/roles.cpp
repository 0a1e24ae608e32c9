#include "launcher/rank/roles.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/compression/by_chunk.h"
#include "common/params/partition_tree.h"
#include "worker/models/losses/loss.h"

namespace sheaf::launcher {
namespace {

worker::BatchPlan make_plan(worker::Source& source, const worker::Partitioning& how,
                            std::uint64_t batch, worker::Sampling sampling) {
  const worker::Split split(worker::dealt_out(source, how.by_user), how.fractions, how.partitions,
                            how.seed);
  return {split.size(worker::Part::train), batch, how.partitions, how.seed, sampling};
}

// Without privacy samples need no secret, and are to be the same in each run.
wire::Digest open_secret(std::uint64_t seed) {
  const std::string text = fmt::format("sampling of the run with seed {}", seed);
  return wire::sha256(std::as_bytes(std::span(text)));
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
  options.optimizer = config.make_server_optimizer();
  options.schedule = std::make_unique<optimization::Schedule>(config.make_schedule());
  options.push = config.make_push_codecs();
  options.pull = config.make_pull_codecs();
  options.pull_feedback = config.pull_feedback();
  options.credentials = std::move(credentials);
  options.handshake_limit = config.timeouts().suspect;
  options.dead_limit = config.timeouts().dead;
  options.return_limit = config.timeouts().start;
  options.warn = std::move(warn);
  return options;
}

WorkerRole::WorkerRole(const RunConfig& config, std::uint32_t id, const RoleChanges* changes)
    : config_(config),
      changes_(changes),
      hosted_(params::hosted_partitions(config.run().partitions, config.run().workers, id)),
      source_(changes ? changes->source() : config.make_source()),
      model_(changes ? changes->model() : config.make_model(source_->schema())),
      plan_(make_plan(*source_, partitioning(), changes ? changes->batch : config.step_examples(),
                      config.data().sampling)),
      steps_(plan_.steps_per_epoch() * config.run().epochs),
      layout_(compression::pushed_layout(config.make_push_codecs(), model_->layout(),
                                         config.network().chunk_bytes)),
      chunks_(layout_, config.network().chunk_bytes),
      shards_(chunks_, std::max(1U, config.run().servers), config.network().lanes),
      push_(compression::by_chunk(config.make_push_codecs(), layout_, chunks_)),
      pull_(compression::by_chunk(config.make_pull_codecs(), layout_, chunks_)),
      mechanism_(config.make_mechanism()) {
  if (config.local_steps() != 0) {
    inner_ = config.make_inner_optimizer();
    inner_schedule_.emplace(config.make_inner_schedule());
    local_.emplace(worker::LocalSteps{config.local_steps(), *inner_, *inner_schedule_,
                                      config.optimizer().non_finite});
  }
  if (plan_.sampling() == worker::Sampling::poisson) sample_by(open_secret(config.run().seed));
  if (config.run().steps) steps_ = std::min(steps_, *config.run().steps);
  if (changes) steps_ = changes->steps;
}

worker::Partitioning WorkerRole::partitioning() const {
  worker::Split::Fractions fractions;
  if (!changes_) fractions = {config_.data().validation, config_.data().test};
  return {config_.run().partitions, fractions, config_.run().seed, config_.privacy().by_user};
}

void WorkerRole::sample_by(const wire::Digest& secret) {
  const auto clip = mechanism_->clip();
  sampler_.emplace(secret, config_.data().batch, sampled_from(), clip ? clip->examples : 1);
}

std::uint64_t WorkerRole::sampled_from() const {
  return changes_ ? changes_->sampled_from : plan_.examples();
}

// A source of its own for each share, opened by the caller: reading is another thread's.
worker::OtherShares::Load WorkerRole::reader_of(PartitionRange share) const {
  const std::shared_ptr<worker::Source> source = config_.make_source();
  return [source, how = partitioning(), share] {
    return std::make_unique<worker::PartitionSet>(*source, how, share);
  };
}

void WorkerRole::stand_in_for_others(Warn say) {
  if (!config_.stand_in_after()) return;
  stand_in_.emplace(
      worker::StandInPlan{.after = *config_.stand_in_after(),
                          .read = [this](PartitionRange share) { return reader_of(share); },
                          .say = std::move(say)});
}

void WorkerRole::protect(double noise, const wire::Digest& secret) {
  mechanism_ = mechanism_->armed(noise, secret, {});
  if (changes_) mechanism_ = changes_->mechanism(std::move(mechanism_));
  if (sampler_) sample_by(secret);
}

void WorkerRole::load(const worker::SumOverPartitions& sum) {
  data_ = std::make_unique<worker::PartitionSet>(*source_, partitioning(), hosted_);
  check_targets();
  if (!changes_) normaliser_ = worker::make_normaliser(config_.data().normalise, *data_, sum);
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

void WorkerRole::keep_residuals(cluster::KeeperClient* keeper, std::uint32_t incarnation,
                                Warn warn) {
  if (!config_.error_feedback()) return;
  residuals_ = std::make_unique<worker::Residuals>(
      worker::Residuals::Options{.chunks = chunks_,
                                 .hosted = hosted_,
                                 .push_bytes = push_->max_bytes(chunks_.largest()),
                                 .runs = config_.residual_runs(),
                                 .incarnation = incarnation,
                                 .keeper = keeper,
                                 .warn = std::move(warn)});
}

worker::PushPull::Options WorkerRole::exchange_options(net::Credentials credentials,
                                                       Warn warn) const {
  worker::PushPull::Options options;
  options.partitions = config_.run().partitions;
  options.hosted = hosted_;
  options.window = config_.network().window;
  options.pull_feedback = config_.pull_feedback();
  options.seed = config_.run().seed;
  options.dead_limit = config_.timeouts().dead;
  options.rejoin_limit = config_.timeouts().dead;
  options.servers_return = config_.servers_return();
  // The coordinator gives a server up before that.
  if (options.servers_return) options.rejoin_limit += config_.timeouts().start;
  options.share_limit = config_.timeouts().start;
  options.stall_warning = config_.timeouts().dead;
  options.credentials = std::move(credentials);
  options.warn = std::move(warn);
  worker::Worker::plan_exchange(chunks_, *push_, *mechanism_, config_.exact(), options);
  options.synchronous = config_.exact() && !config_.stand_in_after();
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
          .stand_in = stand_in_ ? &*stand_in_ : nullptr,
          .non_finite = worker_policy(config_),
          .local = local_ ? &*local_ : nullptr,
          .sampler = sampler(),
          .residuals = residuals_.get(),
          .estimates = config_.estimates()};
}

}  // namespace sheaf::launcher
