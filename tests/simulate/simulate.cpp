// A campaign of simulated jobs; simulation.h says what happens in one. One seed is one run, whose
// expected end is worked out serially. tests/simulate.sh builds and runs it.
//
//   simulate --seeds N [--replay S] [--json]
//
// Looks for updates that are lost or counted twice (other parameters), for reads that break the
// bound of their consistency model (histories of the lanes), for deadlocks (a standstill), for
// checkpoints that are lost or damaged, and for broken rules of the protocol (errors of the real
// code). Every run is made twice and must take the same course.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "tests/simulation/random_job.h"

namespace sheaf::simulation {
namespace {

// What happened in the runs.
constexpr std::pair<const char*, std::uint64_t Outcome::*> kFigures[] = {
    {"moves", &Outcome::moves},
    {"pushes_that_came_again", &Outcome::duplicates},
    {"partial_answers", &Outcome::partial},
    {"kills", &Outcome::kills},
    {"stops", &Outcome::stops},
    {"adopted_snapshots", &Outcome::adoptions},
    {"lanes_from_replicas", &Outcome::taken_over},
    {"replicas_made_whole", &Outcome::made_whole},
    {"lost_without_one", &Outcome::pairs_lost},
    {"restarts_from_checkpoints", &Outcome::restarts},
    {"disk_crashes", &Outcome::crashes},
    {"outdated_turned_away", &Outcome::turned_away},
    {"balanced_books", &Outcome::books},
    {"shares_of_the_late", &Outcome::stood_in},
    {"steps_passed_by_them", &Outcome::passed},
};

struct Run {
  std::string violation;  // empty: none
  Outcome outcome;
};

Run run_seed(std::uint64_t seed) {
  Run result;
  result.violation = violation(random_job(seed), result.outcome);
  return result;
}

std::string text_of(const Options& o) {
  return fmt::format(
      "{} {}, {} partitions, {} workers, {} servers of {} lanes, {} steps, window {}{}{}{}{}{}{}{}",
      o.gate, o.gate_keys, o.partitions, o.workers, o.servers, o.lanes, o.steps, o.window,
      o.clip_norm != 0 ? ", clipped" : "", o.skip ? ", skips" : "", o.feedback ? ", feedback" : "",
      o.coordinated ? ", coordinated" : "", o.snapshot ? ", snapshots" : "",
      o.replicas ? ", replicas" : "", o.coordinated && !o.one_host ? ", hosts" : "");
}

bool same_course(const Run& a, const Run& b) {
  return a.violation == b.violation && a.outcome.parameters == b.outcome.parameters &&
         a.outcome.course == b.outcome.course;
}

struct Tally {
  std::uint64_t runs = 0, violations = 0, other_courses = 0;
  Outcome sum;  // of the figures of all runs
};

void count(Tally& tally, std::uint64_t seed) {
  const Run once = run_seed(seed);
  ++tally.runs;
  for (const auto& figure : kFigures) tally.sum.*figure.second += once.outcome.*figure.second;
  if (!once.violation.empty()) {
    ++tally.violations;
    std::cerr << fmt::format("simulate: seed {} ({}): {}\n", seed, text_of(random_job(seed)),
                             once.violation);
  }
  if (!same_course(once, run_seed(seed))) {
    ++tally.other_courses;
    std::cerr << fmt::format("simulate: seed {} took another course the second time\n", seed);
  }
}

void print(const Tally& tally, bool json) {
  nlohmann::ordered_json figures = {{"runs", tally.runs},
                                    {"violations", tally.violations},
                                    {"identical_replays", tally.runs - tally.other_courses}};
  std::string text;
  for (const auto& [name, figure] : kFigures) {
    figures[name] = tally.sum.*figure;
    text += fmt::format("{}{} {}", text.empty() ? "in them: " : ", ", tally.sum.*figure, name);
  }
  std::ranges::replace(text, '_', ' ');
  if (json) {
    std::cout << figures.dump(1) << "\n";
    return;
  }
  fmt::print("{} runs: {} violations, {} identical replays\n{}\n", tally.runs, tally.violations,
             tally.runs - tally.other_courses, text);
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
