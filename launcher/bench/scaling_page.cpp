#include "launcher/bench/scaling_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

constexpr double kWidth = 460;
constexpr double kHeight = 300;
constexpr double kLeft = 60;
constexpr double kBottom = 40;
constexpr double kTop = 20;
// Told apart also without colours, by the shapes of their points.
constexpr std::array<std::string_view, 6> kColours = {"#1b6ca8", "#c8553d", "#4f772d",
                                                      "#7b4b94", "#b08900", "#444444"};

constexpr std::string_view kStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
svg { background: #fafafa; border: 1px solid #ddd; }
svg text { font-size: 11px; fill: #444; }
.axis { stroke: #888; } .grid { stroke: #e4e4e4; } .ideal { stroke: #999; stroke-dasharray: 5 4; fill: none; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
)";

std::string escape(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      default: safe += c;
    }
  }
  return safe;
}

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

std::vector<Curve> curves_of(std::span<const ScalingRow> rows,
                             const std::function<double(const ScalingRow&)>& value) {
  std::vector<Curve> curves;
  for (const ScalingRow& row : rows) {
    const std::string& series = row.measured.point.series;
    auto curve = std::ranges::find(curves, series, &Curve::name);
    if (curve == curves.end()) curve = curves.insert(curves.end(), {series, {}});
    curve->points.emplace_back(row.measured.point.workers, value(row));
  }
  for (Curve& curve : curves) std::ranges::sort(curve.points);
  return curves;
}

// Both axes begin at 0.
class Chart {
 public:
  Chart(double most_x, double most_y)
      : x_((kWidth - kLeft - 15) / std::max(most_x, 1e-9)),
        y_((kHeight - kBottom - kTop) / std::max(most_y, 1e-9)) {
    for (int i = 0; i <= 4; ++i) {
      const double value = most_y * i / 4;
      body_ += fmt::format(
          "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
          "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
          kLeft, kWidth - 15, y(value), y(value), kLeft - 6, y(value) + 4, readable_tick(value));
    }
    body_ += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
                         kLeft, kWidth - 15, y(0), y(0));
  }

  void tick(double value) {
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.0f}</text>\n",
                         x(value), y(0) + 16, value);
  }
  void ideal(const std::vector<std::pair<double, double>>& points) {
    body_ += fmt::format("<polyline class=\"ideal\" points=\"{}\"/>\n", path(points));
  }
  void curve(const Curve& curve, std::string_view colour) {
    body_ +=
        fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>\n",
                    colour, path(curve.points));
    for (const auto& [px, py] : curve.points) {
      body_ += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"><title>{}: {:.0f} workers, {}"
          "</title></circle>\n",
          x(px), y(py), colour, escape(curve.name), px, readable_tick(py));
    }
  }
  std::string svg(std::string_view title) const {
    return fmt::format(
        "<svg viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" role=\"img\" aria-label=\"{}\">\n"
        "<text x=\"{}\" y=\"14\">{}</text>\n{}"
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">workers</text>\n</svg>\n",
        kWidth, kHeight, kWidth, kHeight, title, kLeft, title, body_, kLeft + (kWidth - kLeft) / 2,
        kHeight - 6);
  }

 private:
  static std::string readable_tick(double value) {
    return value >= 100 ? readable_count(value) : fmt::format("{:.2g}", value);
  }
  double x(double value) const { return kLeft + x_ * value; }
  double y(double value) const { return kHeight - kBottom - y_ * value; }
  std::string path(const std::vector<std::pair<double, double>>& points) const {
    std::string text;
    for (const auto& [px, py] : points) text += fmt::format("{:.1f},{:.1f} ", x(px), y(py));
    return text;
  }

  double x_;
  double y_;
  std::string body_;
};

std::string chart_of(std::string_view title, const std::vector<Curve>& curves, bool with_ideal) {
  double most_x = 1;
  double most_y = 0;
  for (const Curve& curve : curves) {
    for (const auto& [px, py] : curve.points) {
      most_x = std::max(most_x, px);
      most_y = std::max({most_y, py, with_ideal ? px / curve.points.front().first : 0});
    }
  }
  Chart chart(most_x, most_y);
  std::vector<double> ticks;
  for (const Curve& curve : curves) {
    for (const auto& [px, py] : curve.points) ticks.push_back(px);
    if (!with_ideal) continue;
    std::vector<std::pair<double, double>> ideal;
    ideal.reserve(curve.points.size());
    for (const auto& [px, py] : curve.points)
      ideal.emplace_back(px, px / curve.points.front().first);
    chart.ideal(ideal);
  }
  std::ranges::sort(ticks);
  const auto rest = std::ranges::unique(ticks);
  ticks.erase(rest.begin(), rest.end());
  for (const double tick : ticks) chart.tick(tick);
  for (std::size_t i = 0; i < curves.size(); ++i)
    chart.curve(curves[i], kColours[i % kColours.size()]);
  return chart.svg(title);
}

std::string legend_of(const std::vector<Curve>& curves) {
  std::string text = "<p>";
  for (std::size_t i = 0; i < curves.size(); ++i) {
    text += fmt::format("<span style=\"color:{}\">&#9679;</span> {} &nbsp; ",
                        kColours[i % kColours.size()], escape(curves[i].name));
  }
  return text + "<span style=\"color:#999\">- -</span> ideal</p>\n";
}

std::string table_of(std::span<const ScalingRow> rows) {
  std::string text =
      "<table>\n<tr><th>series</th><th>workers</th><th>servers</th><th>hosts</th><th>batch</th>"
      "<th>examples/s</th><th>step, ms</th><th>speed-up</th><th>efficiency</th><th>exchange, "
      "ms</th><th>link, MB/s</th>"
      "<th>bound, ms</th><th>share</th></tr>\n";
  const auto cell = [](const std::optional<double>& value, double scale) {
    return value ? fmt::format("{:.2f}", scale * *value) : std::string("-");
  };
  for (const ScalingRow& row : rows) {
    const ScalingMeasurement& m = row.measured;
    const auto link = m.link > 0 ? std::optional(m.link) : std::nullopt;
    text += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1f}</td><td>{:.2f}</td>"
        "<td>{:.2f}</td><td>{:.0f} %</td><td>{:.2f}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        escape(m.point.series), m.point.workers, m.point.servers, row.hosts, m.point.batch,
        m.examples_per_s, 1e3 * m.step_seconds, row.speed_up, 100 * row.efficiency,
        1e3 * m.exchange_seconds, cell(link, 1e-6), cell(row.bound_seconds, 1e3),
        cell(row.share, 1));
  }
  return text + "</table>\n";
}

}  // namespace

std::string scaling_page(const std::string& job, const std::string& build,
                         std::span<const ScalingRow> rows) {
  const auto speed_ups = curves_of(rows, [](const ScalingRow& row) { return row.speed_up; });
  const auto rates =
      curves_of(rows, [](const ScalingRow& row) { return row.measured.examples_per_s; });
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<title>Scaling of {0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>Scaling of "
      "{0}</h1>\n"
      "<p>Sheaf {2}</p>\n<div class=\"charts\">\n{3}{4}</div>\n{5}<h2>All jobs</h2>\n{6}"
      "<p>Speed-up: examples per second over those of the series' first job. Exchange: from the "
      "first push of a step to its last new parameter, which computing overlaps; of the slowest "
      "worker. Bound: the least that it takes on links as fast as measured, for this placement of "
      "workers and servers. Share: bound over exchange.</p>\n</body>\n</html>\n",
      escape(job), kStyle, escape(build), chart_of("speed-up", speed_ups, true),
      chart_of("examples/s", rates, false), legend_of(speed_ups), table_of(rows));
}

}  // namespace sheaf::launcher
