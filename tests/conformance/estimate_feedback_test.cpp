// EF21 with every compressor that may have it, several partitions and the optimizer of the servers:
// what these have is the sum of what partitions have told, to the last bit where sums do not round,
// and near it where they do; and a gradient that stays is told at the rate that the compressor
// promises.
#include "common/compression/estimate_feedback.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "common/base/random.h"
#include "common/config/section.h"
#include "common/optimization/from_differences.h"

namespace sheaf::compression {
namespace {

constexpr std::uint32_t kTellers = 4;
constexpr std::size_t kToldSize = 300;

struct ToldMode {
  std::string name;
  std::string options;
  friend void PrintTo(const ToldMode& m, std::ostream* out) { *out << m.name << " " << m.options; }
};

std::unique_ptr<Compressor> make_told(const ToldMode& mode) {
  const auto document = config::Document::from_text(mode.options, "job.toml");
  return find_mode(compressors(), mode.name)->make(document->root());
}

// All that always come nearer, but whose mean is not right by itself, or that want a feedback of
// their own.
std::vector<ToldMode> told_modes() {
  std::vector<ToldMode> all;
  for (const auto name : mode_names(compressors())) all.push_back({std::string(name), ""});
  all.push_back({"topk", "ratio = 0.1\nvalues = 8"});
  all.push_back({"topk", "ratio = 0.3\nvalues = 4"});
  all.push_back({"int4", "block = 16"});
  all.push_back({"randomk", "ratio = 0.2\nunbiased = false"});
  std::erase_if(all, [](const ToldMode& mode) {
    const auto compressor = make_told(mode);
    const Promises promises = compressor->promises(kToldSize);
    return promises.unbiased || promises.contraction == 0 || compressor->momentum();
  });
  return all;
}

class TellingJob {
 public:
  TellingJob(const ToldMode& mode, double momentum)
      : push_(make_told(mode)),
        feedback_(*push_, momentum, kToldSize),
        kept_(kTellers, std::vector<float>(EstimateFeedback::runs(momentum) * kToldSize)) {
    const auto document = config::Document::from_text("", "job.toml");
    servers_ = optimization::from_differences(
        find_mode(optimization::optimizers(), "sgd")->make(document->root()), 32);
  }
  const Compressor& push() const { return *push_; }
  // What a partition has told.
  std::span<const float> told(std::uint32_t partition) const {
    return std::span(kept_[partition]).first(kToldSize);
  }
  std::span<const float> sum() const { return state_; }

  // Partitions that are not named have no examples.
  void step(const std::map<std::uint32_t, std::vector<float>>& gradients) {
    std::vector<float> sum(kToldSize), next(kToldSize);
    for (const auto& [partition, gradient] : gradients) {
      const EncodingKey key{5, step_, partition, 0};
      std::vector<std::byte> bytes(push_->max_bytes(kToldSize));
      std::vector<float> after(kept_[partition].size());
      bytes.resize(feedback_.encode(
          EstimateFeedback::state_of(std::span<const float>(kept_[partition]), kToldSize), gradient,
          1, key, bytes, EstimateFeedback::state_of(std::span(after), kToldSize)));
      kept_[partition].swap(after);
      push_->decode_add(bytes, key, sum);
    }
    ASSERT_TRUE(
        servers_->step({.step = step_++, .rate = 0.01, .group = {}}, x_, sum, state_, next));
    x_.swap(next);
  }

 private:
  std::unique_ptr<Compressor> push_;
  EstimateFeedback feedback_;
  std::unique_ptr<optimization::Optimizer> servers_;
  std::vector<std::vector<float>> kept_;  // by partition
  std::vector<float> x_ = std::vector<float>(kToldSize), state_ = std::vector<float>(kToldSize);
  Step step_ = 0;
};

std::vector<float> random_gradient(Step step, std::uint32_t partition, bool lattice) {
  Stream stream(43, Purpose::test, step, partition);
  std::vector<float> g(kToldSize);
  for (float& value : g) {
    value = lattice ? static_cast<float>(static_cast<int>(stream.next() % 513) - 256) * 0x1p-10F
                    : static_cast<float>(stream.normal());
  }
  return g;
}

class EstimateFeedbackTest : public testing::TestWithParam<ToldMode> {};

// Of multiples of 2^-10 these tell multiples of 2^-10: their scales are powers of two, and what is
// finer loses nothing. So no sum rounds. The scales of sign are means: of that the next test says
// all there is to say.
TEST_P(EstimateFeedbackTest, ServersHaveTheSumOfWhatPartitionsHaveToldToTheLastBit) {
  TellingJob job(GetParam(), 0);
  if (!job.push().promises(kToldSize).exact_residual) return;
  for (Step step = 0; step < 40; ++step) {
    std::map<std::uint32_t, std::vector<float>> gradients;
    for (std::uint32_t p = 0; p < kTellers; ++p) {
      if ((step + p) % 7 != 3) gradients.emplace(p, random_gradient(step, p, true));
    }
    job.step(gradients);
    for (std::size_t i = 0; i < kToldSize; ++i) {
      float sum = 0;
      for (std::uint32_t p = 0; p < kTellers; ++p) sum += job.told(p)[i];
      ASSERT_EQ(job.sum()[i], sum) << "step " << step << ", value " << i;
    }
  }
}

// Each step rounds, at 2^-24, what a partition has told, what all tell at once, in three sums, and
// what servers have: errors that nobody takes back, at worst in one direction.
TEST_P(EstimateFeedbackTest, RoundingTakesThemNoFurtherApartThanItMust) {
  for (const double momentum : {0.0, 0.9}) {
    TellingJob job(GetParam(), momentum);
    double largest = 0;
    constexpr Step kLong = 400;
    for (Step step = 0; step < kLong; ++step) {
      std::map<std::uint32_t, std::vector<float>> gradients;
      for (std::uint32_t p = 0; p < kTellers; ++p) {
        gradients.emplace(p, random_gradient(step, p, false));
      }
      job.step(gradients);
      for (std::uint32_t p = 0; p < kTellers; ++p) {
        for (const float value : job.told(p)) largest = std::max(largest, std::abs(double{value}));
      }
    }
    double apart = 0;
    for (std::size_t i = 0; i < kToldSize; ++i) {
      double sum = 0;
      for (std::uint32_t p = 0; p < kTellers; ++p) sum += double{job.told(p)[i]};
      apart = std::max(apart, std::abs(sum - double{job.sum()[i]}));
    }
    // At most 2 largest are told at once by each partition.
    const double of_a_step = kTellers * largest * (1 + 3 * 2 + 1);
    EXPECT_LE(apart, kLong * 0x1p-24 * of_a_step);
  }
}

// ||x - g_t||^2 <= (1 - contraction)^t ||x||^2, in the mean over what is drawn; down to where
// floats round.
TEST_P(EstimateFeedbackTest, AGradientThatStaysIsToldAtTheRateOfTheCompressor) {
  TellingJob job(GetParam(), 0);
  std::map<std::uint32_t, std::vector<float>> gradients;
  double all = 0;
  for (std::uint32_t p = 0; p < kTellers; ++p) {
    gradients.emplace(p, random_gradient(0, p, false));
    for (const float x : gradients.at(p)) all += double{x} * double{x};
  }
  const double stays = 1 - job.push().promises(kToldSize).contraction;
  const bool draws = GetParam().name == "randomk";
  double bound = all;
  for (Step step = 0; step < 30; ++step) {
    job.step(gradients);
    bound *= stays;
    double apart = 0;
    for (std::uint32_t p = 0; p < kTellers; ++p) {
      for (std::size_t i = 0; i < kToldSize; ++i) {
        apart += std::pow(double{gradients.at(p)[i]} - double{job.told(p)[i]}, 2);
      }
    }
    // What is drawn may be four deviations off: x^2 of normal values has a second moment of 3, and
    // each of them has stayed with a probability of `share`.
    const double share = bound / all;
    const double drawn = draws ? 4 * std::sqrt(3 * share / (kTellers * kToldSize)) * all : 0;
    EXPECT_LE(apart, bound + drawn + 1e-12 * all) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Compression, EstimateFeedbackTest, testing::ValuesIn(told_modes()),
                         [](const auto& mode) {
                           return fmt::format("{}_{}", mode.param.name, mode.index);
                         });

}  // namespace
}  // namespace sheaf::compression
