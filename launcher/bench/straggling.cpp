#include "launcher/bench/straggling.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <limits>
#include <mutex>
#include <thread>

#include "common/base/error.h"
#include "common/metrics/evaluation.h"
#include "launcher/coordinator/gathering.h"
#include "launcher/coordinator/speculation.h"
#include "launcher/rank/role_threads.h"
#include "launcher/system/median.h"
#include "worker/models/losses/loss.h"

namespace sheaf::launcher {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Where the workers of the job bring what a coordinator would sum. Thread-safe; ends with the job.
class MeetingPlace {
 public:
  MeetingPlace(const RunConfig& config, RoleThreads& job)
      : job_(job),
        gathering_(config.run().partitions),
        speculation_({config.run().workers, config.run().partitions,
                      [this](std::uint32_t worker, const wire::PartitionClock& help) {
                        helps_[worker].push_back(help);
                        exchanges_.at(worker)->nudge();
                      }}),
        shutdown_(job.shutdown()),
        on_end_(shutdown_, [this] {
          const std::lock_guard lock(mutex_);
          changed_.notify_all();
        }) {}

  // The workers that stand in for a late one, as the coordinator of a job would have them.
  void enter(std::uint32_t worker, worker::PushPull& exchange) {
    const std::lock_guard lock(mutex_);
    exchanges_[worker] = &exchange;
  }
  void offer(std::uint32_t worker, Step step) {
    const auto lacking = job_.waiting_for();
    const std::lock_guard lock(mutex_);
    speculation_.on_offer(worker, step);
    for (const wire::Waiting& w : lacking) speculation_.on_missing(w.step, w.partitions);
  }
  std::optional<wire::PartitionClock> take(std::uint32_t worker) {
    const std::lock_guard lock(mutex_);
    auto& helps = helps_[worker];
    if (helps.empty()) return std::nullopt;
    const wire::PartitionClock help = helps.front();
    helps.pop_front();
    return help;
  }

  void bring(std::uint32_t worker, std::string_view tag, bool sum,
             const cluster::Coordination::Values& mine) {
    const std::lock_guard lock(mutex_);
    wire::Contribution part;
    part.tag = tag;
    part.sum = sum;
    part.values.assign(mine.begin(), mine.end());
    auto whole = gathering_.add({Role::worker, worker}, std::move(part));
    if (!whole) return;
    known_[whole->tag] = std::move(whole->values);
    changed_.notify_all();
  }
  std::vector<double> await(std::string_view tag) {
    std::unique_lock lock(mutex_);
    const std::string name(tag);
    changed_.wait(lock, [&] { return known_.contains(name) || shutdown_.ended(); });
    if (!known_.contains(name)) {
      lock.unlock();
      shutdown_.throw_if_failed();
      fail(Fault::network, "the job ended before the sum of {}", name);
    }
    return known_.at(name);
  }

 private:
  RoleThreads& job_;
  Gathering gathering_;
  Speculation speculation_;                                          // guarded, as what follows
  std::map<std::uint32_t, std::deque<wire::PartitionClock>> helps_;  // by worker
  std::map<std::uint32_t, worker::PushPull*> exchanges_;
  cluster::Shutdown& shutdown_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<double>> known_;  // guarded
  cluster::Shutdown::Subscription on_end_;
};

// One worker, and as its coordinator who makes it late.
class LateWorker final : public cluster::Coordination, public RoleThreads::WorkerBody {
 public:
  LateWorker(const RunConfig& config, RoleThreads& job, MeetingPlace& place, std::uint32_t id,
             double late)
      : config_(config), job_(job), place_(place), id_(id), late_(late) {}

  void work(WorkerRole& role, worker::PushPull* exchange) override {
    exchange_ = exchange;
    place_.enter(id_, *exchange);
    role.stand_in_for_others([](const std::string&) {});
    parameters_ = role.model().layout().size();
    steps_ = role.steps();
    shape_ = {role.model().loss().task(), role.model().outputs(), role.model().schema().targets};
    begun_.reserve(steps_ + 1);
    worker::Worker worker(
        role.parts(*exchange, *this, job_.shutdown()),
        {.seed = config_.run().seed, .steps = steps_, .prefetch = config_.data().prefetch});
    report_ = worker.run();
    if (!config_.stand_in_after()) return;
    examples_ = 0;  // some were reported by two workers, and counted once
    for (Step step = 0; step < steps_; ++step) {
      for (std::uint32_t p = role.hosted().first; p < role.hosted().end(); ++p) {
        examples_ += role.plan().count(step, p);
      }
    }
  }
  bool may_begin(Step step) override {
    begun_.push_back(SteadyClock::now());
    if (late_ > 0 && step % config_.run().workers == id_) {
      // As if its gradient took longer: with the parameters here, not while they come.
      exchange_->wait_arrived(0, parameters_, step);
      std::this_thread::sleep_for(std::chrono::duration<double>(late_));
    }
    return true;
  }
  std::vector<double> sum(std::string_view tag, const Values& mine) override {
    place_.bring(id_, tag, true, mine);
    return place_.await(tag);
  }
  void submit(std::string_view tag, const Values& mine) override {
    place_.bring(id_, tag, true, mine);
  }
  void collect(std::string_view tag, const Values& mine) override {
    place_.bring(id_, tag, false, mine);
  }
  void report_loss(const wire::StepLoss& loss, const wire::Traffic&) override {
    examples_ += loss.examples;
  }
  void offer_help(Step step) override { place_.offer(id_, step); }
  std::optional<wire::PartitionClock> take_help() override { return place_.take(id_); }
  void send_model(std::size_t, std::span<const float>) override {}

  double seconds() const { return report_.seconds; }
  std::uint64_t examples() const { return examples_; }
  double median_step() const {
    std::vector<double> steps;
    for (std::size_t i = 1; i < begun_.size(); ++i) {
      steps.push_back(std::chrono::duration<double>(begun_[i] - begun_[i - 1]).count());
    }
    return median(steps);
  }
  // Once all workers have ended.
  double final_loss() {
    const std::string tag = fmt::format("train {}", steps_);
    const auto scores = shape_.has_scores() ? place_.await(tag + " scores") : std::vector<double>{};
    return metrics::evaluate(shape_, place_.await(tag), scores).loss;
  }

 private:
  const RunConfig& config_;
  RoleThreads& job_;
  MeetingPlace& place_;
  const std::uint32_t id_;
  const double late_;
  worker::PushPull* exchange_ = nullptr;
  std::size_t parameters_ = 0;
  Step steps_ = 0;
  metrics::Shape shape_{};
  worker::WorkerReport report_;
  std::uint64_t examples_ = 0;
  std::vector<SteadyClock::time_point> begun_;
};

}  // namespace

StragglingFigures run_straggling(const RunConfig& config, double late) {
  RoleThreads job(config);
  MeetingPlace place(config, job);
  std::vector<std::unique_ptr<LateWorker>> workers;
  std::vector<RoleThreads::WorkerBody*> bodies;
  for (std::uint32_t id = 0; id < config.run().workers; ++id) {
    workers.push_back(std::make_unique<LateWorker>(config, job, place, id, late));
    bodies.push_back(workers.back().get());
  }
  job.run(bodies);
  StragglingFigures figures;
  std::uint64_t examples = 0;
  for (const auto& worker : workers) {
    figures.seconds = std::max(figures.seconds, worker->seconds());
    examples += worker->examples();
  }
  // What is computed and dropped does not count.
  examples = examples * (config.run().partitions - config.backup()) / config.run().partitions;
  figures.examples_per_s = static_cast<double>(examples) / figures.seconds;
  figures.step_seconds = workers.front()->median_step();
  figures.loss = workers.front()->final_loss();
  return figures;
}

RunConfig with_four_workers(const JobArguments& job, std::string_view gate,
                            std::vector<std::string> overrides) {
  constexpr std::uint32_t kWorkers = 4;
  std::vector<std::string> words = job.overrides;
  for (const char* word :
       {"run.workers=4", "run.partitions=4", "run.servers=1", "data.validation=0"}) {
    words.emplace_back(word);
  }
  words.push_back(fmt::format("consistency.kind={}", gate));
  std::ranges::move(overrides, std::back_inserter(words));
  RunConfig plain = RunConfig::load(job.file, words);
  plain.require_sound();
  if (plain.synchronous()) return plain;
  const double rate = plain.make_schedule().rate(std::numeric_limits<std::uint32_t>::max());
  words.push_back(fmt::format("optimizer.rate={}", rate / kWorkers));
  RunConfig config = RunConfig::load(job.file, words);
  config.require_sound();
  return config;
}

namespace {

// The job, or its first steps.
JobArguments shortened(const JobArguments& job) {
  constexpr Step kMost = 500;
  JobArguments short_job = job;
  const RunConfig config = RunConfig::load(job.file, job.overrides);
  if (config.run().steps.value_or(kMost + 1) > kMost) {
    short_job.overrides.push_back(fmt::format("run.steps={}", kMost));
  }
  return short_job;
}

}  // namespace

StragglingPair::StragglingPair(const JobArguments& job)
    : bsp_(with_four_workers(shortened(job), "bsp")),
      ssp_(with_four_workers(shortened(job), "ssp", {"consistency.staleness=3"})) {}

StragglingRatio StragglingPair::compare() const {
  constexpr int kRuns = 3;
  const double late = 3 * run_straggling(bsp_, 0).step_seconds;
  std::vector<double> throughput, loss;
  for (int run = 0; run < kRuns; ++run) {
    const StragglingFigures a = run_straggling(bsp_, late);
    const StragglingFigures b = run_straggling(ssp_, late);
    throughput.push_back(b.examples_per_s / a.examples_per_s);
    loss.push_back(b.loss / a.loss);
  }
  return {median(throughput), median(loss)};
}

}  // namespace sheaf::launcher
