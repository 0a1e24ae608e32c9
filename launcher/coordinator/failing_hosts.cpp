#include "launcher/coordinator/failing_hosts.h"

#include <fmt/format.h>

#include "common/base/clock.h"
#include "launcher/system/readable.h"

namespace sheaf::launcher {

bool FailingHosts::on_loss(const std::string& id, const std::string& name, TimePoint now) {
  constexpr Duration kOneMisfortune = std::chrono::seconds(1);
  Host& host = hosts_[id];
  const bool before = is_aside(host, now);
  host.name = name;
  if (!host.losses.empty() && now - host.losses.back() <= kOneMisfortune) return false;
  host.losses.push_back(now);
  if (host.losses.size() > most_) host.losses.erase(host.losses.begin());
  return !before && is_aside(host, now);
}

bool FailingHosts::is_aside(const Host& host, TimePoint now) const {
  return host.losses.size() == most_ && host.losses.back() - host.losses.front() <= span_ &&
         now - host.losses.back() < span_;
}

bool FailingHosts::is_aside(const std::string& id, TimePoint now) const {
  const auto host = hosts_.find(id);
  return host != hosts_.end() && is_aside(host->second, now);
}

std::vector<std::string> FailingHosts::lines(TimePoint now) const {
  std::vector<std::string> lines;
  for (const auto& [id, host] : hosts_) {
    if (!is_aside(host, now)) continue;
    lines.push_back(
        fmt::format("{} gets no replacements for {}: it lost processes {} times within {}",
                    host.name, readable_duration(seconds(host.losses.back() + span_ - now)),
                    host.losses.size(), readable_duration(seconds(span_))));
  }
  return lines;
}

}  // namespace sheaf::launcher
