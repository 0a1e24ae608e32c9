// Two ways to sum P gradients so that neither order nor grouping enters, per pushed float.
//
//   tree: the server adds pairs of received buffers in place, along a fixed binary tree.
//   grid: every value is first rounded to a common power-of-two grid, coarse enough that no partial
//         sum of P values rounds; then any order is exact and one accumulator is enough. Needs the
//         largest magnitude of all partitions before the rounding (a pass, and a round trip that is
//         not counted here), and the rounding (a pass).
//
// Counters: buffers = accumulators of the server per chunk at worst; lost_bits = mean bits of
// precision that the grid takes from a value (24 = all of it), for normally distributed gradients.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/random.h"
#include "common/math/kernels.h"

namespace {

using namespace sheaf;

constexpr std::size_t kChunk = 64U << 10;  // floats: 256 KiB

std::vector<AlignedBuffer<float>> gradients(std::size_t count) {
  std::vector<AlignedBuffer<float>> all;
  Stream stream(7, Purpose::test);
  for (std::size_t p = 0; p < count; ++p) {
    all.emplace_back(kChunk);
    for (float& x : all.back().span()) x = static_cast<float>(stream.normal());
  }
  return all;
}

void tree(benchmark::State& state) {
  const auto partitions = static_cast<std::size_t>(state.range(0));
  auto received = gradients(partitions);
  for (auto _ : state) {
    for (std::size_t step = 1; step < partitions; step *= 2) {
      for (std::size_t i = 0; i + step < partitions; i += 2 * step) {
        math::add(received[i + step].span(), received[i].span());
      }
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(partitions * kChunk));
  state.counters["buffers"] = static_cast<double>((partitions + 1) / 2);
  state.counters["lost_bits"] = 0;
}

void grid(benchmark::State& state) {
  const auto partitions = static_cast<std::size_t>(state.range(0));
  auto received = gradients(partitions);
  AlignedBuffer<float> sum(kChunk);
  double lost = 0;
  for (auto _ : state) {
    float largest = 0;
    for (const auto& g : received) {
      for (std::size_t i = 0; i < kChunk; ++i) largest = std::max(largest, std::fabs(g[i]));
    }
    // Adding and subtracting 1.5 * 2^23 units rounds to whole units, to nearest even.
    const int unit = std::ilogb(largest * static_cast<float>(partitions)) + 1 - 24;
    const float round = std::ldexp(1.5F, 23 + unit);
    for (auto& g : received) {
      for (std::size_t i = 0; i < kChunk; ++i) g[i] = (g[i] + round) - round;
      math::add(g.span(), sum.span());
    }
    lost = 0;
    benchmark::ClobberMemory();
    state.PauseTiming();
    for (std::size_t i = 0; i < kChunk; ++i) {
      const float x = received[0][i];
      lost += x == 0 ? 24 : std::max(0, unit + 23 - std::ilogb(x));
    }
    std::fill(sum.span().begin(), sum.span().end(), 0.0F);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(partitions * kChunk));
  state.counters["buffers"] = 1;
  state.counters["lost_bits"] = lost / kChunk;
}

BENCHMARK(tree)->Arg(2)->Arg(4)->Arg(8)->Arg(16);
BENCHMARK(grid)->Arg(2)->Arg(4)->Arg(8)->Arg(16);

}  // namespace
