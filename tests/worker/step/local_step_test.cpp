// A linear model at zero: the gradient of one example with inputs x and target t is -2 t x, whole
// numbers that float sums keep exactly, so that a sum over partitions can be worked out by hand.
#include "worker/step/local_step.h"

#include <gmock/gmock.h>

#include "common/math/blas.h"
#include "tests/worker/models/job_model.h"
#include "worker/data/examples.h"
#include "worker/data/source.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;

constexpr std::uint64_t kExamples = 50, kBatch = 18, kSeed = 3;
constexpr std::uint32_t kPartitions = 6;

// Row r has inputs (r, 100 + r) and target -r.
class Rows final : public Source {
 public:
  Schema schema() override { return {2, 1}; }
  std::uint64_t rows(SourcePart part) override { return part == SourcePart::train ? kExamples : 0; }
  void read(SourcePart, const RowFilter& keep, Examples& into) override {
    for (std::uint64_t row = 0; row < kExamples; ++row) {
      if (!keep(row)) continue;
      const auto value = static_cast<float>(row);
      const float inputs[] = {value, 100 + value}, target[] = {-value};
      into.append(row, std::span<const float>(inputs), target);
    }
  }
  std::string locate(SourcePart, std::uint64_t row) const override { return std::to_string(row); }
  std::vector<std::filesystem::path> files() const override { return {}; }
};

struct Setting {
  explicit Setting(PartitionRange hosted)
      : data(source, {kPartitions, {}, kSeed}, hosted),
        plan(kExamples, kBatch, kPartitions, kSeed),
        job("loss = \"mse\"\n"
            "layers = [{ kind = \"dense\", units = 1, bias = false, init = \"zero\" }]\n",
            source.schema()),
        step({.model = job.model,
              .data = data,
              .plan = plan,
              .normaliser = normaliser,
              .prefetch = 1,
              .seed = kSeed}) {
    math::set_blas_threads(1);
  }

  // The sum over the examples of a step by the formula; `examples` counts them.
  std::vector<double> expected(Step at, std::uint64_t& examples) const {
    std::vector<double> sum(2, 0.0);
    std::vector<std::uint64_t> places;
    examples = 0;
    const PartitionRange hosted = data.hosted();
    for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
      plan.indices(at, p, places);
      examples += places.size();
      const Partition share = data.train(p);
      for (const std::uint64_t place : places) {
        const std::uint32_t row = share.rows()[place];
        const double target = static_cast<double>(share.examples().targets(row)[0]);
        for (std::size_t f : {0U, 1U}) sum[f] -= 2 * target * share.examples().floats(row)[f];
      }
    }
    return sum;
  }

  Rows source;
  PartitionSet data;
  BatchPlan plan;
  Normaliser normaliser;
  JobModel job;
  LocalStep step;
};

class LocalStepTest : public testing::TestWithParam<PartitionRange> {};

// Two epochs: in the last steps of each some partitions, or all hosted ones, have nothing left.
TEST_P(LocalStepTest, SumsTheGradientsOfTheHostedPartitions) {
  Setting s(GetParam());
  for (Step at = 0; at < 2 * s.plan.steps_per_epoch(); ++at) {
    std::uint64_t examples = 0;
    const std::vector<double> expected = s.expected(at, examples);
    ASSERT_EQ(s.step.run(at, s.job.parameters), examples) << "step " << at;
    if (examples == 0) continue;
    EXPECT_THAT(s.step.gradient(), ElementsAre(expected[0], expected[1])) << "step " << at;
  }
}

// All of them, one, and ranges that are one, two and three nodes of the tree over six.
INSTANTIATE_TEST_SUITE_P(Hosted, LocalStepTest,
                         testing::Values(PartitionRange{0, 6}, PartitionRange{5, 1},
                                         PartitionRange{0, 4}, PartitionRange{3, 3},
                                         PartitionRange{1, 4}),
                         [](const auto& row) {
                           return "From" + std::to_string(row.param.first) + "Count" +
                                  std::to_string(row.param.count);
                         });

}  // namespace
}  // namespace sheaf::worker
