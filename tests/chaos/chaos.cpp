// A campaign of faults: jobs of random shape lose processes at random times, again and again, and
// must come to the bits of a job that lost none; where pushes are steps of their own, to the count
// of all steps (tests/harness/counting_job.h), within the bound. tests/chaos.sh builds and runs it.
//
//   chaos --kills N --each N --gate NAME --seed S [--json]
//
// One seed is one order of jobs and faults; when a fault strikes within a step is the machine's.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdlib>
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

constexpr Limit kBack(60'000);  // until a job trains again: dead, a pause, and a start

unsigned pick(Random& random, unsigned below) {
  return static_cast<unsigned>(random() % below);  // no distribution: the same on every library
}

struct Tally {
  unsigned faults = 0;
  unsigned jobs = 0;
  unsigned wrong = 0;                 // jobs with other bits, or another end than asked for
  std::vector<std::string> verdicts;  // a line of each of them
  std::map<std::string, unsigned> kinds;
  std::vector<double> seconds;  // from each fault until all ranks run again
  struct Longest {
    double seconds = 0;
    std::string fault, shape;
    std::string said;  // by the job, last
  };
  Longest longest = {};
  std::uint64_t rolled_back = 0;
};

struct Campaign {
  unsigned faults = 50;
  unsigned each = 20;  // faults of a job
  std::string gate;    // "": any
  std::uint64_t seed = 1;
  bool json = false;
};

struct Shape {
  unsigned servers, workers, lanes;
  bool mpirun, tcp, snapshot, replicas, clips;
  std::string feedback;  // of compressed pushes; "": they are not
  std::string gate;
  bool counts() const { return gate != "bsp"; }
  std::string text() const {
    return fmt::format("{}{}{}, {} servers, {} workers, {} lanes, {}, {}{}{}", gate,
                       clips ? ", clipped" : "", feedback.empty() ? "" : ", " + feedback, servers,
                       workers, lanes, tcp ? "tcp" : "shared memory",
                       mpirun ? "mpirun" : "stand-in", snapshot ? ", snapshots" : "",
                       replicas ? ", replicas" : "");
  }
};

Shape random_shape(Random& random, const std::string& gate) {
  Shape shape{};
  shape.servers = 1 + pick(random, 3);
  shape.workers = 1 + pick(random, 4);
  shape.lanes = 1 + pick(random, 2);
  shape.mpirun = pick(random, 2) == 0;
  shape.tcp = pick(random, 2) == 0;
  constexpr const char* kGates[] = {"bsp", "bsp", "ssp", "asp", "drop"};
  shape.gate = kGates[pick(random, 5)];
  if (!gate.empty()) shape.gate = gate;
  shape.snapshot = pick(random, 2) == 0 && shape.gate != "drop";
  shape.replicas = pick(random, 2) == 0 && shape.gate != "drop" && shape.servers > 1;
  shape.clips = pick(random, 2) == 0 && shape.gate == "bsp";
  const bool compresses = pick(random, 4) == 0 && shape.gate == "bsp";
  if (compresses) shape.feedback = shape.clips || pick(random, 2) == 0 ? "ef" : "ef21";
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
    job_.tables["timeouts"] =
        "beat = \"200ms\"\ndead = \"2s\"\nstart = \"20s\"\n";  // orphan_grace: 30 s
    job_.tables["recovery"] = fmt::format("restarts = 1000\nsnapshot = \"{}\"\nreplicas = {}\n",
                                          shape.snapshot ? "shm" : "none", shape.replicas ? 2 : 1);
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
  // Of the inputs of jobs that count: the other weights never change, so that checkpoints name
  // files of older ones.
  static constexpr unsigned kActive = CountingJob::kInputs / 3;

  static std::unique_ptr<Job> make_job(const Shape& shape) {
    if (shape.counts()) {
      return std::make_unique<CountingJob>(fmt::format("kind = \"{}\"\ntrace = true\n", shape.gate),
                                           kActive);
    }
    auto job = std::make_unique<SmallJob>();
    if (!shape.clips) job->tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
    if (!shape.feedback.empty()) {
      job->tables["compression"] =
          fmt::format("push = {{ kind = \"topk\", ratio = 0.05, values = 8, feedback = \"{}\" }}\n",
                      shape.feedback);
    }
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

  std::string last_words() const {
    const std::string said = running_->errors();
    constexpr std::size_t kMost = 2000;
    return said.substr(said.size() - std::min(said.size(), kMost));
  }

  bool lost(std::string_view what) {
    tally_.verdicts.push_back(fmt::format("a job ({}) {}", shape_.text(), what));
    std::cerr << fmt::format("chaos: {}:\n… {}\n", tally_.verdicts.back(), last_words());
    return false;
  }

  struct Victim {
    const char* role;
    unsigned id;
    std::uint64_t incarnation;  // when it was struck
  };
  // All ranks do, the victims in a new life.
  bool runs(const std::vector<Victim>& victims = {}) {
    const auto is_there = [&](std::string_view role, unsigned id) {
      const nlohmann::json row = running_->rank(role, id);
      return row.is_object() && row["state"] == "running";
    };
    const auto lives_again = [&](const Victim& victim) {
      return running_->rank(victim.role, victim.id)["incarnation"] > victim.incarnation;
    };
    return running_->wait_until(
        [&] {
          if (!std::ranges::all_of(victims, lives_again)) return false;
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
    unsigned kind = pick(random_, 15);
    if (kind == 14 && !(shape_.tcp && ::geteuid() == 0)) kind = 0;  // who else may cut them?
    if (kind == 13 && !called("sheaf-keeper")) kind = 0;
    // Who took the job over has no mpirun of all ranks, nor has one in which all were replaced.
    if (kind == 10 && (!gone_.empty() || !called("mpirun"))) kind = 0;
    std::string name;
    std::vector<Victim> victims;
    try {
      const auto victim_of = [&](const char* role, unsigned id) {
        return Victim{role, id, running_->rank(role, id).at("incarnation")};
      };
      const Victim server_victim = victim_of("server", server);
      const Victim worker_victim = victim_of("worker", worker);
      if (kind < 4) {
        name = "worker killed";
        victims = {worker_victim};
        running_->signal("worker", worker, SIGKILL);
      } else if (kind < 8) {
        name = "server killed";
        victims = {server_victim};
        running_->signal("server", server, SIGKILL);
      } else if (kind == 8) {
        name = "worker killed";
        victims = {worker_victim};
        running_->signal("worker", worker, SIGKILL);
        try {
          running_->signal("server", server, SIGKILL);
          name = "worker and server killed";
          victims.push_back(server_victim);
        } catch (
            const std::runtime_error&) {  // the job has noticed, and ended the server before us
        }
      } else if (kind == 9) {
        name = pick(random_, 2) == 0 ? "worker stopped" : "server stopped";
        const bool is_worker = name.starts_with('w');
        victims = {is_worker ? worker_victim : server_victim};
        running_->signal(is_worker ? "worker" : "server", is_worker ? worker : server, SIGSTOP);
      } else if (kind == 10) {
        name = "mpirun killed";
        victims = {server_victim};
        signal_descendant(called("mpirun").value(), SIGKILL);
      } else if (kind == 14) {
        return cut(server);
      } else if (kind == 12) {
        victims = {pick(random_, 2) == 0 ? worker_victim : server_victim};
        return pause(victims[0]);
      } else if (kind == 13) {
        return strike_keeper(called("sheaf-keeper").value());
      } else {
        const bool attaches = pick(random_, 2) == 0;
        name = attaches ? "supervisor killed, attached" : "all killed, resumed";
        if (checkpoints_of(job_).empty() && !saves_newer()) return lost("saves nothing");
        return attaches ? attach(name) : resume(name);
      }
    } catch (const std::runtime_error& error) {
      // Where all start again for somebody's loss, they end later than that one: the job was given
      // another fault already.
      const bool ended_itself = !victims.empty() && ++missed_ <= kMostMissed && runs(victims);
      return ended_itself ? strike() : lost(error.what());
    }
    const auto struck = Clock::now();
    if (!runs(victims)) return lost("did not go on after: " + name);
    count(name, struck);
    return true;
  }

  // For less than its lease: nobody takes its place.
  bool pause(const Victim& victim) {
    const auto struck = Clock::now();
    running_->signal(victim.role, victim.id, SIGSTOP);
    running_->wait_until([] { return false; }, Limit(pick(random_, 1000)));
    try {
      running_->signal(victim.role, victim.id, SIGCONT);
    } catch (const std::runtime_error&) {  // it was ended, as all were
    }
    if (!runs()) return lost("did not go on after a pause");
    count(std::string(victim.role) + " stopped for a while", struck);
    return true;
  }

  // All connections of a server with workers and other servers: they are made again.
  bool cut(unsigned server) {
    const auto struck = Clock::now();
    for (const unsigned port : running_->rank("server", server).at("ports")) {
      const std::string command =
          fmt::format("ss -K -tn state established sport = :{} >/dev/null 2>&1", port);
      if (std::system(command.c_str()) != 0) return lost("cannot be cut off: ss is missing");
    }
    if (!runs()) return lost("did not go on after its connections were cut");
    count("connections of a server cut", struck);
    return true;
  }

  // Nothing stops, but what a server holds outlives it no more.
  bool strike_keeper(pid_t pid) {
    const auto struck = Clock::now();
    signal_descendant(pid, SIGKILL);
    if (!runs()) return lost("did not go on without a keeper");
    count("keeper killed", struck);
    return true;
  }
  // If there is one, and no other.
  static std::optional<pid_t> called(std::string_view name) {
    try {
      return descendant_called(name);
    } catch (const std::runtime_error&) {
      return std::nullopt;
    }
  }

  // The supervisor goes without a word; its ranks wait for another one.
  bool attach(const std::string& name) {
    running_->signal(SIGKILL);
    const auto struck = Clock::now();
    running_->wait(kBack);
    gone_.push_back(std::move(running_));  // its end would be the end of all ranks
    running_ = std::make_unique<Running>(job_, job_.attach());
    if (!running_->wait_for_message("has taken the job over", kBack)) return lost("not taken over");
    if (!runs()) return lost("does not run after it was taken over");
    count(name, struck);
    return true;
  }

  // All go without a word, and come back with another number of servers.
  bool resume(const std::string& name) {
    running_->signal(SIGKILL);
    const auto struck = Clock::now();
    running_->wait(kBack);
    std::filesystem::remove(job_.run() / "processes.json");  // says who was there before
    gone_.clear();
    running_.reset();  // and with it the ranks
    shape_.servers = 1 + pick(random_, 3);
    job_.set_size(shape_.servers, shape_.workers);
    running_ = std::make_unique<Running>(
        job_, job_.resume({"run.servers=" + std::to_string(shape_.servers)}));
    if (!runs()) return lost("was not resumed");
    count(name, struck);
    return true;
  }

  void count(const std::string& name, Clock::time_point struck) {
    ++tally_.faults;
    ++tally_.kinds[name];
    const double took = std::chrono::duration<double>(Clock::now() - struck).count();
    tally_.seconds.push_back(took);
    if (took > tally_.longest.seconds) tally_.longest = {took, name, shape_.text(), last_words()};
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
    const auto count = count_of(job_, kActive);
    // Behind drop a step is the mean over whoever came first, which is the same for all.
    const std::uint64_t each = shape_.gate == "drop" ? 1 : CountingJob::kPartitions;
    if (count != each * steps) {
      return lost(fmt::format("counts {} after {} steps of {} partitions",
                              count ? std::to_string(*count) : "no whole number", steps,
                              CountingJob::kPartitions));
    }
    const Said verified = say(job_, {"verify"});
    return verified.code == 0 || lost("is not as it promised: " + verified.output);
  }

  std::unique_ptr<Job> owned_;
  Job& job_;
  Shape shape_;
  Random& random_;
  Tally& tally_;
  static constexpr unsigned kMostMissed = 10;
  unsigned missed_ = 0;                         // victims that had ended before they were struck
  std::vector<std::unique_ptr<Running>> gone_;  // supervisors whose ranks went on
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
                                        {"back_seconds",
                                         {{"p50", p50},
                                          {"p99", p99},
                                          {"longest", tally.longest.seconds},
                                          {"longest_after", tally.longest.fault}}}}
                     .dump(1)
              << "\n";
    return;
  }
  for (const auto& [kind, count] : tally.kinds) fmt::print("  {:<28}{:>6}\n", kind, count);
  fmt::print(
      "seed {}: {} faults in {} jobs; {} of them came to other bits or another end than a job "
      "without faults; all ranks back after {:.2f} s (p50), {:.2f} s (p99)\n",
      seed, tally.faults, tally.jobs, tally.wrong, p50, p99);
  const Tally::Longest& longest = tally.longest;
  fmt::print("longest: {:.2f} s after: {} ({}); the job said\n  … {}\n", longest.seconds,
             longest.fault, longest.shape, longest.said);
}

int run(const Campaign& campaign) {
  Random random(campaign.seed);
  Tally tally;
  while (tally.faults < campaign.faults) {
    const Shape shape = random_shape(random, campaign.gate);
    const unsigned before = tally.faults;
    ++tally.jobs;
    const unsigned faults = std::min(campaign.each, campaign.faults - before);
    if (!Round(shape, random, tally).run(faults)) ++tally.wrong;
    std::cerr << fmt::format("chaos: {} of {} faults, {} ({})\n", tally.faults, campaign.faults,
                             tally.wrong == 0 ? "nothing lost" : "FAILED", shape.text());
    if (tally.faults == before) break;  // jobs do not even begin
  }
  print(tally, campaign.seed, campaign.json);
  for (const auto& verdict : tally.verdicts) std::cerr << "chaos: " << verdict << "\n";
  return tally.wrong == 0 && tally.faults >= campaign.faults ? 0 : 1;
}

}  // namespace
}  // namespace sheaf::harness

int main(int argc, char** argv) {
  sheaf::harness::Campaign campaign;
  const auto number = [&](int i, auto& value) {
    const std::string_view text = i < argc ? argv[i] : "";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool known = (word == "--kills" && number(++i, campaign.faults)) ||
                       (word == "--each" && number(++i, campaign.each)) ||
                       (word == "--seed" && number(++i, campaign.seed)) ||
                       (word == "--gate" && !(campaign.gate = ++i < argc ? argv[i] : "").empty()) ||
                       (word == "--json" && (campaign.json = true));
    if (!known) {
      std::cerr << "usage: chaos [--kills N] [--each N] [--gate NAME] [--seed S] [--json]\n";
      return 2;
    }
  }
  return sheaf::harness::run(campaign);
}
