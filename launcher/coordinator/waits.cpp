#include "launcher/coordinator/waits.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/params/partition_tree.h"

namespace sheaf::launcher {

void Waits::ask(TimePoint now, Done done) {
  asking_.push_back(std::move(done));
  if (asking_.size() > 1) return;
  asked_ = now;
  answers_.clear();
  options_.ask();
}

void Waits::on_answer(std::uint32_t server, wire::Waiting waiting) {
  if (asking_.empty()) return;  // it comes too late
  answers_[server] = std::move(waiting);
  if (answers_.size() == options_.servers) finish();
}

void Waits::on_tick(TimePoint now, Step begun) {
  if (!asking_.empty() && now - asked_ > options_.limit) finish();
  if (begun != begun_) {
    begun_ = begun;
    since_ = now;
    said_ = false;
  }
  // Before the first step data are loaded, and between two steps there may be an evaluation: then
  // no server waits for anybody.
  if (said_ || begun_ == first_ || still(now) < options_.still) return;
  said_ = true;
  ask(now, [this, step = begun_ - 1, still = seconds(still(now))](const auto& lines) {
    if (lines.empty()) return;
    options_.warn(fmt::format("warning: step {} has taken {:.1f} s so far: {}", step, still,
                              fmt::join(lines, "; ")));
  });
}

std::string Waits::line(std::uint32_t server, const wire::Waiting& waiting) const {
  std::set<std::uint32_t> lacking;
  for (std::uint32_t w = 0; w < options_.workers; ++w) {
    const auto hosted = params::hosted_partitions(options_.partitions, options_.workers, w);
    for (const std::uint32_t p : waiting.partitions) {
      if (hosted.contains(p)) lacking.insert(w);
    }
  }
  std::string who;
  for (const std::uint32_t w : lacking)
    who += fmt::format("{}worker {}", who.empty() ? "" : ", ", w);
  return fmt::format("server {}: {}{}", server, waiting.text,
                     who.empty() ? "" : fmt::format(" ({})", who));
}

std::optional<wire::Survives> Waits::survives() const {
  if (answers_.size() != options_.servers) return std::nullopt;
  auto least = wire::Survives::replica;
  for (const auto& [server, answer] : answers_) least = std::min(least, answer.survives);
  return least;
}

void Waits::finish() {
  std::vector<std::string> lines;
  for (std::uint32_t s = 0; s < options_.servers; ++s) {
    const auto answer = answers_.find(s);
    if (answer == answers_.end()) {
      lines.push_back(fmt::format("server {} does not answer", s));
    } else if (!answer->second.text.empty()) {
      lines.push_back(line(s, answer->second));
    }
  }
  for (const Done& done : std::exchange(asking_, {})) done(lines);
}

}  // namespace sheaf::launcher
