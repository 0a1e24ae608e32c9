#include "launcher/config/memory_plan.h"

namespace sheaf::launcher {

MemoryPlan plan_memory(const RunConfig& config, std::uint64_t parameters) {
  const RunSection& run = config.run();
  const auto source = config.make_source();
  const worker::Schema schema = source->schema();
  const std::uint64_t row =
      schema.features * (schema.bytes ? 1 : sizeof(float)) + schema.targets * sizeof(float);
  const std::uint64_t examples = source->rows(worker::SourcePart::train) / run.workers +
                                 source->rows(worker::SourcePart::test) / run.workers;
  const bool snapshots = config.keeps_snapshots() && !config.keeps_snapshots_if_there_is_room();
  MemoryPlan plan = plan_parameter_memory(config, parameters, snapshots);
  plan.worker += row * examples;
  return plan;
}

MemoryPlan plan_parameter_memory(const RunConfig& config, std::uint64_t parameters,
                                 bool snapshots) {
  const RunSection& run = config.run();
  const std::uint64_t pending = config.exact()         ? (run.partitions + 1) / 2
                                : config.synchronous() ? run.partitions + run.workers
                                                       : run.workers;
  const std::uint64_t state = config.make_server_optimizer()->state_per_parameter();
  const std::uint64_t views = config.pull_feedback() ? 6 : 0;  // with their encodings
  const std::uint64_t kept_views = config.pull_feedback() ? 2 : 0;
  std::uint64_t copies = 3 + pending + views + state;
  if (snapshots) {  // where workers map parameters, these are the slots
    const compression::Codecs pull = config.make_pull_codecs();
    const bool mapped =
        config.shares_memory() && config.exact() && pull.usual->identity() && pull.layers.empty();
    copies += state + kept_views + (mapped ? 0 : 2);
  }
  // Of another server's part; sums under way.
  if (config.keeps_replicas()) copies += 2 + state + kept_views + 2;
  const std::uint64_t hosted = (run.partitions + run.workers - 1) / run.workers;
  std::uint64_t vectors = 3;
  // What is pushed stays until its step is acknowledged, at most of each partition.
  // With factors its gradient, until the second round.
  const bool keeps = (snapshots || config.keeps_replicas()) && config.exact();
  if (keeps || config.pushes_factors()) vectors += hosted - 1;
  if (config.local_steps() != 0) {
    vectors += 2 + config.make_inner_optimizer()->state_per_parameter();
  }
  vectors += 3 * std::uint64_t{config.residual_runs()} * hosted;
  return {sizeof(float) * parameters * copies / run.servers, vectors * sizeof(float) * parameters};
}

}  // namespace sheaf::launcher
