#include "tests/simulation/random_job.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/base/random.h"

namespace sheaf::simulation {
namespace {

class Choice {
 public:
  explicit Choice(std::uint64_t seed) : stream_(seed, Purpose::test, 11) {}
  std::uint32_t from(std::uint32_t low, std::uint32_t high) {
    return low + stream_.next() % (high - low + 1);
  }
  bool one_in(std::uint32_t n) { return from(1, n) == 1; }

 private:
  Stream stream_;
};

// Whatever the job: its size, its consistency model, and a bad network.
Options job(std::uint64_t seed, Choice& choice) {
  Options options;
  options.seed = seed;
  options.partitions = choice.from(1, 12);
  options.workers = std::min(options.partitions, choice.from(1, 5));
  options.servers = choice.from(1, 4);
  options.lanes = choice.from(1, 3);
  options.steps = choice.from(1, 8);
  options.window = choice.from(1, 6);
  options.clip_norm = choice.one_in(4) ? 40 : 0;
  options.lossy_push = choice.one_in(4);
  options.exhausted = choice.one_in(3);
  options.loss = 0.05 * choice.from(0, 10);
  options.repetition = 0.1 * choice.from(0, 9);
  options.delay = choice.from(1, 5000);
  constexpr std::array kGates = {"bsp", "bsp", "ssp", "asp", "drop"};
  options.gate = kGates.at(choice.from(0, 4));
  const auto staleness = choice.from(0, 4);
  if (options.gate != "bsp") options.slow = choice.from(0, 20);
  if (options.gate == "drop") options.gate_keys = fmt::format("backup = {}", 1 + staleness);
  if (options.gate == "ssp") options.gate_keys = fmt::format("staleness = {}", staleness);
  const bool synchronous = options.gate == "bsp" || options.gate == "drop";
  if (!synchronous) options.clip_norm = 0;
  options.feedback = options.gate != "drop" && choice.one_in(4);
  if (options.feedback) options.lossy_push = false;
  options.skip = synchronous && !options.lossy_push && !options.feedback && choice.one_in(4);
  return options;
}

Options coordinated(std::uint64_t seed, Choice& choice) {
  Options options = job(seed, choice);
  options.coordinated = true;
  options.steps = choice.from(1, 16);
  options.delay = choice.from(1, choice.one_in(4) ? 2000 : 200);
  options.loss = 0.05 * choice.from(0, 4);
  options.losses = choice.from(0, 12);
  options.power_failures = choice.one_in(2);
  options.snapshot = options.gate != "drop" && !choice.one_in(3);
  options.one_host = choice.one_in(2);
  options.save_every = choice.from(500, 8000);
  options.slow = choice.one_in(2) ? 0 : options.slow;
  if (options.gate == "bsp" && !options.feedback && choice.one_in(3)) {
    options.gate = "speculate";
    options.slow = choice.from(0, 20);
  }
  const bool keeps = options.gate != "drop" && options.gate != "speculate";
  options.replicas = keeps && options.servers >= 2 && choice.one_in(2);
  if (options.replicas && choice.one_in(2)) options.snapshot = false;
  // What a worker's successor on another host pushes is not what it has pushed itself: then a
  // version does not come again, and the coordinator has all start again.
  const bool servers_return = options.replicas || options.snapshot;
  if (servers_return && options.feedback && options.gate == "bsp") options.one_host = true;
  options.still = choice.one_in(2);
  return options;
}

}  // namespace

Options random_job(std::uint64_t seed) {
  Choice choice(seed);
  if (choice.one_in(2)) return coordinated(seed, choice);
  Options options = job(seed, choice);
  options.faults = choice.from(0, 16);
  // A lost worker takes its residual with it, and its partitions go to others that have none.
  options.feedback = false;
  return options;
}

Options random_coordinated_job(std::uint64_t seed) {
  Choice choice(seed);
  return coordinated(seed, choice);
}

}  // namespace sheaf::simulation
