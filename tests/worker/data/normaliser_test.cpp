#include "worker/data/normaliser.h"

#include <gmock/gmock.h>

#include <array>
#include <barrier>
#include <bit>
#include <cmath>
#include <mutex>
#include <thread>

#include "tests/worker/data/support.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Processes as threads: each deposits its partitions' vectors under the tag, all get the same fold.
class Fold {
 public:
  explicit Fold(std::ptrdiff_t processes) : all_in_(processes) {}
  std::vector<double> operator()(std::string_view tag,
                                 std::map<std::uint32_t, std::vector<double>> mine) {
    {
      const std::lock_guard lock(mutex_);
      parts_[std::string(tag)].merge(mine);
    }
    all_in_.arrive_and_wait();
    const std::lock_guard lock(mutex_);
    std::vector<double> total;
    for (const auto& [partition, values] : parts_[std::string(tag)]) {
      total.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) total[i] += values[i];
    }
    return total;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::map<std::uint32_t, std::vector<double>>> parts_;
  std::barrier<> all_in_;
};

Normaliser standard_of(Source& source, const Partitioning& how) {
  Fold fold(1);
  const PartitionSet data(source, how, {0, how.partitions});
  return make_normaliser(Normalisation::standard, data, std::ref(fold));
}

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> words;
  for (const float value : values) words.push_back(std::bit_cast<std::uint32_t>(value));
  return words;
}

TEST(NormaliserTest, NoneLeavesInputsAsTheyAre) {
  const std::array<std::uint8_t, 3> bytes = {0, 7, 255};
  std::array<float, 3> out{};
  Normaliser().apply(bytes, out);
  EXPECT_THAT(out, ElementsAre(0, 7, 255));
  const std::array<float, 3> floats = {-1.5F, 0, 3};
  Normaliser().apply(floats, out);
  EXPECT_EQ(out, floats);
}

TEST(NormaliserTest, UnitDividesBytesBy255) {
  const std::array<std::uint8_t, 3> bytes = {0, 51, 255};
  std::array<float, 3> out{};
  Normaliser::unit().apply(bytes, out);
  EXPECT_THAT(out, ElementsAre(0, 0.2F, 1));
}

TEST(NormaliserTest, UnitIsRefusedForRealNumbers) {
  NumberedSource source(10, 0);
  const PartitionSet data(source, {1, {}, 7}, {0, 1});
  EXPECT_THAT(fault_of(Fault::config, [&] { make_normaliser(Normalisation::unit, data, {}); }),
              HasSubstr("the inputs of this source are real numbers"));
}

// Four training examples (1, 5), (2, 5), (3, 5), (6, 5): mean 3, population deviation
// sqrt((4 + 1 + 0 + 9) / 4) = sqrt(3.5); the second feature is constant.
class FourRows final : public NumberedSource {
 public:
  FourRows() : NumberedSource(4, 2) {}
  void read(SourcePart part, const RowFilter& keep, Examples& into) override {
    constexpr std::array kFirst = {1.0F, 2.0F, 3.0F, 6.0F};
    for (std::uint64_t row = 0; row < rows(part); ++row) {
      // A test set far away: it must not enter.
      const std::vector<float> inputs = {part == SourcePart::train ? kFirst[row] : 1e6F, 5.0F};
      if (keep(row)) into.append(row, inputs, std::vector<float>{0});
    }
  }
};

TEST(NormaliserTest, StandardUsesMeanAndDeviationOfTheTrainingPart) {
  FourRows source;
  const Normaliser standard = standard_of(source, {2, {}, 7});
  EXPECT_THAT(standard.mean(), ElementsAre(3, 5));
  EXPECT_THAT(standard.scale(), ElementsAre(static_cast<float>(1 / std::sqrt(3.5)), 1));
  std::array<float, 2> out{};
  standard.apply(std::array<float, 2>{6, 5}, out);
  EXPECT_THAT(out, ElementsAre(testing::FloatEq(static_cast<float>(3 / std::sqrt(3.5))), 0));
}

TEST(NormaliserTest, ValidationRowsDoNotEnterTheStatistics) {
  NumberedSource source(100, 0);
  const Partitioning how{2, {0.3, 0.2}, 7};
  const Split split(100, how.fractions, 2, 7);
  double sum = 0;
  for (std::uint64_t row = 0; row < 100; ++row) {
    if (split.place(row).part == Part::train) sum += static_cast<double>(row);
  }
  EXPECT_FLOAT_EQ(standard_of(source, how).mean()[0], static_cast<float>(sum / 50));
}

TEST(NormaliserTest, AConstantThatIsNoBinaryFractionHasScaleOne) {
  class Constant final : public NumberedSource {
   public:
    Constant() : NumberedSource(999, 0) {}
    void read(SourcePart part, const RowFilter& keep, Examples& into) override {
      for (std::uint64_t row = 0; row < rows(part); ++row) {
        if (keep(row)) into.append(row, std::vector{0.1F, 1e-20F}, std::vector{0.0F});
      }
    }
  } source;
  EXPECT_THAT(standard_of(source, {3, {}, 7}).scale(), ElementsAre(1, 1));
}

TEST(NormaliserTest, StandardHasTheSameBitsForAnyHosting) {
  auto source = make_source("synthetic_logistic", "examples = 3000\nweights = [1.0, 2.0, 3.0]\n");
  const Partitioning how{8, {0.1, 0}, 7};
  const Normaliser expected = standard_of(*source, how);
  ASSERT_EQ(expected.mean().size(), 3U);
  for (const std::uint32_t processes : {2U, 3U, 8U}) {
    Fold fold(processes);
    std::vector<Normaliser> found(processes);
    std::vector<std::thread> threads;
    for (std::uint32_t w = 0; w < processes; ++w) {
      threads.emplace_back([&, w] {
        auto own =
            make_source("synthetic_logistic", "examples = 3000\nweights = [1.0, 2.0, 3.0]\n");
        const std::uint32_t first = 8 * w / processes;
        const PartitionSet data(*own, how, {first, 8 * (w + 1) / processes - first});
        found[w] = make_normaliser(Normalisation::standard, data, std::ref(fold));
      });
    }
    for (auto& thread : threads) thread.join();
    for (const Normaliser& each : found) {
      EXPECT_EQ(bits(each.mean()), bits(expected.mean()));
      EXPECT_EQ(bits(each.scale()), bits(expected.scale()));
    }
  }
}

TEST(NormaliserTest, WordsAreThoseOfTheConfig) {
  EXPECT_EQ(parse_normalisation("none"), Normalisation::none);
  EXPECT_EQ(parse_normalisation("unit"), Normalisation::unit);
  EXPECT_EQ(parse_normalisation("standard"), Normalisation::standard);
  EXPECT_EQ(parse_normalisation("minmax"), std::nullopt);
}

}  // namespace
}  // namespace sheaf::worker
