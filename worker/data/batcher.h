// Fills batches in the background while the caller computes, in a small ring of slots that are
// allocated once; a steady state allocates nothing. Owns one thread and the slots. next() belongs
// to one thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "common/base/ids.h"
#include "worker/data/batch.h"
#include "worker/data/batch_plan.h"
#include "worker/data/partition.h"
#include "worker/data/poisson_sampler.h"

namespace sheaf::worker {

class Batcher {
 public:
  // Makes `into` the batch of `partition` in `step`. Called by the batcher's thread alone.
  using Fill = std::function<void(Step step, std::uint32_t partition, Batch& into)>;

  struct Options {
    PartitionRange hosted;     // at least one partition
    Step first = 0;            // where to begin
    std::size_t prefetch = 2;  // batches kept ready beside the one in use; at least 1
    std::size_t examples = 0;  // that a batch has room for
    Schema schema;
  };

  Batcher(const Options& options, Fill fill);
  // Stops the thread after the batch that it is filling.
  ~Batcher() = default;

  // The batch of (step, partition), valid until the next call. Waits until it is filled; what the
  // thread threw is thrown here, after the batches that it had finished.
  // REQUIRES: steps in order from `first`, and in each step the hosted partitions in order.
  const Batch& next(Step step, std::uint32_t partition);

 private:
  void run(const std::stop_token& stop);

  const PartitionRange hosted_;
  const Step first_;

  std::vector<Batch> slots_;  // slot i % size holds the i-th batch
  std::uint64_t taken_ = 0;   // batches given to the caller; its own

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t filled_ = 0;    // guarded by mutex_: batches finished by the thread
  std::uint64_t released_ = 0;  // guarded by mutex_: batches the caller is done with
  std::exception_ptr error_;    // guarded by mutex_: why the thread ended early

  Fill fill_;            // the thread's own
  std::jthread thread_;  // last, so that it ends before what it uses
};

// Fills batches of the training part as the plan says, or the sampler if it leaves that open. A
// sample that finds no room in its batch gives it more: nothing is ever cut off.
// REQUIRES: the arguments outlive the result; a sampler where the plan is of Poisson sampling.
Batcher::Fill training_batches(const PartitionSet& data, const BatchPlan& plan,
                               const Normaliser& normaliser,
                               const PoissonSampler* sampler = nullptr);

}  // namespace sheaf::worker
