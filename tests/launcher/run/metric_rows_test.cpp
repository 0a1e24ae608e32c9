#include "launcher/run/metric_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "common/base/error.h"
#include "common/base/random.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const TimePoint kFirst{seconds(100)};

struct Report {
  Step step;
  std::uint32_t partition;
  double loss_sum;
  std::uint64_t examples;
};

std::vector<MetricRow> feed(MetricRows& rows, const std::vector<Report>& reports, TimePoint now) {
  std::vector<MetricRow> all;
  for (const Report& r : reports) {
    for (auto& row : rows.add(r.step, r.partition, r.loss_sum, r.examples, now)) {
      all.push_back(std::move(row));
    }
  }
  return all;
}

TEST(MetricRows, RowIsTheMeanOverTheStepsSinceTheLastOne) {
  MetricRows rows({.partitions = 2, .every = 2, .steps_per_epoch = 100}, kFirst);
  EXPECT_THAT(feed(rows, {{0, 0, 4, 4}, {0, 1, 2, 4}, {1, 0, 3, 4}}, kFirst), IsEmpty());
  const auto first = rows.add(1, 1, 3, 2, kFirst + seconds(1));
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_EQ(first[0].step, 2U);
  EXPECT_EQ(first[0].epoch, 1U);
  EXPECT_EQ(first[0].split, "train");
  EXPECT_DOUBLE_EQ(first[0].loss, 12.0 / 14);
  EXPECT_FALSE(first[0].epoch_loss);
  const auto second = feed(rows, {{2, 0, 1, 4}, {2, 1, 1, 4}, {3, 0, 1, 4}, {3, 1, 1, 4}}, kFirst);
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_DOUBLE_EQ(second[0].loss, 0.25);
}

TEST(MetricRows, EveryEpochEndsWithARow) {
  MetricRows rows({.partitions = 1, .every = 4, .steps_per_epoch = 6}, kFirst);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
  for (Step step = 0; step < 12; ++step) {
    for (const auto& row : rows.add(step, 0, static_cast<double>(step), 1, kFirst)) {
      found.emplace_back(row.step, row.epoch);
      if (row.step == 6) {
        EXPECT_DOUBLE_EQ(row.loss, 4.5) << "steps 4 and 5";
        EXPECT_DOUBLE_EQ(row.epoch_loss.value(), 2.5) << "steps 0 to 5";
      }
      if (row.step == 12) {
        EXPECT_DOUBLE_EQ(row.epoch_loss.value(), 8.5) << "steps 6 to 11";
      }
    }
  }
  EXPECT_THAT(found,
              ElementsAre(std::pair(4, 1), std::pair(6, 1), std::pair(8, 2), std::pair(12, 2)));
}

TEST(MetricRows, DuplicatesAreIgnored) {
  MetricRows rows({.partitions = 2, .every = 1, .steps_per_epoch = 10}, kFirst);
  EXPECT_THAT(feed(rows, {{0, 0, 1, 1}, {0, 0, 99, 1}}, kFirst), IsEmpty());
  const auto row = rows.add(0, 1, 3, 1, kFirst);
  ASSERT_THAT(row, SizeIs(1));
  EXPECT_DOUBLE_EQ(row[0].loss, 2);
  EXPECT_THAT(feed(rows, {{0, 0, 99, 1}, {0, 1, 99, 1}}, kFirst), IsEmpty()) << "long folded";
  EXPECT_EQ(rows.steps(), 1U);
}

TEST(MetricRows, LaterStepsWaitForEarlierOnes) {
  MetricRows rows({.partitions = 2, .every = 1, .steps_per_epoch = 10}, kFirst);
  EXPECT_THAT(feed(rows, {{1, 0, 1, 1}, {1, 1, 1, 1}, {0, 1, 5, 1}}, kFirst), IsEmpty());
  EXPECT_EQ(rows.steps(), 0U);
  const auto both = rows.add(0, 0, 5, 1, kFirst);
  ASSERT_THAT(both, SizeIs(2));
  EXPECT_EQ(both[0].step, 1U);
  EXPECT_DOUBLE_EQ(both[0].loss, 5);
  EXPECT_EQ(both[1].step, 2U);
  EXPECT_DOUBLE_EQ(both[1].loss, 1);
}

TEST(MetricRows, WhatALostWorkerDidNotReportIsLeftOut) {
  MetricRows rows({.partitions = 3, .every = 2, .steps_per_epoch = 4}, kFirst);
  // Partitions 1 and 2 are lost with their reports of steps 1 and 2.
  EXPECT_THAT(
      feed(rows, {{0, 0, 1, 1}, {0, 1, 2, 1}, {0, 2, 3, 1}, {1, 0, 4, 1}, {2, 0, 6, 1}}, kFirst),
      IsEmpty());
  const auto given_up = rows.give_up({1, 2}, 3, kFirst);
  ASSERT_THAT(given_up, SizeIs(1));
  EXPECT_EQ(given_up[0].step, 2U);
  EXPECT_DOUBLE_EQ(given_up[0].loss, (1 + 2 + 3 + 4) / 4.0);
  const auto next = feed(rows, {{3, 0, 1, 1}, {3, 2, 1, 1}, {3, 1, 1, 1}}, kFirst);
  ASSERT_THAT(next, SizeIs(1));
  EXPECT_DOUBLE_EQ(next[0].loss, (6 + 1 + 1 + 1) / 4.0);
  EXPECT_DOUBLE_EQ(next[0].epoch_loss.value(), (10 + 9) / 8.0);
  EXPECT_EQ(rows.examples(), 8U);
}

TEST(MetricRows, ARowOfWhichNobodyKnowsALossIsNone) {
  MetricRows rows({.partitions = 1, .every = 2, .steps_per_epoch = 4}, kFirst);
  EXPECT_THAT(rows.give_up({0, 1}, 4, kFirst), IsEmpty());
  EXPECT_EQ(rows.steps(), 4U);
  const auto next = feed(rows, {{4, 0, 3, 1}, {5, 0, 5, 1}}, kFirst);
  ASSERT_THAT(next, SizeIs(1));
  EXPECT_EQ(next[0].step, 6U);
  EXPECT_DOUBLE_EQ(next[0].loss, 4);
}

TEST(MetricRows, SumFollowsTheTreeOverPartitions) {
  // The values 1, B, 1, -B, 0.5 with B = 2^53, where 1 + B rounds to B (ties to even) and 1 - B is
  // exact: over the tree ((1 + B) + (1 - B)) + 0.5 = 1.5, from left to right 0.5.
  const double big = std::ldexp(1.0, 53);
  MetricRows rows({.partitions = 5, .every = 1, .steps_per_epoch = 10}, kFirst);
  const auto row = feed(
      rows, {{0, 4, 0.5, 1}, {0, 3, -big, 1}, {0, 1, big, 1}, {0, 0, 1, 1}, {0, 2, 1, 1}}, kFirst);
  ASSERT_THAT(row, SizeIs(1));
  EXPECT_EQ(row[0].loss, 1.5 / 5);
}

TEST(MetricRows, AnyOrderOfArrivalGivesTheSameBits) {
  constexpr std::uint32_t kPartitions = 6;
  std::vector<Report> reports;
  Stream random(3, Purpose::test);
  for (Step step = 0; step < 20; ++step) {
    for (std::uint32_t p = 0; p < kPartitions; ++p) {
      reports.push_back({step, p, random.uniform_double(), 1 + random.next() % 9});
    }
  }
  const auto losses = [&] {
    MetricRows rows({.partitions = kPartitions, .every = 7, .steps_per_epoch = 10}, kFirst);
    std::vector<std::tuple<std::uint64_t, double>> result;
    for (const auto& row : feed(rows, reports, kFirst)) result.emplace_back(row.step, row.loss);
    return result;
  };
  const auto expected = losses();
  ASSERT_THAT(expected, SizeIs(4)) << "steps 7, 10, 14, 20";
  for (int round = 0; round < 50; ++round) {
    for (std::size_t i = reports.size() - 1; i > 0; --i) {
      std::swap(reports[i], reports[random.next() % (i + 1)]);
    }
    EXPECT_EQ(losses(), expected);
  }
}

TEST(MetricRows, ExhaustedPartitionsCountNothing) {
  MetricRows rows({.partitions = 3, .every = 1, .steps_per_epoch = 10}, kFirst);
  const auto row = feed(rows, {{0, 0, 6, 3}, {0, 1, 0, 0}, {0, 2, 0, 0}}, kFirst);
  ASSERT_THAT(row, SizeIs(1));
  EXPECT_DOUBLE_EQ(row[0].loss, 2);
}

TEST(MetricRows, AStepWhoseLossIsNotFiniteIsLeftOut) {
  MetricRows rows({.partitions = 2, .every = 2, .steps_per_epoch = 100}, kFirst);
  const double bad = std::numeric_limits<double>::quiet_NaN();
  const auto found = feed(rows, {{0, 0, bad, 4}, {0, 1, 2, 4}, {1, 0, 3, 4}, {1, 1, 3, 2}}, kFirst);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_DOUBLE_EQ(found[0].loss, 1);
}

// Under privacy nobody is told a loss.
TEST(MetricRows, WhereLossesAreHiddenExamplesCountAllTheSame) {
  MetricRows rows({.partitions = 2, .every = 2, .steps_per_epoch = 100, .hides_losses = true},
                  kFirst);
  const double hidden = std::numeric_limits<double>::quiet_NaN();
  const auto found =
      feed(rows, {{0, 0, hidden, 4}, {0, 1, hidden, 4}, {1, 0, hidden, 4}, {1, 1, hidden, 4}},
           kFirst + seconds(2));
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_TRUE(std::isnan(found[0].loss));
  EXPECT_DOUBLE_EQ(found[0].examples_per_s, 8) << "16 examples in 2 s";
}

TEST(MetricRows, RatesAreThoseOfTheWindow) {
  MetricRows rows({.partitions = 1, .every = 1, .steps_per_epoch = 10}, kFirst);
  rows.set_traffic(1000, 3000);
  const auto first = rows.add(0, 0, 1, 50, kFirst + milliseconds(500));
  EXPECT_DOUBLE_EQ(first.at(0).examples_per_s, 100);
  EXPECT_DOUBLE_EQ(first.at(0).push_bytes_per_s, 2000);
  EXPECT_DOUBLE_EQ(first.at(0).pull_bytes_per_s, 6000);
  // Reports come in bursts: a shorter window than a second keeps the rates it had.
  rows.set_traffic(1500, 4000);
  const auto second = rows.add(1, 0, 1, 50, kFirst + milliseconds(750));
  EXPECT_DOUBLE_EQ(second.at(0).examples_per_s, 100);
  EXPECT_EQ(second.at(0).push_bytes, 1500U) << "bytes are those of the whole job";
  EXPECT_EQ(second.at(0).pull_bytes, 4000U);
  rows.set_traffic(3500, 5500);
  const auto third = rows.add(2, 0, 1, 50, kFirst + milliseconds(1750));
  EXPECT_DOUBLE_EQ(third.at(0).examples_per_s, 80) << "100 examples in 1.25 s";
  EXPECT_DOUBLE_EQ(third.at(0).push_bytes_per_s, 2000);
  EXPECT_DOUBLE_EQ(third.at(0).pull_bytes_per_s, 2000);
}

TEST(MetricRows, PausesCountInNoRate) {
  MetricRows rows({.partitions = 1, .every = 1, .steps_per_epoch = 10}, kFirst);
  rows.resume(kFirst + seconds(9));
  EXPECT_DOUBLE_EQ(rows.add(0, 0, 1, 50, kFirst + seconds(10)).at(0).examples_per_s, 50);
}

TEST(MetricRows, EarlyEndFlushesTheStepsSinceTheLastRow) {
  MetricRows rows({.partitions = 1, .every = 20, .steps_per_epoch = 100, .first_step = 40}, kFirst);
  EXPECT_FALSE(rows.flush(kFirst));
  feed(rows, {{40, 0, 1, 1}, {41, 0, 3, 1}}, kFirst);
  const auto row = rows.flush(kFirst + seconds(1));
  ASSERT_TRUE(row);
  EXPECT_EQ(row->step, 42U);
  EXPECT_DOUBLE_EQ(row->loss, 2);
  EXPECT_FALSE(rows.flush(kFirst + seconds(2)));
}

TEST(MetricRows, UnknownPartitionBreaksAnInvariant) {
  MetricRows rows({.partitions = 2}, kFirst);
  EXPECT_THROW(rows.add(0, 2, 1, 1, kFirst), Error);
}

}  // namespace
}  // namespace sheaf::launcher
