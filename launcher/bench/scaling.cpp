#include "launcher/bench/scaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

std::string series_name(const ScalingPoint& point, std::uint32_t servers) {
  std::string name = point.weak ? "weak" : "strong";
  name += servers == 0   ? ", a server per worker"
          : servers == 1 ? ", 1 server"
                         : fmt::format(", {} servers", servers);
  if (!point.rate.empty()) name += ", " + point.rate;
  return name;
}

// null for what is not known.
nlohmann::ordered_json known(const std::optional<double>& value, double scale = 1) {
  return value ? nlohmann::ordered_json(scale * *value) : nlohmann::ordered_json();
}

std::size_t count_hosts(std::span<const PlacedRank> ranks) {
  std::set<std::string> hosts;
  for (const PlacedRank& rank : ranks) hosts.insert(rank.host);
  return std::max<std::size_t>(1, hosts.size());
}

}  // namespace

std::vector<ScalingPoint> plan_points(const ScalingSection& scaling, std::uint64_t batch) {
  std::vector<std::string> rates = scaling.rates;
  if (rates.empty()) rates.emplace_back();
  std::vector<ScalingPoint> points;
  for (const std::string& rate : rates) {
    for (const bool weak : {false, true}) {
      if (weak ? !scaling.weak : !scaling.strong) continue;
      for (const std::uint32_t servers : scaling.servers) {
        for (const std::uint32_t workers : scaling.workers) {
          ScalingPoint point{.weak = weak, .rate = rate, .workers = workers};
          point.servers = servers == 0 ? workers : servers;
          point.batch = weak ? batch * workers : batch;
          point.series = series_name(point, servers);
          points.push_back(std::move(point));
        }
      }
    }
  }
  return points;
}

std::string label(const ScalingPoint& point) {
  std::string name =
      fmt::format("{}-{}w-{}s", point.weak ? "weak" : "strong", point.workers, point.servers);
  for (const char c : point.rate.empty() ? std::string() : "-" + point.rate) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.';
    name += plain ? c : '_';
  }
  return name;
}

double exchange_bound(std::span<const PlacedRank> ranks, double model_bytes, double bytes_per_s) {
  if (count_hosts(ranks) == 1) return 0;
  std::map<std::string, double> workers;
  std::set<std::string> servers;
  for (const PlacedRank& rank : ranks) {
    if (rank.server) {
      servers.insert(rank.host);
    } else {
      workers[rank.host] += 1;
    }
  }
  const auto n = static_cast<double>(workers.size());
  double most = 0;
  for (const auto& [host, count] : workers) most = std::max(most, count);
  const double seconds = most * model_bytes / bytes_per_s;  // to move M·B⁻¹ for a host's workers
  const auto shared = static_cast<double>(std::ranges::count_if(
      servers, [&](const std::string& host) { return workers.contains(host); }));
  const double k = static_cast<double>(servers.size()) - shared;
  if (shared == 0) return std::max(1.0, n / k) * seconds;
  return 2 * n * (n - 1) / (n * n + k * n - 2 * k) * seconds;
}

std::vector<ScalingRow> compare(std::vector<ScalingMeasurement> measurements) {
  std::map<std::string, std::pair<double, double>> first;  // series: examples/s and workers
  std::vector<ScalingRow> rows;
  for (ScalingMeasurement& m : measurements) {
    const auto workers = static_cast<double>(m.point.workers);
    const auto [base, is_new] = first.try_emplace(m.point.series, m.examples_per_s, workers);
    ScalingRow row{.measured = std::move(m)};
    row.hosts = count_hosts(row.measured.ranks);
    row.speed_up = row.measured.examples_per_s / base->second.first;
    row.efficiency = row.speed_up / (workers / base->second.second);
    if (row.hosts > 1 && row.measured.link > 0) {
      row.bound_seconds =
          exchange_bound(row.measured.ranks, row.measured.model_bytes, row.measured.link);
      row.share = *row.bound_seconds / row.measured.exchange_seconds;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string scaling_text(std::span<const ScalingRow> rows) {
  std::string text;
  std::string series;
  for (const ScalingRow& row : rows) {
    const ScalingMeasurement& m = row.measured;
    if (m.point.series != series) {
      series = m.point.series;
      text += fmt::format(
          "{}{}\n  workers  servers  hosts  examples/s   step ms  speed-up  efficiency  "
          "exchange ms  bound ms  share\n",
          text.empty() ? "" : "\n", series);
    }
    text += fmt::format("  {:7}  {:7}  {:5}  {:>10}  {:8.2f}  {:8.2f}  {:8.0f} %  {:11.2f}",
                        m.point.workers, m.point.servers, row.hosts,
                        readable_count(m.examples_per_s), 1e3 * m.step_seconds, row.speed_up,
                        100 * row.efficiency, 1e3 * m.exchange_seconds);
    text += row.share ? fmt::format("  {:8.2f}  {:5.2f}\n", 1e3 * *row.bound_seconds, *row.share)
                      : "         -      -\n";
  }
  return text;
}

std::string scaling_json(const std::string& job, const std::string& build,
                         std::span<const ScalingRow> rows) {
  nlohmann::ordered_json points = nlohmann::ordered_json::array();
  for (const ScalingRow& row : rows) {
    const ScalingMeasurement& m = row.measured;
    nlohmann::ordered_json point = {{"series", m.point.series},
                                    {"kind", m.point.weak ? "weak" : "strong"},
                                    {"workers", m.point.workers},
                                    {"servers", m.point.servers},
                                    {"hosts", row.hosts},
                                    {"batch", m.point.batch},
                                    {"examples_per_s", m.examples_per_s},
                                    {"step_ms", 1e3 * m.step_seconds},
                                    {"exchange_ms", 1e3 * m.exchange_seconds},
                                    {"speed_up", row.speed_up},
                                    {"efficiency", row.efficiency},
                                    {"model_bytes", m.model_bytes}};
    point["rate"] = nullptr;
    if (!m.point.rate.empty()) point["rate"] = m.point.rate;
    point["link_bytes_per_s"] = known(m.link > 0 ? std::optional(m.link) : std::nullopt);
    point["bound_ms"] = known(row.bound_seconds, 1e3);
    point["share"] = known(row.share);
    point["run"] = m.run;
    points.push_back(std::move(point));
  }
  const nlohmann::ordered_json all = {{"job", job}, {"build", build}, {"points", points}};
  return all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace sheaf::launcher
