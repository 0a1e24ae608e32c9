#include "launcher/bench_step.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <thread>

#include "common/base/error.h"
#include "common/math/blas.h"
#include "common/math/kernels.h"
#include "common/params/partition_tree.h"
#include "launcher/allocation_count.h"
#include "launcher/rank.h"
#include "launcher/roles.h"

namespace sheaf::launcher {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Step kWarmUp = 40;
constexpr Step kMeasured = 300;

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Takes a reading at the start of each step of one worker, in its compute thread.
class StepMeter final : public cluster::Coordination {
 public:
  struct Reading {
    double time, waited, exchanged, blas;
    std::uint64_t allocations;
  };
  StepMeter() { readings_.reserve(kWarmUp + kMeasured + 1); }
  void watch(const worker::PushPull& exchange) { exchange_ = &exchange; }
  const std::vector<Reading>& readings() const { return readings_; }

  bool may_begin(Step step) override {
    if (exchange_ != nullptr) {
      readings_.push_back({since(begin_), exchange_->waited_seconds(),
                           exchange_->exchange_seconds(), math::blas_seconds(),
                           allocation_count()});
    }
    return step < kWarmUp + kMeasured;
  }
  std::vector<double> sum(std::string_view, const Values& mine) override {
    std::vector<std::vector<double>> all;
    for (const auto& [partition, values] : mine) all.push_back(values);
    return params::tree_sum(all);
  }
  void submit(std::string_view, const Values&) override {}
  void collect(std::string_view, const Values&) override {}
  void report_loss(const wire::StepLoss&, std::uint64_t, std::uint64_t) override {}
  void send_model(std::size_t, std::span<const float>) override {}

 private:
  const worker::PushPull* exchange_ = nullptr;
  Clock::time_point begin_ = Clock::now();
  std::vector<Reading> readings_;
};

// All roles of the job as threads. Only the first worker is measured.
std::vector<StepMeter::Reading> run_job(const RunConfig& config) {
  const RunSection& run = config.run();
  cluster::Shutdown shutdown;
  const wire::JobKey key;
  const auto warn = [](const std::string& text) { std::cerr << "warning: " << text << "\n"; };
  const auto credentials = [&](Role role, std::uint32_t id) {
    return net::Credentials{key, make_identity(config, {role, id}, 0)};
  };

  std::vector<std::unique_ptr<WorkerRole>> roles;
  for (std::uint32_t id = 0; id < run.workers; ++id) {
    roles.push_back(std::make_unique<WorkerRole>(config, id));
  }
  std::vector<std::unique_ptr<server::Server>> servers;
  std::vector<wire::ProcessInfo> roster;
  for (std::uint32_t id = 0; id < run.servers; ++id) {
    servers.push_back(std::make_unique<server::Server>(
        server_options(config, id, credentials(Role::server, id), warn), shutdown));
    wire::ProcessInfo info;
    info.process = {Role::server, id};
    for (const net::Endpoint& e : servers.back()->bind("127.0.0.1", {})) {
      info.address = e.address;
      info.ports.push_back(e.port);
    }
    roster.push_back(info);
  }
  for (const auto& server : servers) server->open(roles.front()->model().layout(), roster);

  std::vector<StepMeter> meters(run.workers);
  const auto guarded = [&](auto body) {
    try {
      body();
    } catch (...) {
      shutdown.fail(std::current_exception());
    }
  };
  std::vector<std::jthread> server_threads;
  for (const auto& server : servers) {
    server_threads.emplace_back([&, s = server.get()] { guarded([&] { s->run(); }); });
  }
  {
    std::vector<std::jthread> worker_threads;
    for (std::uint32_t id = 0; id < run.workers; ++id) {
      worker_threads.emplace_back([&, id] {
        guarded([&] {
          WorkerRole& role = *roles[id];
          role.load([&](std::string_view tag, std::map<std::uint32_t, std::vector<double>> mine) {
            return meters[id].sum(tag, mine);  // of this worker's partitions: enough to time a step
          });
          worker::PushPull exchange(role.exchange_options(credentials(Role::worker, id), warn),
                                    role.chunks(), role.shards(), role.pull(), shutdown);
          exchange.connect(roster);
          exchange.start();
          if (id == 0) meters[id].watch(exchange);
          worker::Worker worker(
              role.parts(exchange, meters[id], shutdown),
              {.seed = run.seed, .steps = kWarmUp + kMeasured, .prefetch = config.data().prefetch});
          worker.run();
        });
      });
    }
  }
  shutdown.finish();
  server_threads.clear();
  shutdown.throw_if_failed();
  return meters.front().readings();
}

// Seconds of one step's compute when `partitions` partitions share the batch: their passes one
// after the other, and the sums between them.
double compute_seconds(const RunConfig& config, const worker::Schema& schema,
                       std::uint32_t partitions) {
  const std::uint64_t batch = std::max<std::uint64_t>(1, config.data().batch / partitions);
  const auto model = config.make_model(schema);
  model->reserve(batch);
  AlignedBuffer<float> parameters(model->layout().size());
  model->initialise(parameters.span(), config.run().seed);
  AlignedBuffer<float> gradient(parameters.size());
  AlignedBuffer<float> total(parameters.size());
  worker::Batch examples = worker::make_batch(batch, schema);
  examples.examples = batch;
  Stream stream(1, Purpose::test);
  for (float& x : examples.inputs.span()) x = stream.uniform();

  std::vector<double> times;
  for (int repeat = 0; repeat < 60; ++repeat) {
    const auto begin = Clock::now();
    for (std::uint32_t p = 0; p < partitions; ++p) {
      model->gradient(parameters.span(), examples, {1, 0, p}, gradient.span());
      if (p != 0) math::add(gradient.span(), total.span());
    }
    if (repeat >= 10) times.push_back(since(begin));
  }
  return median(times);
}

}  // namespace

int bench_step(const BenchCommand& command, std::ostream& out) {
  std::vector<std::string> overrides = command.job.overrides;
  overrides.push_back("run.epochs=1000000");  // as many steps as the measurement takes
  RunConfig config = RunConfig::load(command.job.file, overrides);
  config.require_sound();
  math::set_blas_threads(static_cast<int>(config.run().blas_threads));

  const auto readings = run_job(config);
  std::vector<double> step, compute, exchange, exposed;
  for (std::size_t i = kWarmUp; i + 1 < readings.size(); ++i) {
    const auto& a = readings[i];
    const auto& b = readings[i + 1];
    step.push_back(1e3 * (b.time - a.time));
    exposed.push_back(1e3 * (b.waited - a.waited));
    compute.push_back(step.back() - exposed.back());
    exchange.push_back(1e3 * (b.exchanged - a.exchanged));
  }
  const auto& first = readings[kWarmUp];
  const auto& last = readings.back();
  const double computed = (last.time - first.time) - (last.waited - first.waited);
  const double steps = static_cast<double>(readings.size() - 1 - kWarmUp);

  nlohmann::ordered_json json;
  json["step_ms"] = median(step);
  json["compute_ms"] = median(compute);
  json["exchange_ms"] = median(exchange);
  json["exposed_ms"] = median(exposed);
  json["blas_share"] = (last.blas - first.blas) / computed;
  json["allocations_per_step"] = static_cast<double>(last.allocations - first.allocations) / steps;
  const worker::Schema schema = config.make_source()->schema();
  const double alone = compute_seconds(config, schema, 1);
  json["compute_alone_ms"] = 1e3 * alone;
  for (const std::uint32_t p : {1U, 2U, 4U, 8U}) {
    json["price_of_p"][std::to_string(p)] =
        p == 1 ? 1.0 : compute_seconds(config, schema, p) / alone;
  }
  json["batch"] = config.data().batch;
  json["workers"] = config.run().workers;
  json["servers"] = config.run().servers;
  json["partitions"] = config.run().partitions;
  json["steps"] = steps;
  if (command.json) {
    out << json.dump(1) << "\n";
    return 0;
  }
  out << fmt::format(
      "step      {:8.3f} ms  (median of {:.0f}, {} workers and {} servers as threads)\n",
      median(step), steps, config.run().workers, config.run().servers);
  out << fmt::format("compute   {:8.3f} ms  of which BLAS {:.0f} %\n", median(compute),
                     100 * json["blas_share"].get<double>());
  out << fmt::format("exchange  {:8.3f} ms  from the first push to the last new parameter\n",
                     median(exchange));
  out << fmt::format("exposed   {:8.3f} ms  of waiting that compute did not hide\n",
                     median(exposed));
  out << fmt::format("allocations per step  {}\n", json["allocations_per_step"].get<double>());
  out << fmt::format("price of P, compute of a batch of {} split in P: ", config.data().batch);
  for (const auto& [p, price] : json["price_of_p"].items()) {
    out << fmt::format(" P={} {:.2f}", p, price.get<double>());
  }
  out << "\n";
  return 0;
}

}  // namespace sheaf::launcher
