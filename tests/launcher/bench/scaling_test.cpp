// The arithmetic of a sweep, and the page that shows it.
#include "launcher/bench/scaling.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "launcher/bench/scaling_page.h"

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<PlacedRank> placed(const std::vector<std::string>& servers,
                               const std::vector<std::string>& workers) {
  std::vector<PlacedRank> ranks;
  for (const std::string& host : servers) ranks.push_back({true, host});
  for (const std::string& host : workers) ranks.push_back({false, host});
  return ranks;
}

// What each link carries in a step if every server has an equal part: the busiest decides.
double busiest_link(const std::vector<PlacedRank>& ranks, double model_bytes) {
  const auto servers = static_cast<double>(std::ranges::count_if(ranks, &PlacedRank::server));
  double most = 0;
  for (const PlacedRank& at : ranks) {
    double out = 0;
    for (const PlacedRank& from : ranks) {
      if (from.host != at.host) continue;
      for (const PlacedRank& to : ranks) {
        if (to.host != at.host && to.server != from.server) out += model_bytes / servers;
      }
    }
    most = std::max(most, out);
  }
  return most;
}

TEST(ScalingTest, ASweepIsPlannedRateByRate) {
  ScalingSection scaling;
  scaling.workers = {1, 2};
  scaling.servers = {0, 3};
  scaling.weak = true;
  scaling.rates = {"1gbit", "x/y"};
  const std::vector<ScalingPoint> points = plan_points(scaling, 32);
  ASSERT_EQ(points.size(), 16U);
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(points[i].rate, "1gbit");
    labels.push_back(label(points[i]));
  }
  EXPECT_THAT(labels, ElementsAre("strong-1w-1s-1gbit", "strong-2w-2s-1gbit", "strong-1w-3s-1gbit",
                                  "strong-2w-3s-1gbit", "weak-1w-1s-1gbit", "weak-2w-2s-1gbit",
                                  "weak-1w-3s-1gbit", "weak-2w-3s-1gbit"));
  EXPECT_EQ(points[1].batch, 32U);
  EXPECT_EQ(points[5].batch, 64U);
  EXPECT_EQ(points[1].series, "strong, a server per worker, 1gbit");
  EXPECT_EQ(points[2].series, "strong, 3 servers, 1gbit");
  EXPECT_EQ(label(points[8]), "strong-1w-1s-x_y");
}

TEST(ScalingTest, WithoutRatesLinksStayAsTheyAre) {
  ScalingSection scaling;
  scaling.workers = {4};
  scaling.servers = {1};
  const std::vector<ScalingPoint> points = plan_points(scaling, 8);
  ASSERT_EQ(points.size(), 1U);
  EXPECT_EQ(points[0].series, "strong, 1 server");
  EXPECT_EQ(label(points[0]), "strong-4w-1s");
}

TEST(ScalingTest, TheBoundIsThatOfTheBusiestLink) {
  constexpr double kModel = 64e6;
  constexpr double kRate = 125e6;
  const std::vector<std::vector<PlacedRank>> placements = {
      placed({"a"}, {"b"}),                 // apart
      placed({"a"}, {"b", "c", "d"}),       // one server for three
      placed({"a", "b"}, {"c", "d", "e"}),  // two for three
      placed({"a", "b", "c"}, {"d"}),       // more than it takes
      placed({"a", "b"}, {"a", "b"}),       // a server beside each worker
      placed({"a", "b", "c"}, {"a", "b", "c"}),
      placed({"a", "b", "c", "d"}, {"a", "b", "c", "d"}),
      placed({"a"}, {"b", "b"}),  // two workers of one host
  };
  for (const auto& placement : placements) {
    EXPECT_NEAR(exchange_bound(placement, kModel, kRate), busiest_link(placement, kModel) / kRate,
                1e-9);
  }
  EXPECT_NEAR(exchange_bound(placements[5], kModel, kRate), 4.0 / 3 * kModel / kRate, 1e-9);
  EXPECT_EQ(exchange_bound(placed({"a", "a"}, {"a"}), kModel, kRate), 0);
}

// With servers beside the workers and others apart, the bound is for the best division between
// them: below what equal parts need.
TEST(ScalingTest, ServersInBothPlacesAreBoundedByTheBestDivision) {
  const auto both = placed({"a", "b", "c", "d"}, {"a", "b", "c"});
  const double bound = exchange_bound(both, 1, 1);
  EXPECT_NEAR(bound, 2.0 * 3 * 2 / (9 + 3 - 2), 1e-12);
  EXPECT_LE(bound, busiest_link(both, 1));
}

ScalingMeasurement measured(const char* series, std::uint32_t workers, double examples_per_s) {
  ScalingMeasurement m;
  m.point.series = series;
  m.point.workers = workers;
  m.point.servers = workers;
  m.point.batch = 16;
  m.examples_per_s = examples_per_s;
  m.step_seconds = 0.6;
  m.exchange_seconds = 0.5;
  m.model_bytes = 30e6;
  m.run = "runs/x";
  m.ranks = placed({"a", "b", "c"}, {"a", "b", "c"});
  return m;
}

TEST(ScalingTest, SpeedUpsAreWithinASeries) {
  const auto rows = compare({measured("one", 2, 100), measured("one", 4, 150),
                             measured("two", 1, 10), measured("two", 3, 30)});
  EXPECT_EQ(rows[0].speed_up, 1);
  EXPECT_EQ(rows[1].speed_up, 1.5);
  EXPECT_EQ(rows[1].efficiency, 0.75);
  EXPECT_EQ(rows[2].speed_up, 1);
  EXPECT_EQ(rows[3].speed_up, 3);
  EXPECT_EQ(rows[3].efficiency, 1);
  EXPECT_EQ(rows[3].hosts, 3U);
  EXPECT_FALSE(rows[3].share) << "nobody has measured the links";
}

TEST(ScalingTest, TheShareIsOfTheExchange) {
  ScalingMeasurement m = measured("one", 3, 100);
  m.link = 100e6;
  const auto rows = compare({m});
  EXPECT_NEAR(rows[0].bound_seconds.value(), 0.4, 1e-12);
  EXPECT_NEAR(rows[0].share.value(), 0.8, 1e-12);
  EXPECT_THAT(scaling_text(rows), HasSubstr("  400.00   0.80\n"));
  const auto json = nlohmann::json::parse(scaling_json("job", "build", rows));
  EXPECT_NEAR(json["points"][0]["share"].get<double>(), 0.8, 1e-12);
  EXPECT_EQ(json["points"][0]["rate"], nullptr);
  EXPECT_EQ(json["points"][0]["link_bytes_per_s"], 100e6);
}

TEST(ScalingTest, ThePageNeedsNothingElse) {
  const auto rows = compare({measured("a <series> & more", 1, 100),
                             measured("a <series> & more", 2, 180), measured("other", 1, 50)});
  const std::string page = scaling_page("<job>", "0.1.0", rows);
  EXPECT_THAT(page, testing::StartsWith("<!doctype html>"));
  for (const char* outside :
       {"http:", "https:", "//", "src=", "href=", "url(", "<script", "@import"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_THAT(page, Not(HasSubstr("<job>")));
  EXPECT_THAT(page, HasSubstr("a &lt;series&gt; &amp; more"));
  const auto count = [&](std::string_view part) {
    std::size_t n = 0;
    for (std::size_t at = page.find(part); at != std::string::npos; at = page.find(part, at + 1))
      ++n;
    return n;
  };
  EXPECT_EQ(count("<svg "), 2U);
  EXPECT_EQ(count("</svg>"), 2U);
  EXPECT_EQ(count("<circle "), 6U);  // three points in two charts
  EXPECT_EQ(count("<polyline fill"), 4U);
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, HasSubstr("<td>180.0</td>"));
}

}  // namespace
}  // namespace sheaf::launcher
