#include "launcher/bench/partition_price.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "common/base/random.h"
#include "common/base/stopwatch.h"
#include "common/math/kernels.h"
#include "launcher/rank/local_training.h"
#include "launcher/rank/roles.h"
#include "launcher/system/median.h"
#include "worker/data/batcher.h"

namespace sheaf::launcher {
namespace {

constexpr std::size_t kWarmUpRounds = 10;  // rounds that do not count
constexpr std::size_t kRounds = 60;        // measured
constexpr double kLongEnough = 4;          // seconds, if they are long
constexpr std::size_t kStepsPerTurn = 5;

// Calls `round` a few times to warm up, then until enough is known; it is told whether it counts.
template <typename Round>
void repeat_rounds(Round round) {
  const double begin = clocks().wall;
  for (std::size_t i = 0; i < kWarmUpRounds + kRounds; ++i) {
    round(i >= kWarmUpRounds);
    if (i > kWarmUpRounds && clocks().wall - begin > kLongEnough) return;
  }
}

// What anybody would write first: a batch, its gradient, an optimizer.
class PlainLoop {
 public:
  enum class Batches { one_in_memory, from_the_data };
  PlainLoop(const RunConfig& config, const WorkerRole& role, Batches batches)
      : layout_(role.model().layout()),
        plan_(role.plan()),
        model_(config.make_model(role.model().schema())),
        optimizer_(config.make_optimizer()),
        seed_(config.run().seed),
        state_(layout_.size() * optimizer_->state_per_parameter()),
        gradient_(layout_.size()),
        // On one batch the parameters stay as they are: fitted to it, the values would degenerate.
        rate_(batches == Batches::from_the_data ? config.make_schedule().rate(0) : 0),
        fixed_(worker::make_batch(role.plan().rows(0), role.model().schema())) {
    const worker::Batcher::Fill fill =
        worker::training_batches(role.data(), role.plan(), role.normaliser(), role.sampler());
    fill(0, 0, fixed_);
    if (batches == Batches::from_the_data) {
      batcher_.emplace(worker::Batcher::Options{.hosted = {0, 1},
                                                .first = 0,
                                                .prefetch = config.data().prefetch,
                                                .examples = role.plan().rows(0),
                                                .schema = role.model().schema()},
                       fill);
    }
    for (auto& version : parameters_) version = AlignedBuffer<float>(layout_.size());
    model_->reserve(role.plan().rows(0));
    model_->initialise(parameters_[0].span(), seed_);
  }

  void step() {
    const worker::Batch& batch = batcher_ ? batcher_->next(step_, 0) : fixed_;
    const std::span<float> in = parameters_[step_ % 2].span();
    const std::span<float> out = parameters_[(step_ + 1) % 2].span();
    model_->reserve(batch.examples);  // a sample may be larger than expected
    model_->gradient(in, batch, {seed_, step_, 0}, gradient_.span());
    const std::size_t per_parameter = optimizer_->state_per_parameter();
    for (const params::Tensor& t : layout_.tensors()) {
      optimizer_->step({.step = step_,
                        .gradient_scale = 1.0 / static_cast<double>(plan_.count(step_, 0)),
                        .rate = rate_,
                        .group = layout_.groups()[t.group]},
                       in.subspan(t.offset, t.size), gradient_.span().subspan(t.offset, t.size),
                       state_.span().subspan(t.offset * per_parameter, t.size * per_parameter),
                       out.subspan(t.offset, t.size));
    }
    ++step_;
  }

 private:
  const params::Layout& layout_;
  const worker::BatchPlan& plan_;
  std::unique_ptr<worker::Model> model_;
  std::unique_ptr<optimization::Optimizer> optimizer_;
  std::uint64_t seed_;
  AlignedBuffer<float> parameters_[2];  // by the parity of the step
  AlignedBuffer<float> state_, gradient_;
  double rate_;
  worker::Batch fixed_;
  std::optional<worker::Batcher> batcher_;
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

LoopPrices loop_prices(const RunConfig& config) {
  WorkerRole role(config, 0);
  role.load([](std::string_view, std::map<std::uint32_t, std::vector<double>> mine) {
    return mine.at(0);  // the only partition
  });
  LocalTraining partitioned(config, role);
  PlainLoop plain(config, role, PlainLoop::Batches::from_the_data);
  PlainLoop one_batch(config, role, PlainLoop::Batches::one_in_memory);
  std::vector<double> times[3];
  const auto turn = [&](std::size_t which, bool counts, auto step) {
    for (std::size_t i = 0; i < kStepsPerTurn; ++i) {
      const Elapsed time = time_of(step);
      if (counts) times[which].push_back(time.wall);
    }
  };
  repeat_rounds([&](bool counts) {
    turn(0, counts, [&] {
      partitioned.compute();
      partitioned.optimize();
    });
    turn(1, counts, [&] { plain.step(); });
    turn(2, counts, [&] { one_batch.step(); });
  });
  const double fresh = median(times[1]);
  return {.partition = median(times[0]) / fresh, .data = fresh / median(times[2])};
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
