// What a worker asks of the coordinator while it trains. Implemented by the control link of a rank,
// and within the process by tests. Calls come from the compute thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/wire/handshake.h"
#include "common/wire/messages.h"

namespace sheaf::cluster {

class Coordination {
 public:
  virtual ~Coordination() = default;

  // One vector per hosted partition.
  using Values = std::map<std::uint32_t, std::vector<double>>;

  // The sum over all P partitions, in fp64 over the partition tree. Every worker calls it with the
  // same tags in the same order; blocks until all have, or throws when the job ends.
  virtual std::vector<double> sum(std::string_view tag, const Values& mine) = 0;
  // As sum(), for figures that only the coordinator wants. Does not block.
  virtual void submit(std::string_view tag, const Values& mine) = 0;
  // Hands over lists that the coordinator puts one after the other, by partition. Does not block.
  virtual void collect(std::string_view tag, const Values& mine) = 0;

  // The loss of one partition in one step, and the traffic so far. Does not block or allocate in
  // the steady state.
  virtual void report_loss(const wire::StepLoss& loss, const wire::Traffic& traffic) = 0;
  // False if the job drains and this step is not taken any more.
  virtual bool may_begin(Step step) = 0;
  // This worker has done its part of a step and waits for the others: it could compute theirs. Does
  // not block.
  virtual void offer_help(Step) {}
  // The next partitions that it is to compute as well, and in which step.
  virtual std::optional<wire::PartitionClock> take_help() { return std::nullopt; }
  // Under privacy: returns when the ledger has that the step may be released, which comes before
  // the first push of it; throws when the job ends.
  virtual void await_release(Step) {}
  // Under privacy with noise at the workers: so many chunks of the partition's step have been
  // released, all of them. Does not block.
  virtual void released(Step /*step*/, std::uint32_t /*partition*/, std::uint32_t /*chunks*/,
                        const wire::Digest& /*digest*/) {}
  // A part of the final model, for the model file.
  virtual void send_model(std::size_t offset, std::span<const float> values) = 0;
};

}  // namespace sheaf::cluster
