#include "worker/data/batcher.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace sheaf::worker {

Batcher::Batcher(const Options& options, Fill fill)
    : hosted_(options.hosted), first_(options.first), fill_(std::move(fill)) {
  check(hosted_.count > 0 && options.prefetch > 0, "a partition and a slot to prefetch");
  for (std::size_t i = 0; i <= options.prefetch; ++i) {
    slots_.push_back(make_batch(options.examples, options.schema));
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void Batcher::run(const std::stop_token& stop) {
  try {
    for (std::uint64_t i = 0;; ++i) {
      {
        std::unique_lock lock(mutex_);
        const bool room = changed_.wait(lock, stop, [&] { return i - released_ < slots_.size(); });
        if (!room || stop.stop_requested()) return;
      }
      const auto partition = hosted_.first + static_cast<std::uint32_t>(i % hosted_.count);
      fill_(first_ + i / hosted_.count, partition, slots_[i % slots_.size()]);
      {
        const std::lock_guard lock(mutex_);
        filled_ = i + 1;
      }
      changed_.notify_all();
    }
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
    }
    changed_.notify_all();
  }
}

const Batch& Batcher::next(Step step, std::uint32_t partition) {
  check(hosted_.contains(partition) && step >= first_ &&
            (step - first_) * hosted_.count + (partition - hosted_.first) == taken_,
        "batches are taken in order");
  {
    std::unique_lock lock(mutex_);
    released_ = taken_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return filled_ > taken_ || error_; });
    if (filled_ == taken_) std::rethrow_exception(error_);
  }
  return slots_[taken_++ % slots_.size()];
}

Batcher::Fill training_batches(const PartitionSet& data, const BatchPlan& plan,
                               const Normaliser& normaliser, const PoissonSampler* sampler) {
  const bool samples = plan.sampling() == Sampling::poisson;
  check(!samples || sampler != nullptr, "who draws samples");
  std::uint64_t largest = 0;
  for (std::uint32_t p = data.hosted().first; p < data.hosted().end(); ++p) {
    largest = std::max(largest, plan.rows(p));
  }
  std::vector<std::uint64_t> places;
  places.reserve(largest);
  return [&data, &plan, &normaliser, sampler, samples, places = std::move(places)](
             Step step, std::uint32_t partition, Batch& into) mutable {
    const Partition share = data.train(partition);
    if (!samples) {
      plan.indices(step, partition, places);
    } else if (data.by_user()) {
      sampler->sample_users(step, partition, data.user_begins(partition), places);
    } else {
      sampler->sample(step, partition, share.size(), places);
    }
    if (places.size() * data.schema().features > into.inputs.size()) {
      into = make_batch(places.size(), data.schema());
    }
    share.gather(places, normaliser, into);
  };
}

}  // namespace sheaf::worker
