#include "launcher/bench/bench_recovery.h"

#include <fmt/ostream.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"
#include "launcher/bench/straggling.h"
#include "launcher/config/run_config.h"
#include "launcher/supervision/launch_plan.h"
#include "launcher/system/child.h"
#include "launcher/system/median.h"
#include "launcher/system/process_identity.h"
#include "launcher/system/scratch_folder.h"
#include "launcher/system/signals.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kPairs = 3;                      // of spans with and without checkpoints
constexpr double kSpan = 6;                    // seconds of training that a rate is taken over
constexpr int kLosses = 10;                    // of workers, and of servers
constexpr double kPauses = 10;                 // seconds with a checkpoint every 100 ms
constexpr double kBound = 30;                  // seconds of work that may be lost at most
constexpr std::chrono::seconds kPatience{90};  // for a job to begin, to save, to come back

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The job under `sheaf train` in a folder of its own, without an end.
class Job {
 public:
  Job(const BenchCommand& command, Signals& signals, fs::path run,
      std::vector<std::string> overrides)
      : run_(std::move(run)),
        signals_(signals),
        child_(start(command, run_, std::move(overrides))) {
    wait("begins to train", [&] { return steps() > 0; });
  }
  // Its ranks have ended when it has.
  ~Job() {
    end();
    std::error_code ignored;
    fs::remove_all(run_, ignored);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Asks it to end; its result.json.
  Json end() {
    child_.signal(SIGINT);
    child_.wait(kPatience);
    std::ifstream file(run_ / "result.json");
    return Json::parse(file, nullptr, false);
  }

  // Steps whose losses are known.
  std::uint64_t steps() const {
    std::ifstream rows(run_ / "metrics.jsonl");
    rows.seekg(0, std::ios::end);
    const auto size = static_cast<std::streamoff>(rows.tellg());
    constexpr std::streamoff kTail = 1 << 14;
    rows.seekg(std::max<std::streamoff>(0, size - kTail));
    std::uint64_t last = 0;
    for (std::string line; std::getline(rows, line);) {
      const Json row = Json::parse(line, nullptr, false);
      if (row.is_object() && row.contains("step")) last = row["step"].get<std::uint64_t>();
    }
    return last;
  }
  double steps_per_second(double span) const {
    const std::uint64_t before = steps();
    const auto begin = Clock::now();
    pause(span);
    return static_cast<double>(steps() - before) / since(begin);
  }
  std::uint64_t newest_checkpoint() const {
    checkpoint::PosixDisk disk;
    const auto all = checkpoint::Store(disk, run_ / "checkpoints").list();
    return all.empty() ? 0 : all.front().step;
  }

  struct Back {
    double noticed = 0;  // seconds from the loss until the coordinator knew it
    double trains = 0;   // until the first step after it
  };
  // Kills a rank of this host, and waits until the job is back.
  Back lose(Role role, std::uint32_t id) {
    const Json before = rank(role, id);
    const auto identity = identify(before.at("pid").get<pid_t>());
    if (!identity) fail(Fault::internal, "{} {} has gone by itself", to_string(role), id);
    const std::uint64_t incarnation = before.at("incarnation");
    const auto begin = Clock::now();
    send_signal(*identity, SIGKILL);
    Back back;
    wait("notices the loss", [&] {
      const Json now = rank(role, id);
      return now.value("state", "") == "dead" ||
             now.value("incarnation", incarnation) > incarnation;
    });
    back.noticed = since(begin);
    wait("starts again", [&] {
      const Json now = rank(role, id);
      return now.value("incarnation", incarnation) > incarnation &&
             now.value("state", "") == "running";
    });
    const std::uint64_t from = steps();
    wait("trains again", [&] { return steps() > from; });
    back.trains = since(begin);
    return back;
  }
  void wait_for_newer_checkpoint() {
    wait("saves", [&, before = newest_checkpoint()] { return newest_checkpoint() > before; });
  }

  // Throws Fault::interrupted if a signal asks for the end.
  void pause(double span) const {
    const auto end = Clock::now() + std::chrono::duration<double>(span);
    do {
      const double left = std::chrono::duration<double>(end - Clock::now()).count();
      pollfd signal{signals_.fd(), POLLIN, 0};
      ::poll(&signal, 1, static_cast<int>(std::max(0.0, 1e3 * left)));
      while (const auto number = signals_.take()) {
        if (*number != SIGCHLD) fail(Fault::interrupted, "interrupted");
      }
    } while (Clock::now() < end);
  }

 private:
  static Child start(const BenchCommand& command, const fs::path& run,
                     std::vector<std::string> overrides) {
    std::vector<std::string> argv = {fs::read_symlink("/proc/self/exe").string(), "train",
                                     command.job.file.string()};
    argv.insert(argv.end(), command.job.overrides.begin(), command.job.overrides.end());
    for (const char* word : {"run.epochs=1000000", "run.steps=1000000000", "data.validation=0",
                             "recovery.restarts=1000"}) {
      argv.emplace_back(word);
    }
    argv.push_back("run.dir=" + run.string());
    argv.insert(argv.end(), overrides.begin(), overrides.end());
    return Child({.argv = argv, .output = run.string() + ".out", .errors = run.string() + ".err"});
  }

  Json rank(Role role, std::uint32_t id) const {
    std::ifstream file(run_ / "processes.json");
    const Json all = Json::parse(file, nullptr, false);
    if (all.is_object()) {
      for (const Json& row : all["processes"]) {
        if (row["role"] == to_string(role) && row["id"] == id) return row;
      }
    }
    return Json::object();
  }

  void wait(const char* what, const std::function<bool()>& holds) {
    const auto deadline = Clock::now() + kPatience;
    while (!holds()) {
      if (child_.ended() || Clock::now() > deadline) {
        std::ifstream said(run_.string() + ".err");
        const std::string text{std::istreambuf_iterator<char>(said), {}};
        fail(Fault::network, "the job never {}; it says:\n{}", what,
             text.substr(text.size() - std::min<std::size_t>(text.size(), 1500)));
      }
      pause(1e-3);
    }
  }

  fs::path run_;
  Signals& signals_;
  Child child_;
};

using Make = std::function<std::unique_ptr<Job>(std::vector<std::string>)>;

struct Goodput {
  double share = 0;   // of the steps without losses
  double spread = 0;  // of the references: how far apart they are, as a share of their mean
};

// Turns of a minute without losses and two with one each, of a worker and of a server, and a minute
// without at the end, so that a machine that gets slower or faster counts for both. The losses come
// at all times between two checkpoints alike, half a minute apart by default.
Goodput measure_goodput(std::uint32_t minutes, const Make& make, std::ostream& err) {
  std::vector<double> references;
  double steps = 0, time = 0;
  const auto refer = [&] { references.push_back(make({})->steps_per_second(60)); };
  for (std::uint32_t minute = 0; minute < minutes; minute += 2) {
    err << fmt::format("goodput: minute {} of {} with one loss each, and one without\n", minute + 1,
                       minutes)
        << std::flush;
    refer();
    const auto job = make({});
    const auto begin = Clock::now();
    const std::uint64_t before = job->steps();
    for (const std::uint32_t n : {minute, minute + 1}) {
      const double golden = 0.618034 * n;  // its fractions fill [0, 1) evenly
      job->pause(60 * (n - minute) + 15 + 30 * (golden - std::floor(golden)) - since(begin));
      job->lose(n % 2 == 0 ? Role::worker : Role::server, 0);
    }
    job->pause(120 - since(begin));
    steps += static_cast<double>(job->steps() - before);
    time += since(begin);
  }
  refer();
  const auto [low, high] = std::ranges::minmax(references);
  const double mean = std::accumulate(references.begin(), references.end(), 0.0) /
                      static_cast<double>(references.size());
  return {steps / time / mean, (high - low) / mean};
}

struct Losses {
  std::vector<double> noticed, workers, servers;  // seconds, see Job::Back
};

// Kills so many servers and, if asked for, as many workers in between, each when the job has saved
// since the last one.
Losses lose_in_turn(const std::unique_ptr<Job>& job, const RunSection& run, bool of_workers) {
  Losses losses;
  for (int n = 0; n < 2 * kLosses; ++n) {
    const bool worker = n % 2 == 0;
    if (worker && !of_workers) continue;
    job->wait_for_newer_checkpoint();
    const auto id = static_cast<std::uint32_t>(n / 2) % (worker ? run.workers : run.servers);
    const Job::Back back = job->lose(worker ? Role::worker : Role::server, id);
    losses.noticed.push_back(back.noticed);
    (worker ? losses.workers : losses.servers).push_back(back.trains);
  }
  return losses;
}

using Overrides = std::vector<std::string>;
const Overrides kWithNeither = {"recovery.replicas=1", "recovery.snapshot=none"};
const Overrides kWithSnapshots = {"recovery.replicas=1", "recovery.snapshot=shm"};
const Overrides kWithReplicas = {"recovery.replicas=2", "recovery.snapshot=none"};

RunConfig config_with(const BenchCommand& command, const Overrides& more) {
  Overrides overrides = command.job.overrides;
  overrides.insert(overrides.end(), more.begin(), more.end());
  return RunConfig::load(command.job.file, overrides);
}

// Of the time of a step to that with neither snapshots nor replicas: the median over turns with and
// without, so that a machine that gets slower counts for both.
double step_ratio(const Make& make, Overrides with) {
  with.emplace_back("checkpoint.every=1h");
  Overrides without = kWithNeither;
  without.emplace_back("checkpoint.every=1h");
  std::vector<double> ratios;
  for (int pair = 0; pair < kPairs; ++pair) {
    const double plain = make(without)->steps_per_second(kSpan);
    ratios.push_back(plain / make(with)->steps_per_second(kSpan));
  }
  return quantile(ratios, 0.5);
}

struct Replicas {
  double ratio = 0;            // see step_ratio()
  std::vector<double> pauses;  // seconds, see Job::Back
};

Replicas measure_replicas(const RunSection& run, const Make& make) {
  const double ratio = step_ratio(make, kWithReplicas);
  Overrides saves = kWithReplicas;
  saves.emplace_back("checkpoint.every=1s");
  return {ratio, lose_in_turn(make(saves), run, false).servers};
}

Json quantiles(const std::vector<double>& times) {
  return {{"p50", 1e3 * quantile(times, 0.5)},
          {"p99", 1e3 * quantile(times, 0.99)},
          {"n", times.size()}};
}

}  // namespace

int bench_recovery(const BenchCommand& command, std::ostream& out, std::ostream& err) {
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  config.require_sound();
  if (!placement_of(config).one_host) {
    fail(Fault::config,
         "launch.hostfile: found other hosts, expected this one alone: the bench kills "
         "ranks, and keeps run directories where only this host sees them");
  }
  // Faults of what comes last are said first.
  const StragglingPair pair_of_models(command.job);
  Signals signals;
  const ScratchFolder scratch;
  const Make make = [&, n = 0](std::vector<std::string> overrides) mutable {
    return std::make_unique<Job>(command, signals, scratch.path() / std::to_string(++n),
                                 std::move(overrides));
  };

  err << "what checkpoints cost: the same steps with one a second and without\n" << std::flush;
  std::vector<double> cost;  // seconds of training that one checkpoint takes
  std::vector<double> rates;
  for (int pair = 0; pair < kPairs; ++pair) {
    const double without = make({"checkpoint.every=1h"})->steps_per_second(kSpan);
    const double with = make({"checkpoint.every=1s"})->steps_per_second(kSpan);
    rates.push_back(without);
    cost.push_back(1 - with / without);
  }
  const double rate = quantile(rates, 0.5);
  const double one = std::max(0.0, quantile(cost, 0.5));

  err << fmt::format("{} losses of workers and of servers, in turn\n", 2 * kLosses) << std::flush;
  const Losses losses = lose_in_turn(make({"checkpoint.every=1s"}), config.run(), true);

  std::optional<double> snapshots;
  if (config_with(command, kWithSnapshots).keeps_snapshots()) {
    err << "what snapshots cost: the same steps with and without them\n" << std::flush;
    snapshots = step_ratio(make, kWithSnapshots);
  }

  std::optional<Replicas> replicas;
  if (config_with(command, kWithReplicas).keeps_replicas()) {
    err << fmt::format("with replicas: the same steps, and {} losses of servers\n", kLosses)
        << std::flush;
    replicas = measure_replicas(config.run(), make);
  }

  err << "how long lanes stop for a checkpoint\n" << std::flush;
  Json pauses;
  {
    const auto job = make({"checkpoint.every=100ms"});
    job->pause(kPauses);
    const Json result = job->end();
    if (result.is_object()) pauses = result["checkpoint"]["lane_pause_ms"];
  }

  const Goodput goodput = measure_goodput(command.minutes, make, err);

  err << "one worker late by three steps, in turn: bsp and ssp(3)\n" << std::flush;
  const StragglingRatio ratio = pair_of_models.compare();

  const Json figures = {
      {"detect_ms", quantiles(losses.noticed)},
      {"replace_ms", quantiles(losses.workers)},
      {"server_pause_ms", quantiles(losses.servers)},
      {"replica_pause_ms", replicas ? quantiles(replicas->pauses) : Json()},
      {"goodput", goodput.share},
      {"goodput_minutes", command.minutes},
      {"goodput_spread", goodput.spread},
      {"checkpoint_every_s", static_cast<double>(config.checkpoint().every.count()) / 1e3},
      {"checkpoint_ms", 1e3 * one},
      {"checkpoint_cost", one / kBound},
      {"steps_per_s", rate},
      {"lane_pause_ms", pauses},
      {"snapshot_step_ratio", snapshots ? Json(*snapshots) : Json()},
      {"replica_step_ratio", replicas ? Json(replicas->ratio) : Json()},
      {"replica_step_floor", 1 + 1.0 / config.run().workers},
      {"ssp_throughput_ratio", ratio.throughput},
      {"ssp_loss_ratio", ratio.loss}};
  if (command.json) {
    out << figures.dump(1) << "\n";
    return 0;
  }
  const auto line = [&](const char* name, const Json& value, const char* what) {
    const std::string text =
        value.is_object() ? fmt::format("{:.3g} (p50), {:.3g} (p99)", value["p50"].get<double>(),
                                        value["p99"].get<double>())
                          : fmt::format("{:.4g}", value.get<double>());
    fmt::print(out, "  {:<20}{:<28}{}\n", name, text, what);
  };
  line("detect_ms", figures["detect_ms"], "from the loss of a process until it is known");
  line("replace_ms", figures["replace_ms"],
       "from the loss of a worker to the first row of metrics after it");
  line("server_pause_ms", figures["server_pause_ms"], "the same of a server");
  if (snapshots) {
    line("snapshot_step_ratio", figures["snapshot_step_ratio"],
         "time of a step with recovery.snapshot to that without, in turn");
  }
  if (replicas) {
    line("replica_pause_ms", figures["replica_pause_ms"], "the same with recovery.replicas = 2");
    line("replica_step_ratio", figures["replica_step_ratio"],
         "time of a step with replicas to that without, in turn");
    line("replica_step_floor", figures["replica_step_floor"],
         "what servers receive more: a sum beside the pushes of n workers, 1 + 1/n");
  }
  line("goodput", figures["goodput"], "steps with one loss a minute, as a share of those without");
  line("goodput_spread", figures["goodput_spread"],
       "how far apart the minutes without losses are: what goodput may be wrong by");
  if (!pauses.is_null()) {
    line("lane_pause_ms", figures["lane_pause_ms"],
         "the longest time that a lane copies chunks for a checkpoint in one go");
  }
  line("checkpoint_ms", figures["checkpoint_ms"], "of training that one checkpoint costs");
  line("checkpoint_cost", figures["checkpoint_cost"], "the same as a share, at one in 30 s");
  line("ssp_throughput_ratio", figures["ssp_throughput_ratio"],
       "ssp(3) over bsp, 4 workers, one late by 3 steps, in turn (bound 2.29)");
  line("ssp_loss_ratio", figures["ssp_loss_ratio"], "loss of the final models, the same");
  return 0;
}

}  // namespace sheaf::launcher
