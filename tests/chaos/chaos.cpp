// A campaign of faults: jobs of random shape lose processes at random times, again and again, and
// must come to the bits of a job that lost none; where pushes are steps of their own, to the count
// of all steps (tests/harness/counting_job.h), within the bound. tests/chaos.sh builds and runs it.
//
//   chaos --kills N --seed S [--json]
//
// One seed is one order of jobs and faults; when a fault strikes within a step is the machine's.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string_view>

#include "tests/harness/checkpoint_job.h"
#include "tests/harness/counting_job.h"

namespace sheaf::harness {
namespace {

using Random = std::mt19937_64;
using Clock = std::chrono::steady_clock;

constexpr unsigned kFaultsPerJob = 20;
constexpr Limit kBack(60'000);  // until a job trains again: dead, a pause, and a start

unsigned pick(Random& random, unsigned below) {
  return static_cast<unsigned>(random() % below);  // no distribution: the same on every library
}

struct Tally {
  unsigned faults = 0;
  unsigned jobs = 0;
  unsigned wrong = 0;  // jobs with other bits, or another end than asked for
  std::map<std::string, unsigned> kinds;
  std::vector<double> seconds;  // from each fault until all ranks run again
  std::uint64_t rolled_back = 0;
};

struct Shape {
  unsigned servers, workers, lanes;
  bool mpirun, tcp, snapshot;
  std::string gate;
  bool counts() const { return gate != "bsp"; }
  std::string text() const {
    return fmt::format("{}, {} servers, {} workers, {} lanes, {}, {}{}", gate, servers, workers,
                       lanes, tcp ? "tcp" : "shared memory", mpirun ? "mpirun" : "stand-in",
                       snapshot ? ", snapshots" : "");
  }
};

Shape random_shape(Random& random) {
  Shape shape{};
  shape.servers = 1 + pick(random, 3);
  shape.workers = 1 + pick(random, 4);
  shape.lanes = 1 + pick(random, 2);
  shape.mpirun = pick(random, 2) == 0;
  shape.tcp = pick(random, 2) == 0;
  constexpr const char* kGates[] = {"bsp", "bsp", "ssp", "asp", "drop"};
  shape.gate = kGates[pick(random, 5)];
  shape.snapshot = pick(random, 2) == 0 && shape.gate != "drop";
  return shape;
}

// One job, from its start through its faults to the end that is asked of it.
class Round {
 public:
  Round(const Shape& shape, Random& random, Tally& tally)
      : owned_(make_job(shape)), job_(*owned_), shape_(shape), random_(random), tally_(tally) {
    job_.set_size(shape.servers, shape.workers);
    job_.mpirun = shape.mpirun;
    job_.tables["network"] =
        fmt::format("chunk_kib = {}\nlanes = {}\ntransport = \"{}\"\n", shape.counts() ? 1 : 64,
                    shape.lanes, shape.tcp ? "tcp" : "auto");
    job_.tables["timeouts"] = "beat = \"200ms\"\ndead = \"2s\"\nstart = \"20s\"\n";
    job_.tables["recovery"] =
        fmt::format("restarts = 1000\nsnapshot = \"{}\"\n", shape.snapshot ? "shm" : "none");
    running_ = std::make_unique<Running>(job_);
  }

  // False, and said why, if the job did not do what it should have.
  bool run(unsigned faults) {
    if (!runs()) return lost("has not begun");
    for (unsigned n = 0; n < faults; ++n) {
      // Sometimes before there is a newer checkpoint, mostly a while after.
      if (pick(random_, 4) != 0 && !saves_newer()) return lost("saves nothing");
      running_->wait_until([] { return false; }, Limit(pick(random_, 300)));
      if (!strike()) return false;
    }
    return end();
  }

 private:
  static std::unique_ptr<Job> make_job(const Shape& shape) {
    // With snapshots there is neither a trace nor a norm of all parameters.
    if (shape.counts()) {
      return std::make_unique<CountingJob>(
          fmt::format("kind = \"{}\"\ntrace = {}\n", shape.gate, !shape.snapshot));
    }
    auto job = std::make_unique<SmallJob>();
    if (shape.snapshot) job->tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
    return job;
  }

  // The model of a job that nobody interrupts.
  std::string expected_model(std::uint64_t steps) const {
    const auto job = make_job(shape_);
    job->overrides = {"run.steps=" + std::to_string(steps)};
    Running running(*job);
    if (running.wait(kBack) != 0) throw std::runtime_error("the reference has failed");
    return running.result()["model_sha256"];
  }

  bool lost(std::string_view what) {
    const std::string said = running_->errors();
    constexpr std::size_t kMost = 2000;  // of what it said last
    std::cerr << fmt::format("chaos: a job ({}) {}:\n… {}\n", shape_.text(), what,
                             said.substr(said.size() - std::min(said.size(), kMost)));
    return false;
  }

  struct Victim {
    const char* role;
    unsigned id;
    std::uint64_t incarnation;  // when it was struck
  };
  // All ranks do, the victim in a new life.
  bool runs(std::optional<Victim> victim = {}) {
    const auto is_there = [&](std::string_view role, unsigned id) {
      const nlohmann::json row = running_->rank(role, id);
      return row.is_object() && row["state"] == "running";
    };
    const auto lives_again = [&] {
      return running_->rank(victim->role, victim->id)["incarnation"] > victim->incarnation;
    };
    return running_->wait_until(
        [&] {
          if (victim && !lives_again()) return false;
          for (unsigned i = 0; i < shape_.servers; ++i) {
            if (!is_there("server", i)) return false;
          }
          for (unsigned i = 0; i < shape_.workers; ++i) {
            if (!is_there("worker", i)) return false;
          }
          return true;
        },
        kBack);
  }

  bool saves_newer() {
    const auto newest = [&] {
      const auto steps = checkpoints_of(job_);
      return steps.empty() ? 0 : steps.front();
    };
    return running_->wait_until([&, before = newest()] { return newest() > before; }, kBack);
  }

  bool strike() {
    const unsigned server = pick(random_, shape_.servers);
    const unsigned worker = pick(random_, shape_.workers);
    const unsigned kind = pick(random_, 12);
    std::string name;
    Victim victim{"server", server, 0};
    try {
      victim.incarnation = running_->rank("server", server).at("incarnation");
      const Victim worker_victim{"worker", worker,
                                 running_->rank("worker", worker).at("incarnation")};
      if (kind < 4) {
        name = "worker killed";
        victim = worker_victim;
        running_->signal("worker", worker, SIGKILL);
      } else if (kind < 8) {
        name = "server killed";
        running_->signal("server", server, SIGKILL);
      } else if (kind == 8) {
        name = "worker and server killed";
        running_->signal("worker", worker, SIGKILL);
        try {
          running_->signal("server", server, SIGKILL);
        } catch (const std::runtime_error&) {
          name = "worker killed";  // the job has noticed, and ended the server before us
          victim = worker_victim;
        }
      } else if (kind == 9) {
        name = pick(random_, 2) == 0 ? "worker stopped" : "server stopped";
        const bool is_worker = name.starts_with('w');
        if (is_worker) victim = worker_victim;
        running_->signal(is_worker ? "worker" : "server", is_worker ? worker : server, SIGSTOP);
      } else if (kind == 10) {
        name = "mpirun killed";
        signal_descendant(descendant_called("mpirun"), SIGKILL);
      } else {
        name = "supervisor killed, resumed";
        if (checkpoints_of(job_).empty() && !saves_newer()) return lost("saves nothing");
        return resume(name);
      }
    } catch (const std::runtime_error& error) {
      return lost(error.what());
    }
    const auto struck = Clock::now();
    if (!runs(victim)) return lost("did not go on after: " + name);
    count(name, struck);
    return true;
  }

  // The supervisor goes without a word, and its ranks after it.
  bool resume(const std::string& name) {
    running_->signal(SIGKILL);
    const auto struck = Clock::now();
    running_->wait(kBack);
    if (!wait_for_descendants(kBack).empty()) return lost("left ranks behind");
    std::filesystem::remove(job_.run() / "processes.json");  // says who was there before
    running_.reset();  // its end would be the end of the next one
    running_ = std::make_unique<Running>(job_, job_.resume({}));
    if (!runs()) return lost("was not resumed");
    count(name, struck);
    return true;
  }

  void count(const std::string& name, Clock::time_point struck) {
    ++tally_.faults;
    ++tally_.kinds[name];
    tally_.seconds.push_back(std::chrono::duration<double>(Clock::now() - struck).count());
  }

  bool end() {
    if (!running_->wait_until([&] { return !running_->file("metrics.jsonl").empty(); }, kBack)) {
      return lost("does not train");
    }
    running_->signal(SIGTERM);
    const auto code = running_->wait(kBack);
    if (code != 75) return lost(fmt::format("ended with {}", code.value_or(-1)));
    const nlohmann::json result = running_->result();
    tally_.rolled_back += result["faults"]["rolled_back_steps"].get<std::uint64_t>();
    if (shape_.counts()) return counted(result["steps"]);
    const std::string expected = expected_model(result["steps"]);
    if (result["model_sha256"] == expected) return true;
    return lost(fmt::format("has the model {} after {} steps, expected {}",
                            result["model_sha256"].dump(), result["steps"].dump(), expected));
  }

  bool counted(std::uint64_t steps) {
    const auto count = count_of(job_);
    // Behind drop a step is the mean over whoever came first, which is the same for all.
    const std::uint64_t each = shape_.gate == "drop" ? 1 : CountingJob::kPartitions;
    if (count != each * steps) {
      return lost(fmt::format("counts {} after {} steps of {} partitions",
                              count ? std::to_string(*count) : "no whole number", steps,
                              CountingJob::kPartitions));
    }
    if (shape_.snapshot) return true;
    const Said verified = say(job_, {"verify"});
    return verified.code == 0 || lost("is not as it promised: " + verified.output);
  }

  std::unique_ptr<Job> owned_;
  Job& job_;
  Shape shape_;
  Random& random_;
  Tally& tally_;
  std::unique_ptr<Running> running_;
};

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double rank = std::ceil(q * static_cast<double>(values.size()));
  return values[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

void print(const Tally& tally, std::uint64_t seed, bool json) {
  const double p50 = quantile(tally.seconds, 0.5), p99 = quantile(tally.seconds, 0.99);
  if (json) {
    std::cout << nlohmann::ordered_json{{"seed", seed},
                                        {"faults", tally.faults},
                                        {"kinds", tally.kinds},
                                        {"jobs", tally.jobs},
                                        {"wrong", tally.wrong},
                                        {"rolled_back_steps", tally.rolled_back},
                                        {"back_seconds", {{"p50", p50}, {"p99", p99}}}}
                     .dump(1)
              << "\n";
    return;
  }
  for (const auto& [kind, count] : tally.kinds) fmt::print("  {:<28}{:>6}\n", kind, count);
  fmt::print(
      "seed {}: {} faults in {} jobs; {} of them came to other bits or another end than a job "
      "without faults; all ranks back after {:.2f} s (p50), {:.2f} s (p99)\n",
      seed, tally.faults, tally.jobs, tally.wrong, p50, p99);
}

int campaign(unsigned faults, std::uint64_t seed, bool json) {
  Random random(seed);
  Tally tally;
  while (tally.faults < faults) {
    const Shape shape = random_shape(random);
    const unsigned before = tally.faults;
    ++tally.jobs;
    if (!Round(shape, random, tally).run(std::min(kFaultsPerJob, faults - before))) ++tally.wrong;
    std::cerr << fmt::format("chaos: {} of {} faults, {} ({})\n", tally.faults, faults,
                             tally.wrong == 0 ? "nothing lost" : "FAILED", shape.text());
    if (tally.faults == before) break;  // jobs do not even begin
  }
  print(tally, seed, json);
  return tally.wrong == 0 && tally.faults >= faults ? 0 : 1;
}

}  // namespace
}  // namespace sheaf::harness

int main(int argc, char** argv) {
  unsigned faults = 50;
  std::uint64_t seed = 1;
  bool json = false;
  const auto number = [&](int i, auto& value) {
    const std::string_view text = i < argc ? argv[i] : "";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool known = (word == "--kills" && number(++i, faults)) ||
                       (word == "--seed" && number(++i, seed)) ||
                       (word == "--json" && (json = true));
    if (!known) {
      std::cerr << "usage: chaos [--kills N] [--seed S] [--json]\n";
      return 2;
    }
  }
  return sheaf::harness::campaign(faults, seed, json);
}
