#include "launcher/partition_price.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "common/base/random.h"
#include "common/math/kernels.h"
#include "common/params/partition_tree.h"
#include "launcher/local_training.h"
#include "launcher/roles.h"
#include "launcher/step_figures.h"
#include "launcher/stopwatch.h"

namespace sheaf::launcher {
namespace {

constexpr std::size_t kWarmUp = 10;  // rounds that do not count
constexpr std::size_t kRounds = 60;  // measured
constexpr double kLongEnough = 4;    // seconds, if they are long
constexpr std::size_t kStepsPerTurn = 5;

// Calls `round` a few times to warm up, then until enough is known; it is told whether it counts.
template <typename Round>
void repeat_rounds(Round round) {
  const double begin = clocks().wall;
  for (std::size_t i = 0; i < kWarmUp + kRounds; ++i) {
    round(i >= kWarmUp);
    if (i > kWarmUp && clocks().wall - begin > kLongEnough) return;
  }
}

// What anybody would write first: one batch, one gradient, one optimizer. The parameters stay as
// they are, so that the values do not degenerate on the one batch.
class PlainLoop {
 public:
  PlainLoop(const RunConfig& config, const WorkerRole& role)
      : layout_(role.model().layout()),
        model_(config.make_model(role.model().schema())),
        optimizer_(config.make_optimizer()),
        seed_(config.run().seed),
        batch_(worker::make_batch(role.plan().batch(0), role.model().schema())),
        in_(layout_.size()),
        gradient_(layout_.size()),
        state_(layout_.size() * optimizer_->state_per_parameter()),
        out_(layout_.size()) {
    const worker::Partition data = role.data().train(0);
    std::vector<std::uint64_t> places(std::min(data.size(), role.plan().batch(0)));
    std::iota(places.begin(), places.end(), 0U);
    data.gather(places, role.normaliser(), batch_);
    model_->reserve(batch_.examples);
    model_->initialise(in_.span(), seed_);
  }

  void step() {
    model_->gradient(in_.span(), batch_, {seed_, step_, 0}, gradient_.span());
    const std::size_t per_parameter = optimizer_->state_per_parameter();
    for (const params::Tensor& tensor : layout_.tensors()) {
      optimizer_->step(
          {.step = step_,
           .gradient_scale = 1.0 / static_cast<double>(batch_.examples),
           .rate = 1e-3,
           .group = layout_.groups()[tensor.group]},
          in_.span().subspan(tensor.offset, tensor.size),
          gradient_.span().subspan(tensor.offset, tensor.size),
          state_.span().subspan(tensor.offset * per_parameter, tensor.size * per_parameter),
          out_.span().subspan(tensor.offset, tensor.size));
    }
    ++step_;
  }

 private:
  const params::Layout& layout_;
  std::unique_ptr<worker::Model> model_;
  std::unique_ptr<server::Optimizer> optimizer_;
  std::uint64_t seed_;
  worker::Batch batch_;
  AlignedBuffer<float> in_, gradient_, state_, out_;
  Step step_ = 0;
};

// The compute of a step whose batch is cut in `partitions` shares: their passes one after the
// other, and the sums between them.
class SharedBatch {
 public:
  SharedBatch(const RunConfig& config, const worker::Schema& schema, std::uint32_t partitions)
      : partitions_(partitions),
        model_(config.make_model(schema)),
        batch_(worker::make_batch(std::max<std::uint64_t>(1, config.data().batch / partitions),
                                  schema)),
        parameters_(model_->layout().size()),
        gradient_(parameters_.size()),
        sum_(parameters_.size()) {
    batch_.examples = batch_.inputs.size() / schema.features;
    Stream stream(1, Purpose::test);
    for (float& x : batch_.inputs.span()) x = stream.uniform();
    model_->reserve(batch_.examples);
    model_->initialise(parameters_.span(), config.run().seed);
  }

  void step() {
    for (std::uint32_t p = 0; p < partitions_; ++p) {
      model_->gradient(parameters_.span(), batch_, {1, 0, p}, gradient_.span());
      if (p != 0) math::add(gradient_.span(), sum_.span());
    }
  }
  std::uint32_t partitions() const { return partitions_; }

 private:
  std::uint32_t partitions_;
  std::unique_ptr<worker::Model> model_;
  worker::Batch batch_;
  AlignedBuffer<float> parameters_, gradient_, sum_;
};

}  // namespace

double partition_price(const RunConfig& config) {
  WorkerRole role(config, 0);
  role.load([](std::string_view, std::map<std::uint32_t, std::vector<double>> mine) {
    std::vector<std::vector<double>> all;
    for (const auto& [partition, values] : mine) all.push_back(values);
    return params::tree_sum(all);
  });
  LocalTraining partitioned(config, role);
  PlainLoop plain(config, role);
  std::vector<double> with, without;
  repeat_rounds([&](bool counts) {
    for (std::size_t i = 0; i < kStepsPerTurn; ++i) {
      const Elapsed time = time_of([&] {
        partitioned.compute();
        partitioned.optimize();
      });
      if (counts) with.push_back(time.wall);
    }
    for (std::size_t i = 0; i < kStepsPerTurn; ++i) {
      const Elapsed time = time_of([&] { plain.step(); });
      if (counts) without.push_back(time.wall);
    }
  });
  return median(with) / median(without);
}

PartitionPrices prices_of_p(const RunConfig& config) {
  const worker::Schema schema = config.make_source()->schema();
  std::vector<std::unique_ptr<SharedBatch>> ways;
  for (const std::uint32_t p : {1U, 2U, 4U, 8U}) {
    ways.push_back(std::make_unique<SharedBatch>(config, schema, p));
  }
  std::vector<std::vector<double>> times(ways.size());
  repeat_rounds([&](bool counts) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      const Elapsed time = time_of([&] { ways[i]->step(); });
      if (counts) times[i].push_back(time.busy());
    }
  });
  PartitionPrices prices{median(times.front()), {}};
  for (std::size_t i = 0; i < ways.size(); ++i) {
    prices.price[ways[i]->partitions()] = median(times[i]) / prices.alone_seconds;
  }
  return prices;
}

}  // namespace sheaf::launcher
