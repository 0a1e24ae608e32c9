// The noise of private training, against what it cannot be faster than. Counters: `Gvalues` =
// deviates a second; `of_floor` = floor time / own time. The floor of normal noise is its random
// bits, 4 bytes of ChaCha20 each; that of ChaCha20 and of an input's tag is a pass over as much
// memory.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/math/secure_random.h"
#include "common/privacy/noise/discrete_gaussian.h"
#include "common/privacy/noise/noise_key.h"
#include "common/privacy/noise/normal_noise.h"

namespace {

using namespace sheaf;

constexpr std::size_t kValues = 64U << 10;  // of a chunk of 256 KiB
constexpr math::ChachaKey kKey = {1, 2, 3, 4, 5, 6, 7, 8};

template <typename Body>
double seconds_of(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <typename Body>
double best_of(const Body& body) {
  double best = 1e9;
  for (int i = 0; i < 50; ++i) best = std::min(best, seconds_of(body));
  return best;
}

template <typename Body>
void hold_against(benchmark::State& state, double floor, double values, const Body& body) {
  double best = 1e9;
  for (auto _ : state) best = std::min(best, seconds_of(body));
  state.counters["Gvalues"] = values / best * 1e-9;
  state.counters["GB_per_s"] = 4 * values / best * 1e-9;
  state.counters["of_floor"] = floor / best;
}

void make_key_stream(std::span<std::uint32_t> words) {
  for (std::size_t i = 0; i < words.size(); i += math::kChachaWords) {
    math::chacha20(kKey, {}, static_cast<std::uint32_t>(i / 16),
                   words.subspan(i).first<math::kChachaWords>());
  }
  benchmark::ClobberMemory();
}

double write_floor(std::span<std::uint32_t> words) {
  return best_of([&] {
    std::memset(words.data(), 7, words.size_bytes());
    benchmark::ClobberMemory();
  });
}

void chacha20(benchmark::State& state) {
  AlignedBuffer<std::uint32_t> words(kValues);
  hold_against(state, write_floor(words.span()), kValues, [&] { make_key_stream(words.span()); });
}
BENCHMARK(chacha20);

void normal_noise(benchmark::State& state) {
  AlignedBuffer<std::uint32_t> words(kValues);
  const double floor = best_of([&] { make_key_stream(words.span()); });
  AlignedBuffer<float> values(kValues);
  hold_against(state, floor, kValues, [&] {
    privacy::NormalNoise(kKey).add(1e-3F, values.span());
    benchmark::ClobberMemory();
  });
}
BENCHMARK(normal_noise);

// Key, tag and noise of a chunk: what a mechanism does.
void keyed_noise(benchmark::State& state) {
  AlignedBuffer<std::uint32_t> words(kValues);
  const double floor = best_of([&] { make_key_stream(words.span()); });
  const privacy::NoiseSecret secret(wire::random_bytes());
  AlignedBuffer<float> values(kValues);
  hold_against(state, floor, kValues, [&] {
    const auto key = secret.key({}, std::as_bytes(values.span()));
    privacy::NormalNoise(key).add(1e-3F, values.span());
    benchmark::ClobberMemory();
  });
}
BENCHMARK(keyed_noise);

void input_tag(benchmark::State& state) {
  AlignedBuffer<std::uint32_t> words(kValues);
  const privacy::InputTag tag{wire::JobKey()};
  hold_against(state, write_floor(words.span()), kValues,
               [&] { benchmark::DoNotOptimize(tag.of(std::as_bytes(words.span()))); });
}
BENCHMARK(input_tag);

void discrete_gaussian(benchmark::State& state) {
  AlignedBuffer<std::uint32_t> words(kValues);
  const double floor = best_of([&] { make_key_stream(words.span()); }) / kValues * 1000;
  privacy::DiscreteGaussian draws(1'000'000, 1, kKey);
  hold_against(state, floor, 1000, [&] {
    for (int i = 0; i < 1000; ++i) benchmark::DoNotOptimize(draws.next());
  });
}
BENCHMARK(discrete_gaussian);

}  // namespace
