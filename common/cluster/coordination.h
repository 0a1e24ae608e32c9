// What a worker asks of the coordinator while it trains. Implemented by the control link of a rank,
// and within the process by tests. Calls come from the compute thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
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
  virtual void report_loss(const wire::StepLoss& loss, std::uint64_t push_bytes,
                           std::uint64_t pull_bytes) = 0;
  // False if the job drains and this step is not taken any more.
  virtual bool may_begin(Step step) = 0;
  // A part of the final model, for the model file.
  virtual void send_model(std::size_t offset, std::span<const float> values) = 0;
};

}  // namespace sheaf::cluster
