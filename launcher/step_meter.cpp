#include "launcher/step_meter.h"

#include <condition_variable>
#include <iostream>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "common/base/error.h"
#include "common/base/stopwatch.h"
#include "common/cluster/keeper.h"
#include "common/math/blas.h"
#include "common/params/partition_tree.h"
#include "launcher/allocation_count.h"
#include "launcher/host.h"
#include "launcher/local_training.h"
#include "launcher/rank.h"
#include "launcher/roles.h"

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
class StepMeter final : public cluster::Coordination {
 public:
  StepMeter(Crew& crew, bool first, std::size_t expected) : crew_(crew), first_(first) {
    for (auto* times :
         {&samples_.step, &samples_.compute, &samples_.exposed, &samples_.displaced,
          &samples_.exchange, &samples_.baseline, &samples_.optimizer, &samples_.gemms}) {
      times->reserve(expected);
    }
  }
  // REQUIRES: both outlive the steps; without an exchange there are no servers.
  void watch(LocalTraining& alone, const worker::PushPull* exchange) {
    alone_ = &alone;
    exchange_ = exchange;
  }
  const StepSamples& samples() const { return samples_; }

  // Steps without servers until it is enough.
  void run_alone() {
    while (pause()) {
    }
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
  void report_loss(const wire::StepLoss&, std::uint64_t, std::uint64_t) override {}
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

void warn(const std::string& text) { std::cerr << "warning: " << text << "\n"; }

// What all roles of the job know and share.
struct Job {
  explicit Job(const RunConfig& c) : config(c) {
    if (c.run().servers == 0 || !c.shares_memory()) return;
    const net::Credentials first = credentials({Role::server, 0});
    keeper = cluster::Keeper::start(first, c.timeouts().dead);
    memory = std::make_unique<cluster::KeeperClient>(first, c.timeouts().dead);
  }
  net::Credentials credentials(ProcessId process) const {
    return make_credentials(config, key, process, 0);
  }
  // As in a job whose ranks are processes of this host.
  Duration spin() const {
    std::vector<wire::ProcessInfo> ranks(config.run().servers + config.run().workers);
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      ranks[i].process.role = i < config.run().servers ? Role::server : Role::worker;
      ranks[i].host_id = host;
    }
    return spin_on_host(ranks, config.run().blas_threads, config.network().lanes);
  }

  const RunConfig& config;
  cluster::Shutdown shutdown;
  wire::JobKey key;
  std::string host = host_identity();
  std::unique_ptr<cluster::Keeper> keeper;
  std::unique_ptr<cluster::KeeperClient> memory;  // null: the exchange goes over loopback TCP
};

// The servers of the job, bound, open and at work until finished.
class Servers {
 public:
  Servers(Job& job, const params::Layout& layout) {
    for (std::uint32_t id = 0; id < job.config.run().servers; ++id) {
      const ProcessId process{Role::server, id};
      servers_.push_back(std::make_unique<server::Server>(
          server_options(job.config, id, job.credentials(process), warn), job.shutdown));
      wire::ProcessInfo info;
      info.process = process;
      info.host_id = job.host;
      for (const net::Endpoint& e : servers_.back()->bind("127.0.0.1", {})) {
        info.address = e.address;
        info.ports.push_back(e.port);
      }
      roster_.push_back(info);
    }
    for (const auto& server : servers_) server->open(layout, roster_, job.memory.get(), job.spin());
    for (const auto& server : servers_) {
      threads_.emplace_back([&shutdown = job.shutdown, s = server.get()] {
        try {
          s->run();
        } catch (...) {
          shutdown.fail(std::current_exception());
        }
      });
    }
  }
  const std::vector<wire::ProcessInfo>& roster() const { return roster_; }

 private:
  std::vector<std::unique_ptr<server::Server>> servers_;
  std::vector<wire::ProcessInfo> roster_;
  std::vector<std::jthread> threads_;  // last, so that they end first
};

void run_worker(Job& job, std::uint32_t id, WorkerRole& role, StepMeter& meter,
                const std::vector<wire::ProcessInfo>& roster) {
  role.load([&](std::string_view tag, std::map<std::uint32_t, std::vector<double>> mine) {
    return meter.sum(tag, mine);
  });
  LocalTraining alone(job.config, role);
  if (roster.empty()) {
    meter.watch(alone, nullptr);
    return meter.run_alone();
  }
  auto options = role.exchange_options(job.credentials({Role::worker, id}), warn);
  options.keeper = job.memory.get();
  options.host_id = job.host;
  if (job.memory) options.spin = job.spin();
  worker::PushPull exchange(std::move(options), role.chunks(), role.shards(), role.pull(),
                            job.shutdown);
  exchange.connect(roster);
  exchange.start();
  meter.watch(alone, &exchange);
  worker::Worker worker(role.parts(exchange, meter, job.shutdown),
                        {.seed = job.config.run().seed,
                         .steps = std::numeric_limits<Step>::max(),
                         .prefetch = job.config.data().prefetch,
                         .evaluate = false});
  worker.run();
}

}  // namespace

StepSamples measure_steps(const RunConfig& config) {
  const std::uint32_t workers = config.run().workers;
  Job job(config);
  std::vector<std::unique_ptr<WorkerRole>> roles;
  for (std::uint32_t id = 0; id < workers; ++id) {
    roles.push_back(std::make_unique<WorkerRole>(config, id));
  }
  Servers servers(job, roles.front()->model().layout());
  Crew crew{{workers, job.shutdown}};
  std::vector<std::unique_ptr<StepMeter>> meters;
  for (std::uint32_t id = 0; id < workers; ++id) {
    meters.push_back(std::make_unique<StepMeter>(crew, id == 0, kEnough + kBlock));
  }
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t id = 0; id < workers; ++id) {
      threads.emplace_back([&, id] {
        try {
          run_worker(job, id, *roles[id], *meters[id], servers.roster());
        } catch (...) {
          job.shutdown.fail(std::current_exception());
        }
      });
    }
  }
  job.shutdown.finish();
  job.shutdown.throw_if_failed();
  return meters.front()->samples();
}

}  // namespace sheaf::launcher
