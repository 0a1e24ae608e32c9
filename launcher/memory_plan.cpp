#include "launcher/memory_plan.h"

namespace sheaf::launcher {

MemoryPlan plan_memory(const RunConfig& config, std::uint64_t parameters) {
  const RunSection& run = config.run();
  const auto source = config.make_source();
  const worker::Schema schema = source->schema();
  const std::uint64_t row =
      schema.features * (schema.bytes ? 1 : sizeof(float)) + schema.targets * sizeof(float);
  const std::uint64_t examples = source->rows(worker::SourcePart::train) / run.workers +
                                 source->rows(worker::SourcePart::test) / run.workers;
  const std::uint64_t pending = config.exact()         ? (run.partitions + 1) / 2
                                : config.synchronous() ? run.partitions + run.workers
                                                       : run.workers;
  const std::uint64_t state = config.make_optimizer()->state_per_parameter();
  const std::uint64_t copies = 3 + pending + (config.keeps_snapshots() ? 2 : 1) * state;
  std::uint64_t vectors = 3;
  if (config.local_steps() != 0) {
    vectors += 2 + config.make_inner_optimizer()->state_per_parameter();
  }
  if (config.error_feedback()) vectors += (run.partitions + run.workers - 1) / run.workers;
  return {sizeof(float) * parameters * copies / run.servers,
          vectors * sizeof(float) * parameters + row * examples};
}

}  // namespace sheaf::launcher
