#include "server/consistency/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <istream>
#include <numeric>
#include <sstream>

namespace sheaf::server {

std::string to_line(const TraceHead& head) {
  const std::string promise = head.backup != 0   ? fmt::format("backup {}", head.backup)
                              : head.overtakes   ? "overtaking"
                              : head.synchronous ? "synchronous"
                              : head.staleness   ? fmt::format("staleness {}", *head.staleness)
                                                 : "unbounded";
  return fmt::format("sheaf-trace 3 partitions {} first {} {}\n", head.partitions, head.first,
                     promise);
}

std::string to_line(const TraceEvent& event) {
  const auto [first, count] = event.partitions;
  if (event.kind == TraceEvent::Kind::push) {
    return fmt::format("push {} {} {} {}\n", event.chunk, first, count, event.step);
  }
  if (event.kind == TraceEvent::Kind::begin) {
    return fmt::format("begin {} {} {} {}\n", event.chunk, first, count, event.step);
  }
  return fmt::format("pull {} {} {} {} {}\n", event.chunk, first, count, event.step, event.version);
}

std::string to_line(const TraceEnd& end) {
  return fmt::format("end {} {}\n", end.step, end.traces);
}

std::string TraceChecker::add(const TraceEvent& event) {
  const std::uint64_t end = std::uint64_t{event.partitions.first} + event.partitions.count;
  if (end > head_.partitions) {
    return fmt::format("partitions {}..{} of {}", event.partitions.first, end, head_.partitions);
  }
  if (event.kind == TraceEvent::Kind::begin) return on_begin(event);
  going_.insert(event.chunk);
  if (head_.backup != 0) {
    Collecting& chunk = collecting_.try_emplace(event.chunk, Collecting{head_.first}).first->second;
    return event.kind == TraceEvent::Kind::push ? on_push(chunk, event) : on_pull(chunk, event);
  }
  const std::vector<Step> begin(head_.partitions, head_.first);
  std::vector<Step>& clocks = clocks_.try_emplace(event.chunk, begin).first->second;
  if (event.kind == TraceEvent::Kind::push) return on_push(clocks, event);
  return on_pull(clocks, event);
}

// What a predecessor has left is there before anything else.
std::string TraceChecker::on_begin(const TraceEvent& event) {
  if (going_.contains(event.chunk) || event.step < head_.first) {
    return fmt::format("chunk {} begins at clock {}, expected at least {}, before anything else",
                       event.chunk, event.step, head_.first);
  }
  if (head_.backup != 0) {
    collecting_.insert_or_assign(event.chunk, Collecting{event.step});
    return {};
  }
  const std::vector<Step> begin(head_.partitions, head_.first);
  std::vector<Step>& clocks = clocks_.try_emplace(event.chunk, begin).first->second;
  for (std::uint32_t p = event.partitions.first; p < event.partitions.end(); ++p) {
    clocks[p] = event.step;
  }
  return {};
}

// Each partition's steps are added once, one after the other.
std::string TraceChecker::on_push(std::vector<Step>& clocks, const TraceEvent& event) {
  ++pushes_;
  for (std::uint32_t p = event.partitions.first; p < event.partitions.end(); ++p) {
    if (clocks[p] != event.step) {
      return fmt::format("chunk {} takes step {} of partition {}, expected {}: {}", event.chunk,
                         event.step, p, clocks[p],
                         clocks[p] > event.step ? "it counts twice" : "one was lost");
    }
    ++clocks[p];
  }
  return {};
}

std::string TraceChecker::on_pull(const std::vector<Step>& clocks, const TraceEvent& event) {
  ++pulls_;
  const Step clock = event.step;
  const Step slowest = std::ranges::min(clocks);
  if (head_.synchronous) {
    if (event.version == clock && slowest >= clock) return {};
    // The version asked for is kept until the second one after it.
    if (head_.overtakes && clock + 2 <= event.version && event.version <= slowest) return {};
    return fmt::format(
        "chunk {} answers a pull at clock {} with version {}, and the slowest has {}", event.chunk,
        clock, event.version, slowest);
  }
  const Step all = std::accumulate(clocks.begin(), clocks.end(), Step{0});
  if (event.version != all) {
    return fmt::format("chunk {} answers with version {} after {} pushes", event.chunk,
                       event.version, all);
  }
  for (std::uint32_t p = event.partitions.first; p < event.partitions.end(); ++p) {
    if (clocks[p] < clock) {
      return fmt::format("chunk {} answers partition {} at clock {} without its step {}",
                         event.chunk, p, clock, clocks[p]);
    }
  }
  const Step ahead = clock - std::min(clock, slowest);
  if (head_.staleness && ahead > *head_.staleness) {
    return fmt::format(
        "chunk {} answers a pull at clock {} while the slowest has {}, expected at "
        "least {}",
        event.chunk, clock, slowest, clock - *head_.staleness);
  }
  most_ahead_ = std::max(most_ahead_, ahead);
  return {};
}

// A step is taken when all but `backup` are in, and has the same partitions in every chunk.
std::string TraceChecker::go_on(Collecting& chunk, const TraceEvent& event, Step step) {
  if (step == chunk.step) return {};
  if (step != chunk.step + 1) {
    return fmt::format("chunk {} is at step {}, expected {} or {}", event.chunk, step, chunk.step,
                       chunk.step + 1);
  }
  if (chunk.in.size() + head_.backup < head_.partitions) {
    return fmt::format("chunk {} takes step {} with {} of {} partitions, expected at least {}",
                       event.chunk, chunk.step, chunk.in.size(), head_.partitions,
                       head_.partitions - head_.backup);
  }
  const auto known = taken_.try_emplace(chunk.step, chunk.in).first;
  if (known->second != chunk.in) {
    return fmt::format("chunk {} takes step {} with other partitions than other chunks",
                       event.chunk, chunk.step);
  }
  constexpr Step kApart = 8;  // no two chunks are
  taken_.erase(taken_.begin(), taken_.lower_bound(step - std::min(step, kApart)));
  chunk = {step};
  return {};
}

std::string TraceChecker::on_push(Collecting& chunk, const TraceEvent& event) {
  ++pushes_;
  if (std::string wrong = go_on(chunk, event, event.step); !wrong.empty()) return wrong;
  for (std::uint32_t p = event.partitions.first; p < event.partitions.end(); ++p) {
    if (chunk.in.insert(p).second) continue;
    return fmt::format("chunk {} takes step {} of partition {} again: it counts twice", event.chunk,
                       event.step, p);
  }
  return {};
}

std::string TraceChecker::on_pull(Collecting& chunk, const TraceEvent& event) {
  ++pulls_;
  if (std::string wrong = go_on(chunk, event, event.version); !wrong.empty()) return wrong;
  if (event.version >= event.step) return {};
  return fmt::format("chunk {} answers a pull at clock {} with version {}", event.chunk, event.step,
                     event.version);
}

namespace {

std::optional<TraceHead> read_head(const std::string& line) {
  std::istringstream words(line);
  std::string magic, partitions, first, promise;
  int version = 0;
  TraceHead head;
  words >> magic >> version >> partitions >> head.partitions >> first >> head.first >> promise;
  const bool known = version == 2 || version == 3;  // 2 has no beginnings
  if (!words || magic != "sheaf-trace" || !known || head.partitions == 0) return {};
  head.overtakes = promise == "overtaking" || promise == "backup";
  head.synchronous = promise == "synchronous" || head.overtakes;
  if (promise == "backup" && (!(words >> head.backup) || head.backup == 0)) return {};
  if (promise == "staleness") {
    Step bound = 0;
    if (!(words >> bound)) return {};
    head.staleness = bound;
  } else if (promise != "unbounded" && !head.synchronous) {
    return {};
  }
  return head;
}

std::optional<TraceEnd> read_end(const std::string& line) {
  std::istringstream words(line);
  std::string kind;
  TraceEnd end;
  words >> kind >> end.step >> end.traces;
  return words && kind == "end" ? std::optional(end) : std::nullopt;
}

std::optional<TraceEvent> read_event(const std::string& line) {
  std::istringstream words(line);
  std::string kind;
  TraceEvent event;
  words >> kind >> event.chunk >> event.partitions.first >> event.partitions.count >> event.step;
  if (kind == "pull") {
    event.kind = TraceEvent::Kind::pull;
    words >> event.version;
  } else if (kind == "begin") {
    event.kind = TraceEvent::Kind::begin;
  } else if (kind != "push") {
    return {};
  }
  return words ? std::optional(event) : std::nullopt;
}

}  // namespace

TraceFindings check_trace(std::istream& in) {
  TraceFindings findings;
  std::string line;
  std::uint64_t number = 1;
  const auto next = [&] { return std::getline(in, line) && !in.eof(); };
  if (!next()) return findings;  // the process was killed before it wrote a line
  const auto head = read_head(line);
  if (!head) {
    findings.problem = "line 1: found no head of a trace";
    return findings;
  }
  TraceChecker checker(*head);
  while (findings.problem.empty() && next()) {
    ++number;
    if (findings.end) {
      findings.problem = fmt::format("line {}: found more behind the end", number);
      break;
    }
    if ((findings.end = read_end(line))) continue;
    const auto event = read_event(line);
    const std::string wrong = event ? checker.add(*event) : "found no event of a trace";
    if (!wrong.empty()) findings.problem = fmt::format("line {}: {}", number, wrong);
  }
  findings.pushes = checker.pushes();
  findings.pulls = checker.pulls();
  findings.most_ahead = checker.most_ahead();
  return findings;
}

}  // namespace sheaf::server
