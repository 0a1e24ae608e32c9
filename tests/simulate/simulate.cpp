// A campaign of simulated jobs: the real shards, exchanges and wire code over a network that
// delays, reorders, loses and repeats frames, while partitions move between workers. One seed is
// one run, whose expected end is worked out serially. tests/simulate.sh builds and runs it.
//
//   simulate --seeds N [--replay S] [--json]
//
// Looks for updates that are lost or counted twice (other parameters), for reads that break the
// bound of their consistency model (histories of the lanes), for deadlocks (a standstill) and for
// broken rules of the protocol (errors of the shards or exchanges). Every run is made twice
// and must take the same course.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "common/base/error.h"
#include "tests/cluster/simulation.h"

namespace sheaf::simulation {
namespace {

// A job of random size on a bad network, of every kind that there is.
Options job_of(std::uint64_t seed) {
  Stream stream(seed, Purpose::test, 11);
  const auto from = [&](std::uint32_t low, std::uint32_t high) {
    return low + stream.next() % (high - low + 1);
  };
  Options options;
  options.seed = seed;
  options.partitions = from(1, 12);
  options.workers = std::min(options.partitions, from(1, 5));
  options.servers = from(1, 4);
  options.lanes = from(1, 3);
  options.steps = from(1, 8);
  options.window = from(1, 6);
  options.clip_norm = from(0, 3) == 0 ? 40 : 0;
  options.lossy_push = from(0, 3) == 0;
  options.exhausted = from(0, 2) == 0;
  options.faults = from(0, 16);
  options.loss = 0.05 * from(0, 10);
  options.repetition = 0.1 * from(0, 9);
  options.delay = from(1, 5000);
  constexpr std::array kGates = {"bsp", "bsp", "ssp", "asp", "drop"};
  options.gate = kGates.at(from(0, 4));
  const auto staleness = from(0, 4);
  if (options.gate == "bsp") return options;
  if (options.gate == "drop") {
    options.gate_keys = fmt::format("backup = {}", 1 + staleness);
    options.slow = from(0, 20);
    return options;
  }
  if (options.gate == "ssp") options.gate_keys = fmt::format("staleness = {}", staleness);
  options.clip_norm = 0;
  options.slow = from(0, 20);
  return options;
}

struct Run {
  std::string violation;  // empty: none
  Outcome outcome;
};

Run run_seed(std::uint64_t seed) {
  const Options options = job_of(seed);
  Run result;
  try {
    result.outcome = run(options);
  } catch (const Error& error) {
    result.violation = error.message();
    return result;
  }
  Options taken = options;
  taken.dropped = result.outcome.dropped;
  const auto expected = reference(taken);
  for (const auto& parameters : result.outcome.parameters) {
    const bool same =
        parameters.size() == expected.size() &&
        std::memcmp(parameters.data(), expected.data(), expected.size() * sizeof(float)) == 0;
    if (!same) result.violation = "a worker ends with other parameters than a serial loop";
  }
  if (result.outcome.parameters.empty()) result.violation = "no worker came to the end";
  return result;
}

bool same_course(const Run& a, const Run& b) {
  return a.violation == b.violation && a.outcome.parameters == b.outcome.parameters &&
         a.outcome.duplicates == b.outcome.duplicates && a.outcome.partial == b.outcome.partial &&
         a.outcome.moves == b.outcome.moves && a.outcome.dropped == b.outcome.dropped;
}

struct Tally {
  std::uint64_t runs = 0, violations = 0, other_courses = 0;
  std::uint64_t duplicates = 0, partial = 0, moves = 0;
};

void count(Tally& tally, std::uint64_t seed) {
  const Run once = run_seed(seed);
  ++tally.runs;
  tally.duplicates += once.outcome.duplicates;
  tally.partial += once.outcome.partial;
  tally.moves += once.outcome.moves;
  if (!once.violation.empty()) {
    ++tally.violations;
    std::cerr << fmt::format("simulate: seed {}: {} (--replay {})\n", seed, once.violation, seed);
  }
  if (!same_course(once, run_seed(seed))) {
    ++tally.other_courses;
    std::cerr << fmt::format("simulate: seed {} took another course the second time\n", seed);
  }
}

void print(const Tally& tally, bool json) {
  if (json) {
    std::cout << nlohmann::ordered_json{{"runs", tally.runs},
                                        {"violations", tally.violations},
                                        {"identical_replays", tally.runs - tally.other_courses},
                                        {"moves", tally.moves},
                                        {"duplicates", tally.duplicates},
                                        {"partial_answers", tally.partial}}
                     .dump(1)
              << "\n";
    return;
  }
  fmt::print("{} runs: {} violations, {} identical replays\n", tally.runs, tally.violations,
             tally.runs - tally.other_courses);
  fmt::print("in them: {} moves of partitions, {} pushes that came again, {} answered in part\n",
             tally.moves, tally.duplicates, tally.partial);
}

}  // namespace
}  // namespace sheaf::simulation

int main(int argc, char** argv) {
  using namespace sheaf::simulation;
  std::uint64_t seeds = 200;
  std::optional<std::uint64_t> replay;
  bool json = false;
  const auto number = [&](int i, std::uint64_t& value) {
    const std::string_view text = i < argc ? argv[i] : "";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool known = (word == "--seeds" && number(++i, seeds)) ||
                       (word == "--replay" && number(++i, replay.emplace())) ||
                       (word == "--json" && (json = true));
    if (!known) {
      std::cerr << "usage: simulate [--seeds N] [--replay S] [--json]\n";
      return 2;
    }
  }
  Tally tally;
  if (replay) {
    count(tally, *replay);
  } else {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) count(tally, seed);
  }
  print(tally, json);
  return tally.violations + tally.other_courses == 0 ? 0 : 1;
}
