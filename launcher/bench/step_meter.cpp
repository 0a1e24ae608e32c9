#include "launcher/bench/step_meter.h"

#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>

#include "common/base/error.h"
#include "common/base/stopwatch.h"
#include "common/math/blas.h"
#include "common/params/partition_tree.h"
#include "launcher/rank/local_training.h"
#include "launcher/rank/role_threads.h"
#include "launcher/system/allocation_count.h"

namespace sheaf::launcher {
namespace {

constexpr std::size_t kSettling = 5;  // steps of a block until caches and threads are at work again
constexpr std::size_t kBlock = 30;    // with those
constexpr std::size_t kRepeats = 10;  // of the bare products, per pause
constexpr std::size_t kEnough = 300;  // measured steps
constexpr double kLongEnough = 10;    // seconds, if the steps are long

// Where all workers wait for each other. Ends with the job.
class Barrier {
 public:
  Barrier(std::uint32_t parties, cluster::Shutdown& shutdown)
      : parties_(parties), shutdown_(shutdown), on_end_(shutdown, [this] {
          const std::lock_guard lock(mutex_);
          changed_.notify_all();
        }) {}

  void wait() {
    std::unique_lock lock(mutex_);
    const std::uint64_t round = round_;
    if (++arrived_ == parties_) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return round_ != round || shutdown_.ended(); });
    if (round_ != round) return;
    lock.unlock();
    shutdown_.throw_if_failed();
    fail(Fault::network, "the job ended between two blocks of steps");
  }

 private:
  const std::uint32_t parties_;
  cluster::Shutdown& shutdown_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint32_t arrived_ = 0;  // guarded
  std::uint64_t round_ = 0;    // guarded
  cluster::Shutdown::Subscription on_end_;
};

// What the workers of a job share: when to pause, and when it is enough.
struct Crew {
  Barrier barrier;
  bool enough = false;  // written by the first worker while all others are at the barrier
};

// Takes the samples of one worker, in its compute thread. As its coordinator, it is asked before
// each step.
class StepMeter final : public cluster::Coordination, public RoleThreads::WorkerBody {
 public:
  StepMeter(const RunConfig& config, RoleThreads& job, Crew& crew, bool first, std::size_t expected)
      : config_(config), job_(job), crew_(crew), first_(first) {
    for (auto* times :
         {&samples_.step, &samples_.compute, &samples_.exposed, &samples_.displaced,
          &samples_.exchange, &samples_.baseline, &samples_.optimizer, &samples_.gemms}) {
      times->reserve(expected);
    }
  }
  const StepSamples& samples() const { return samples_; }

  void work(WorkerRole& role, worker::PushPull* exchange) override {
    LocalTraining alone(config_, role);
    alone_ = &alone;
    exchange_ = exchange;
    if (exchange == nullptr) {  // steps without servers until it is enough
      while (pause()) {
      }
      return;
    }
    worker::Worker worker(role.parts(*exchange, *this, job_.shutdown()),
                          {.seed = config_.run().seed,
                           .steps = std::numeric_limits<Step>::max(),
                           .prefetch = config_.data().prefetch,
                           .evaluate = false});
    worker.run();
  }

  bool may_begin(Step) override {
    const Reading now = read();
    if (!warming_up_ && position_ > kSettling) record(before_, now, {});
    before_ = now;
    if (position_++ < kBlock) return true;
    const bool go_on = pause();
    position_ = 1;
    before_ = read();
    return go_on;
  }
  std::vector<double> sum(std::string_view, const Values& mine) override {
    std::vector<std::vector<double>> all;
    for (const auto& [partition, values] : mine) all.push_back(values);
    return params::tree_sum(all);  // of this worker's partitions: enough to time a step
  }
  void submit(std::string_view, const Values&) override {}
  void collect(std::string_view, const Values&) override {}
  void report_loss(const wire::StepLoss&, const wire::Traffic&) override {}
  void send_model(std::size_t, std::span<const float>) override {}

 private:
  struct Reading {
    Elapsed time, waited;
    double exchanged = 0, blas = 0;
    std::uint64_t allocations = 0;
  };
  Reading read() const {
    const Elapsed waited = exchange_ == nullptr ? Elapsed{} : exchange_->waited();
    const double exchanged = exchange_ == nullptr ? 0 : exchange_->exchange_seconds();
    return {clocks(), waited, exchanged, math::blas_seconds(), allocation_count()};
  }

  // A step from `a` to `b`, and the optimizer behind it where that is the worker's own.
  void record(const Reading& a, const Reading& b, const Elapsed& optimizer) {
    const Elapsed passed = b.time - a.time;
    const double waited = (b.waited - a.waited).wall;
    const double compute = (passed - (b.waited - a.waited)).busy();
    samples_.step.push_back(passed.wall + optimizer.wall);
    samples_.compute.push_back(compute);
    samples_.exposed.push_back(waited);
    samples_.displaced.push_back(samples_.step.back() - compute - waited - optimizer.busy());
    samples_.exchange.push_back(b.exchanged - a.exchanged);
    samples_.blas_seconds += b.blas - a.blas;
    samples_.computed_seconds += passed.wall - waited;
    samples_.allocations += static_cast<double>(b.allocations - a.allocations);
  }

  // The block alone, between the blocks of the job. False if it was the last one.
  bool pause() {
    crew_.barrier.wait();
    if (products_.empty()) {
      const math::ProductRecorder recorder(products_);
      step_alone(false);
      for (const math::Product& product : products_) samples_.flops += product.flops();
    }
    for (std::size_t i = 0; i < kBlock; ++i) step_alone(!warming_up_ && i >= kSettling);
    for (std::size_t i = 0; i < kRepeats; ++i) {
      step_alone(false);  // so that the products find in the caches what they find in a step
      const Elapsed bare = time_of([&] {
        for (const math::Product& product : products_) math::repeat(product);
      });
      if (!warming_up_) samples_.gemms.push_back(bare.busy());
    }
    if (first_) {
      crew_.enough = samples_.baseline.size() >= kEnough ||
                     (!warming_up_ && clocks().wall - begin_ > kLongEnough);
    }
    warming_up_ = false;
    crew_.barrier.wait();
    return !crew_.enough;
  }

  void step_alone(bool counts) {
    const Reading begin = read();
    alone_->compute();
    const Reading middle = read();
    alone_->optimize();
    const Elapsed optimizer = clocks() - middle.time;
    if (!counts) return;
    samples_.baseline.push_back((middle.time - begin.time).wall + optimizer.wall);
    samples_.optimizer.push_back(optimizer.busy());
    if (exchange_ == nullptr) record(begin, middle, optimizer);
  }

  const RunConfig& config_;
  RoleThreads& job_;
  Crew& crew_;
  const bool first_;
  LocalTraining* alone_ = nullptr;
  const worker::PushPull* exchange_ = nullptr;
  const double begin_ = clocks().wall;
  bool warming_up_ = true;    // until the first pause has ended
  std::size_t position_ = 0;  // steps begun in this block of the job
  Reading before_;
  std::vector<math::Product> products_;  // of one step alone
  StepSamples samples_;
};

}  // namespace

StepSamples measure_steps(const RunConfig& config) {
  RoleThreads job(config);
  Crew crew{{config.run().workers, job.shutdown()}};
  std::vector<std::unique_ptr<StepMeter>> meters;
  std::vector<RoleThreads::WorkerBody*> bodies;
  for (std::uint32_t id = 0; id < config.run().workers; ++id) {
    meters.push_back(std::make_unique<StepMeter>(config, job, crew, id == 0, kEnough + kBlock));
    bodies.push_back(meters.back().get());
  }
  job.run(bodies);
  return meters.front()->samples();
}

}  // namespace sheaf::launcher
