// Kernels and dense layers against their physical floors, measured in the same run: memory passes
// against memcpy's bandwidth, layers and whole steps against the bare GEMMs of the same shapes.
// The counter `of_floor` is floor time / own time: 1 means that nothing is lost.
#include "common/math/kernels.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/random.h"
#include "common/config/section.h"
#include "common/math/blas.h"
#include "worker/models/model.h"

namespace sheaf {
namespace {

AlignedBuffer<float> random_values(std::size_t size) {
  AlignedBuffer<float> values(size);
  Stream stream(1, Purpose::test);
  for (float& value : values.span()) value = 2 * stream.uniform() - 1;
  return values;
}

// Best of several runs of `body`, in seconds: what the machine can do when nobody disturbs it.
template <typename Body>
double best_seconds(Body body) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  for (int i = 0; i < 50; ++i) {
    const auto start = Clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// Times each iteration of `body` and reports floor / best iteration.
template <typename Body>
void run_against(benchmark::State& state, double floor, Body body) {
  double best = 1e9;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  state.counters["of_floor"] = floor / best;
  state.counters["best_us"] = best * 1e6;
  state.counters["floor_us"] = floor * 1e6;
}

// Seconds to copy `size` floats.
double copy_floor(std::size_t size) {
  const AlignedBuffer<float> from = random_values(size);
  AlignedBuffer<float> to(size);
  return best_seconds([&] {
    std::memcpy(to.data(), from.data(), size * sizeof(float));
    benchmark::ClobberMemory();
  });
}

void add(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const AlignedBuffer<float> x = random_values(size);
  AlignedBuffer<float> y(size);
  run_against(state, copy_floor(size), [&] { math::add(x.span(), y.span()); });
}
BENCHMARK(add)->Arg(1 << 12)->Arg(1 << 16)->Arg(1 << 22);

void sum_squares(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const AlignedBuffer<float> x = random_values(size);
  run_against(state, copy_floor(size),
              [&] { benchmark::DoNotOptimize(math::sum_squares(x.span())); });
}
BENCHMARK(sum_squares)->Arg(1 << 12)->Arg(1 << 16)->Arg(1 << 22);

void exp(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  const AlignedBuffer<float> x = random_values(size);
  AlignedBuffer<float> y(size);
  run_against(state, copy_floor(size), [&] { math::exp(x.span(), y.span()); });
}
BENCHMARK(exp)->Arg(1 << 12)->Arg(1 << 16);

// The GEMMs of a stack of dense layers, and nothing else.
class BareGemms {
 public:
  BareGemms(std::size_t examples, std::vector<std::size_t> widths)
      : examples_(examples), widths_(std::move(widths)) {
    for (std::size_t i = 0; i < widths_.size(); ++i) {
      activations_.push_back(random_values(examples * widths_[i]));
      if (i == 0) continue;
      weights_.push_back(random_values(widths_[i - 1] * widths_[i]));
      gradients_.emplace_back(widths_[i - 1] * widths_[i]);
    }
  }

  void forward() {
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      math::gemm(examples_, widths_[i + 1], widths_[i], activations_[i].data(), weights_[i].data(),
                 0, activations_[i + 1].data());
    }
  }
  void backward() {
    for (std::size_t i = weights_.size(); i-- > 0;) {
      math::gemm_at(widths_[i], widths_[i + 1], examples_, activations_[i].data(),
                    activations_[i + 1].data(), 0, gradients_[i].data());
      if (i == 0) continue;
      math::gemm_bt(examples_, widths_[i], widths_[i + 1], activations_[i + 1].data(),
                    weights_[i].data(), 0, activations_[i].data());
    }
  }

 private:
  std::size_t examples_;
  std::vector<std::size_t> widths_;
  std::vector<AlignedBuffer<float>> activations_, weights_, gradients_;
};

// A relu classifier of these widths with one batch, ready for passes.
class Classifier {
 public:
  Classifier(std::size_t examples, const std::vector<std::size_t>& widths)
      : document_(config::Document::from_text(text(widths), "benchmark")),
        model_(document_->root().table("model"), {widths.front(), 1}),
        batch_(worker::make_batch(examples, model_.schema())),
        parameters_(model_.layout().size()),
        gradient_(model_.layout().size()) {
    document_->throw_if_faulty();
    batch_.examples = examples;
    batch_.inputs = random_values(batch_.inputs.size());
    for (std::size_t i = 0; i < examples; ++i) {
      batch_.targets[i] = static_cast<float>(i % widths.back());
    }
    model_.initialise(parameters_.span(), 1);
    model_.reserve(examples);
  }

  void evaluate() {
    std::span<const float> outputs;
    benchmark::DoNotOptimize(model_.evaluate(parameters_.span(), batch_, outputs));
  }
  void gradient() {
    benchmark::DoNotOptimize(
        model_.gradient(parameters_.span(), batch_, worker::PassKey{}, gradient_.span()));
  }

 private:
  static std::string text(const std::vector<std::size_t>& widths) {
    std::string layers;
    for (std::size_t i = 1; i < widths.size(); ++i) {
      layers += "{kind = \"dense\", units = " + std::to_string(widths[i]);
      layers += i + 1 < widths.size() ? ", activation = \"relu\"}, " : "}";
    }
    return "[model]\nloss = \"softmax_cross_entropy\"\nlayers = [" + layers + "]\n";
  }

  std::unique_ptr<config::Document> document_;
  worker::Model model_;
  worker::Batch batch_;
  AlignedBuffer<float> parameters_, gradient_;
};

const std::vector<std::size_t> kQuickstart = {784, 128, 64, 10};

void dense_forward(benchmark::State& state) {
  const auto examples = static_cast<std::size_t>(state.range(0));
  BareGemms gemms(examples, kQuickstart);
  Classifier classifier(examples, kQuickstart);
  run_against(state, best_seconds([&] { gemms.forward(); }), [&] { classifier.evaluate(); });
}
BENCHMARK(dense_forward)->Arg(32)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

void dense_step(benchmark::State& state) {
  const auto examples = static_cast<std::size_t>(state.range(0));
  BareGemms gemms(examples, kQuickstart);
  Classifier classifier(examples, kQuickstart);
  const double floor = best_seconds([&] {
    gemms.forward();
    gemms.backward();
  });
  run_against(state, floor, [&] { classifier.gradient(); });
}
BENCHMARK(dense_step)->Arg(32)->Arg(64)->Arg(256)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sheaf
