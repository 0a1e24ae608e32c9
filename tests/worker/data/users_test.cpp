// Data by user: whose each row is, that nobody's examples are torn apart, and which of them a step
// has. Expected values are counted row by row.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "common/base/random.h"
#include "tests/worker/data/support.h"
#include "worker/data/batcher.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Numbers = std::vector<std::uint32_t>;

// --- sources -------------------------------------------------------------------------------------

class OwnedCsvTest : public testing::Test {
 protected:
  ConfiguredSource open(std::string_view content, const std::string& more) const {
    return make_source("csv", "path = \"" + folder_.write("visits.csv", content) + "\"\n" + more);
  }
  TempFolder folder_;
};

TEST_F(OwnedCsvTest, AColumnSaysWhoseARowIsAndIsNoInput) {
  const std::string content = "who,a,y\nAnn,1,2\nBob,3,4\n Ann ,5,6\n\"Ann\",7,8\n";
  for (const char* name : {"who", "0"}) {
    const auto source = open(content, "users = \"" + std::string(name) + "\"");
    EXPECT_EQ(source->schema(), (Schema{1, 1}));
    EXPECT_EQ(source->users_by(), name);
    EXPECT_EQ(source->users(), (Numbers{0, 1, 0, 0}));
    EXPECT_THAT(rows_of(read_all(*source)), ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4),
                                                        ElementsAre(5, 6), ElementsAre(7, 8)));
  }
  EXPECT_EQ(open("1,2\n3,4\n", "")->users_by(), "");
}

TEST_F(OwnedCsvTest, TheTargetIsTheLastOtherColumn) {
  const auto source = open("a,y,who\n1,2,7\n3,4,9\n5,6,7\n", "users = \"who\"");
  EXPECT_THAT(rows_of(read_all(*source)),
              ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4), ElementsAre(5, 6)));
  EXPECT_EQ(source->users(), (Numbers{0, 1, 0}));
}

TEST_F(OwnedCsvTest, WhatNamesNobodyIsRefusedWithItsPlace) {
  const std::string content = "who,a,y\n7,1,2\n,3,4\n";
  EXPECT_THAT(data_fault([&] { open(content, "users = \"who\"")->users(); }),
              HasSubstr("visits.csv:3:1: found an empty cell, expected whose row it is"));
  EXPECT_THAT(data_fault([&] { open(content, "users = \"whom\"")->schema(); }),
              HasSubstr("found no column \"whom\" for data.users, expected who, a, y"));
  EXPECT_THAT(data_fault([&] { open(content, "users = \"y\"\ntargets = [\"y\"]")->schema(); }),
              HasSubstr("target \"y\" is the column of data.users"));
}

std::string npy_file(const std::string& type, const std::string& shape, const std::string& bytes) {
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string file = "\x93NUMPY\x01";
  file += '\0';
  file += static_cast<char>(header.size() & 0xFF);
  file += static_cast<char>(header.size() >> 8);
  return file + header + bytes;
}

class OwnedNpyTest : public testing::Test {
 protected:
  ConfiguredSource open(const std::string& users) const {
    const auto array = npy_file("<f4", "3, 1", bytes_of<float>({1, 2, 3}));
    return make_source("npy", "inputs = \"" + folder_.write("x.npy", array) + "\"\ntargets = \"" +
                                  folder_.write("y.npy", array) + "\"\nusers = \"" +
                                  folder_.write("users.npy", users) + "\"");
  }
  TempFolder folder_;
};

// Two users whose numbers are one as doubles would be protected as one, and so less than promised.
TEST_F(OwnedNpyTest, AFileSaysWhoseARowIsToTheLastBit) {
  const std::int64_t large = std::int64_t{1} << 60;
  const auto source =
      open(npy_file("<i8", "3,", bytes_of<std::int64_t>({large, large + 1, large})));
  EXPECT_EQ(source->users(), (Numbers{0, 1, 0}));
  EXPECT_EQ(source->users_by(), "users.npy");
  EXPECT_EQ(source->files().size(), 3U);
  EXPECT_EQ(open(npy_file("<i4", "3,", bytes_of<std::int32_t>({-1, 5, 5})))->users(),
            (Numbers{0, 1, 1}));
  EXPECT_EQ(open(npy_file("|u1", "3, 1", "\xFF\x01\xFF"))->users(), (Numbers{0, 1, 0}));
}

TEST_F(OwnedNpyTest, OtherFilesAreRefused) {
  EXPECT_THAT(data_fault([&] { open(npy_file("<f4", "3,", bytes_of<float>({1, 2, 3})))->users(); }),
              HasSubstr("users.npy: found real numbers, expected whole ones"));
  EXPECT_THAT(
      data_fault([&] { open(npy_file("<i4", "2,", bytes_of<std::int32_t>({1, 2})))->users(); }),
      HasSubstr("users.npy: found 2 rows of 1, expected one number for each of the 3 rows"));
  EXPECT_THAT(data_fault([&] {
                open(npy_file("<i4", "3, 2", bytes_of<std::int32_t>({1, 2, 3, 4, 5, 6})))->users();
              }),
              HasSubstr("found 3 rows of 2"));
}

TEST(OwnedSyntheticTest, RowsGoToUsersInTurn) {
  const auto source = make_source("synthetic_sum", "examples = 7\nusers = 3");
  EXPECT_EQ(source->users(), (Numbers{0, 1, 2, 0, 1, 2, 0}));
  EXPECT_EQ(source->users_by(), "3");
  EXPECT_THAT(config_faults("synthetic_sum", "examples = 7\nusers = 8"),
              ElementsAre(HasSubstr("data.users: found 8")));
  EXPECT_THAT(config_faults("idx", "path = \"/\"\nusers = \"u\""),
              ElementsAre(HasSubstr("data.users: found an unknown key")));
}

// --- partitions ----------------------------------------------------------------------------------

// Some users have hundreds of rows, most a few, in no order.
class OwnedSource : public NumberedSource {
 public:
  OwnedSource(std::uint64_t rows, std::uint64_t test) : NumberedSource(rows, test) {
    Stream stream(11, Purpose::test);
    std::map<std::uint32_t, std::uint32_t> numbers;
    for (std::uint64_t row = 0; row < rows; ++row) {
      const double u = stream.uniform_double();
      const auto name = static_cast<std::uint32_t>(120 * u * u * u * u);
      const auto next = static_cast<std::uint32_t>(numbers.size());
      of_row_.push_back(numbers.try_emplace(name, next).first->second);
    }
    users_ = numbers.size();
  }
  std::string users_by() const override { return "owner"; }
  Numbers users() override { return of_row_; }

  const Numbers& of_row() const { return of_row_; }
  std::uint64_t count() const { return users_; }

 private:
  Numbers of_row_;
  std::uint64_t users_ = 0;
};

std::vector<std::uint64_t> rows_in(const Partition& partition) {
  std::vector<std::uint64_t> rows;
  for (const std::uint32_t i : partition.rows()) rows.push_back(partition.examples().row(i));
  return rows;
}

constexpr Part kEveryPart[] = {Part::train, Part::validation, Part::test};

TEST(PartitionsByUser, AllExamplesOfAUserAreInOnePartWhoeverHostsIt) {
  for (const std::uint32_t partitions : {1U, 2U, 3U, 8U}) {
    const Partitioning how{partitions, {0.2, 0.1}, 7, true};
    OwnedSource source(2000, 0);
    const PartitionSet all(source, how, {0, partitions});
    EXPECT_TRUE(all.by_user());
    std::map<std::uint32_t, std::set<std::pair<Part, std::uint32_t>>> homes;  // by user
    std::map<Part, std::set<std::uint32_t>> users;
    std::set<std::uint64_t> seen;
    for (std::uint32_t p = 0; p < partitions; ++p) {
      const PartitionSet alone(source, how, {p, 1});
      for (const Part part : kEveryPart) {
        const auto rows = rows_in(alone.part(part, p));
        EXPECT_EQ(rows, rows_in(all.part(part, p)));
        EXPECT_EQ(rows.size(), all.size(part, p));
        EXPECT_EQ(rows.size(), alone.size(part, p));
        for (const std::uint64_t row : rows) {
          EXPECT_TRUE(seen.insert(row).second);
          homes[source.of_row()[row]].insert({part, p});
          users[part].insert(source.of_row()[row]);
        }
      }
    }
    EXPECT_EQ(seen.size(), 2000U);
    EXPECT_EQ(homes.size(), source.count());
    for (const auto& [user, places] : homes) EXPECT_EQ(places.size(), 1U) << user;
    EXPECT_EQ(users[Part::validation].size(), source.count() / 5);
    EXPECT_EQ(users[Part::test].size(), source.count() / 10);
    EXPECT_EQ(all.size(Part::train) + all.size(Part::validation) + all.size(Part::test), 2000U);
  }
}

// With four workers and with one a partition is the same: P partitions, dealt out by P alone.
TEST(PartitionsByUser, PlacesOfAUserStandTogetherInFileOrder) {
  OwnedSource source(2000, 300);
  const Partitioning how{4, {0.2, 0}, 7, true};
  const PartitionSet data(source, how, {1, 2});
  EXPECT_EQ(data.size(Part::test), 300U);
  const Split split(source.count(), how.fractions, 4, 7);
  for (std::uint32_t p = 1; p < 3; ++p) {
    const auto begins = data.user_begins(p);
    const auto rows = rows_in(data.train(p));
    ASSERT_EQ(begins.size(), split.size(Part::train, p) + 1);
    EXPECT_EQ(begins.front(), 0U);
    ASSERT_EQ(begins.back(), rows.size());
    for (std::size_t u = 0; u + 1 < begins.size(); ++u) {
      const std::uint64_t user = split.row({Part::train, p, u});
      std::vector<std::uint64_t> expected;
      for (std::uint64_t row = 0; row < 2000; ++row) {
        if (source.of_row()[row] == user) expected.push_back(row);
      }
      EXPECT_EQ(std::vector(rows.begin() + static_cast<std::ptrdiff_t>(begins[u]),
                            rows.begin() + static_cast<std::ptrdiff_t>(begins[u + 1])),
                expected);
    }
  }
}

TEST(PartitionsByUser, UsersAreWhatIsDealtOut) {
  OwnedSource source(2000, 0);
  EXPECT_EQ(dealt_out(source, false), 2000U);
  EXPECT_EQ(dealt_out(source, true), source.count());
  NumberedSource nobody(10, 0);
  EXPECT_THAT(data_fault([&] { dealt_out(nobody, true); }),
              HasSubstr("found users of 0 rows, expected 10"));
}

// --- batches -------------------------------------------------------------------------------------

// Of 3 partitions this process hosts two. In every step: users take part at the rate, all of a
// user's examples or m of them, and no others.
TEST(BatchesByUser, HaveAtMostSoManyExamplesOfEachUserThatTakesPart) {
  constexpr std::uint64_t kMost = 4, kUsers = 30;
  constexpr Step kSteps = 400;
  OwnedSource source(2000, 0);
  const PartitionSet data(source, {3, {0.1, 0}, 7, true}, {1, 2});
  const Split split(source.count(), {0.1, 0}, 3, 7);
  const std::uint64_t users = split.size(Part::train);
  const BatchPlan plan(users, kUsers, 3, 7, Sampling::poisson);
  const PoissonSampler sampler({}, kUsers, users, kMost);
  const Normaliser normaliser;
  Batcher batcher({{1, 2}, 0, 2, 1, data.schema()},
                  training_batches(data, plan, normaliser, &sampler));
  std::map<std::uint32_t, std::uint64_t> rows_of;
  for (const std::uint32_t user : source.of_row()) ++rows_of[user];
  std::vector<std::uint64_t> expected;
  double taken = 0;
  std::size_t cut = 0, whole = 0;
  for (Step step = 0; step < kSteps; ++step) {
    for (std::uint32_t p = 1; p < 3; ++p) {
      const Batch& batch = batcher.next(step, p);
      std::map<std::uint32_t, std::set<std::uint64_t>> rows;  // by user
      for (std::size_t i = 0; i < batch.examples; ++i) {
        const auto row = static_cast<std::uint64_t>(batch.inputs[2 * i]);
        const std::uint32_t user = source.of_row()[row];
        EXPECT_EQ(split.place(user).partition, p);
        EXPECT_TRUE(rows[user].insert(row).second) << "twice in a step";
      }
      for (const auto& [user, of_user] : rows) {
        EXPECT_EQ(of_user.size(), std::min(kMost, rows_of[user]));
        ++(rows_of[user] > kMost ? cut : whole);
      }
      sampler.sample(step, p, split.size(Part::train, p), expected);
      ASSERT_EQ(rows.size(), expected.size());
      taken += static_cast<double>(rows.size());
      EXPECT_EQ(plan.count(step, p), 10U);  // what it counts for: of 30 users a third
    }
  }
  EXPECT_GT(cut, 100U);
  EXPECT_GT(whole, 100U);
  // Binomial: trials are the users here in every step. 4.9 deviations: 1e-6.
  const double rate = static_cast<double>(kUsers) / static_cast<double>(users);
  const double trials =
      static_cast<double>(kSteps * (split.size(Part::train, 1) + split.size(Part::train, 2)));
  EXPECT_NEAR(taken, trials * rate, 4.9 * std::sqrt(trials * rate * (1 - rate)));
}

// A job that goes on at a step has the batches that it would have had.
TEST(BatchesByUser, AreTheSameForWhoeverBeginsLater) {
  OwnedSource source(2000, 0);
  const PartitionSet data(source, {2, {}, 7, true}, {0, 2});
  const BatchPlan plan(source.count(), 20, 2, 7, Sampling::poisson);
  const PoissonSampler sampler({}, 20, source.count(), 3);
  const Normaliser normaliser;
  const auto fill = training_batches(data, plan, normaliser, &sampler);
  Batcher whole({{0, 2}, 0, 2, 1, data.schema()}, fill);
  Batcher later({{0, 2}, 25, 2, 1, data.schema()},
                training_batches(data, plan, normaliser, &sampler));
  for (Step step = 0; step < 50; ++step) {
    for (std::uint32_t p = 0; p < 2; ++p) {
      const Batch& first = whole.next(step, p);
      if (step < 25) continue;
      const Batch& again = later.next(step, p);
      ASSERT_EQ(again.examples, first.examples);
      const std::size_t floats = first.examples * 2;
      EXPECT_THAT(again.inputs.span().first(floats),
                  testing::ElementsAreArray(first.inputs.span().first(floats)));
    }
  }
}

}  // namespace
}  // namespace sheaf::worker
