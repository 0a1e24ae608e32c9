// The loops behind kernels.h. Included by kernels_v2.cpp, _v3.cpp and _v4.cpp only, which compile
// it for one instruction set each and export the result of kernel_set().
//
// Everything here has internal linkage and calls nothing from the standard library: an inline
// function that two of these files share would be merged by the linker, and the program would run
// AVX-512 code on processors that have none. Loops are plain enough for the compiler to vectorise;
// reductions keep kLanes partial sums whose order is fixed here, not by the width of a register.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "common/math/elementary.h"
#include "common/math/kernel_set.h"
#include "common/math/random_impl.h"
#include "common/math/secure_random_impl.h"

namespace sheaf::math {
namespace {

constexpr std::size_t kLanes = 16;

template <typename T>
struct Lanes {
  T lane[kLanes];
};

// ((0+8)+(4+12)) + … : halves are added until one is left.
inline double sum_of(Lanes<double>& lanes) {
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t j = 0; j < half; ++j) lanes.lane[j] += lanes.lane[j + half];
  }
  return lanes.lane[0];
}

// The last n % kLanes values, filled up with `rest`.
inline Lanes<float> last_lanes(const float* x, std::size_t n, float rest) {
  Lanes<float> last;
  for (std::size_t j = 0; j < kLanes; ++j) last.lane[j] = j < n ? x[j] : rest;
  return last;
}

void add(const float* __restrict x, float* __restrict y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

void sum(const float* __restrict a, const float* __restrict b, float* __restrict y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

inline void add_squares(const float* x, Lanes<double>& sums) {
  for (std::size_t j = 0; j < kLanes; ++j) {
    const double value = x[j];
    sums.lane[j] += value * value;
  }
}

double sum_squares(const float* x, std::size_t n) {
  Lanes<double> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) add_squares(x + i, sums);
  const Lanes<float> last = last_lanes(x + i, n - i, 0.0F);
  add_squares(last.lane, sums);
  return sum_of(sums);
}

constexpr std::uint32_t kExponent = 0x7F800000U;  // all ones: infinite, or no number

inline std::uint32_t is_bad(float x) {
  return static_cast<std::uint32_t>((__builtin_bit_cast(std::uint32_t, x) & kExponent) ==
                                    kExponent);
}

// The same for a line of them, all ones for a bad one; kept in registers where an array is not.
using BitLine = std::uint32_t __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
inline void mark_bad(const float* x, BitLine& bad) {
  BitLine bits;
  __builtin_memcpy(&bits, x, sizeof bits);
  bad |= BitLine((bits & kExponent) == kExponent);
}

bool all_finite(const float* x, std::size_t n) {
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < n; ++i) bad |= is_bad(x[i]);
  return bad == 0;
}

// `ivdep`: y is x or apart from it, so no iteration reads what another one wrote.
void exp(const float* x, float* y, std::size_t n) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) y[i] = exp_of(x[i]);
}

inline void keep_larger(const float* x, Lanes<float>& largest) {
  for (std::size_t j = 0; j < kLanes; ++j) {
    largest.lane[j] = x[j] > largest.lane[j] ? x[j] : largest.lane[j];
  }
}

inline float largest_of(const float* x, std::size_t n) {
  Lanes<float> largest = last_lanes(x, 0, -__builtin_inff());
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) keep_larger(x + i, largest);
  const Lanes<float> last = last_lanes(x + i, n - i, -__builtin_inff());
  keep_larger(last.lane, largest);
  float result = largest.lane[0];
  for (std::size_t j = 1; j < kLanes; ++j) {
    result = largest.lane[j] > result ? largest.lane[j] : result;
  }
  return result;
}

inline Lanes<float> add_exponentials(const float* x, float shift, Lanes<double>& sums) {
  Lanes<float> e;
  for (std::size_t j = 0; j < kLanes; ++j) e.lane[j] = exp_of(x[j] - shift);
  for (std::size_t j = 0; j < kLanes; ++j) sums.lane[j] += e.lane[j];
  return e;
}

double softmax(const float* x, float* y, std::size_t n) {
  const float shift = largest_of(x, n);
  Lanes<double> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes<float> e = add_exponentials(x + i, shift, sums);
    if (y != nullptr) __builtin_memcpy(y + i, e.lane, sizeof e.lane);
  }
  const Lanes<float> last = last_lanes(x + i, n - i, -__builtin_inff());
  const Lanes<float> e = add_exponentials(last.lane, shift, sums);
  const double sum = sum_of(sums);
  if (y != nullptr) {
    for (std::size_t j = i; j < n; ++j) y[j] = e.lane[j - i];
    const auto share = static_cast<float>(1.0 / sum);
    for (std::size_t j = 0; j < n; ++j) y[j] *= share;
  }
  return log_of(sum) + static_cast<double>(shift);
}

template <Activation f>
inline float value(float x) {
  if constexpr (f == Activation::relu) return x < 0.0F ? 0.0F : x;
  if constexpr (f == Activation::sigmoid) return sigmoid_of(x);
  if constexpr (f == Activation::tanh) return tanh_of(x);
  return x;
}

template <Activation f>
inline float gradient(float y, float dy) {
  if constexpr (f == Activation::relu) return y > 0.0F ? dy : 0.0F;
  if constexpr (f == Activation::sigmoid) return dy * (y * (1.0F - y));
  if constexpr (f == Activation::tanh) return dy * (1.0F - y * y);
  return dy;
}

template <Activation f>
void activate(const float* x, float* y, std::size_t n) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) y[i] = value<f>(x[i]);
}

template <Activation f>
void activation_gradient(const float* y, const float* dy, float* dx, std::size_t n) {
#pragma GCC ivdep
  for (std::size_t i = 0; i < n; ++i) dx[i] = gradient<f>(y[i], dy[i]);
}

template <Activation f>
void add_bias(const float* __restrict bias, std::size_t rows, std::size_t columns,
              float* __restrict x) {
  for (std::size_t r = 0; r < rows; ++r, x += columns) {
    for (std::size_t c = 0; c < columns; ++c) x[c] = value<f>(x[c] + bias[c]);
  }
}

template <Activation f>
void bias_gradient(const float* __restrict y, std::size_t rows, std::size_t columns,
                   float* __restrict dy, float* __restrict sum) {
  for (std::size_t c = 0; c < columns; ++c) sum[c] = 0.0F;
  for (std::size_t r = 0; r < rows; ++r, y += columns, dy += columns) {
    for (std::size_t c = 0; c < columns; ++c) {
      const float d = gradient<f>(y[c], dy[c]);
      if constexpr (f != Activation::none) dy[c] = d;
      sum[c] += d;
    }
  }
}

void weigh_rows(const float* __restrict weights, std::size_t rows, std::size_t columns,
                float* __restrict x, float* __restrict sum) {
  for (std::size_t c = 0; sum != nullptr && c < columns; ++c) sum[c] = 0.0F;
  for (std::size_t r = 0; r < rows; ++r, x += columns) {
    const float weight = weights[r];
    if (weight == 0.0F) {
      for (std::size_t c = 0; c < columns; ++c) x[c] = 0.0F;
      continue;
    }
    for (std::size_t c = 0; c < columns; ++c) x[c] *= weight;
    for (std::size_t c = 0; sum != nullptr && c < columns; ++c) sum[c] += x[c];
  }
}

void bytes_to_unit(const std::uint8_t* __restrict x, float* __restrict y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]) / 255.0F;
}

template <typename T>
void standardise(const T* __restrict x, const float* __restrict mean, const float* __restrict scale,
                 float* __restrict y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = (static_cast<float>(x[i]) - mean[i]) * scale[i];
}

// ---- the optimizers' passes

// A line of values to where a line begins, past the caches.
inline void stream_line(const float* values, float* out) {
#if defined(__AVX512F__)
  // _mm512_stream_ps, but in the order of the program: the compiler would mix the lines.
  __asm__ volatile("vmovntps %1, %0"
                   : "=m"(*reinterpret_cast<__m512*>(out))
                   : "v"(_mm512_loadu_ps(values)));
#elif defined(__AVX__)
  for (std::size_t j = 0; j < kLanes; j += 8) {
    _mm256_stream_ps(out + j, _mm256_loadu_ps(values + j));
  }
#else
  for (std::size_t j = 0; j < kLanes; j += 4) {
    _mm_stream_ps(out + j, _mm_loadu_ps(values + j));
  }
#endif
}

// out[i] = next(i), and next() changes state of parameter i alone; whether all of grad is finite.
// One pass over memory: a look at grad of its own would halve what is under way at a time.
template <typename Next>
inline bool step_pass(const float* grad, float* out, std::size_t n, bool streamed, Next next) {
  std::uint32_t bad = 0;
  if (!streamed) {
#pragma GCC ivdep
    for (std::size_t i = 0; i < n; ++i) {
      bad |= is_bad(grad[i]);
      out[i] = next(i);
    }
    return bad == 0;
  }
  std::size_t i = 0;
  for (; i < n && reinterpret_cast<std::uintptr_t>(out + i) % sizeof(Lanes<float>) != 0; ++i) {
    bad |= is_bad(grad[i]);
    out[i] = next(i);
  }
  // Several lines at a time: reads and stores that alternate line by line are slower.
  constexpr std::size_t kBurst = 4 * kLanes;
  BitLine bad_lanes{};
  for (; i + kBurst <= n; i += kBurst) {
    float burst[kBurst];
    for (std::size_t j = 0; j < kBurst; j += kLanes) mark_bad(grad + i + j, bad_lanes);
#pragma GCC ivdep
    for (std::size_t j = 0; j < kBurst; ++j) burst[j] = next(i + j);
    for (std::size_t j = 0; j < kBurst; j += kLanes) stream_line(burst + j, out + i + j);
  }
  for (std::size_t j = 0; j < kLanes; ++j) bad |= bad_lanes[j];
  for (; i < n; ++i) {
    bad |= is_bad(grad[i]);
    out[i] = next(i);
  }
  _mm_sfence();  // what is streamed is not ordered by the store that will announce it
  return bad == 0;
}

bool sgd_step(const SgdStep& s, const float* in, const float* grad, float* out, std::size_t n,
              bool streamed) {
  const auto [scale, rate, decay] = s;
  return step_pass(grad, out, n, streamed,
                   [=](std::size_t i) { return in[i] - rate * (scale * grad[i] + decay * in[i]); });
}

template <bool nesterov>
bool momentum_pass(const MomentumStep& s, const float* in, const float* grad, float* velocity,
                   float* out, std::size_t n, bool streamed) {
  const float scale = s.scale, rate = s.rate, decay = s.decay, momentum = s.momentum;
  return step_pass(grad, out, n, streamed, [=](std::size_t i) {
    const float g = scale * grad[i] + decay * in[i];
    const float v = momentum * velocity[i] + g;
    velocity[i] = v;
    return in[i] - rate * (nesterov ? g + momentum * v : v);
  });
}

bool momentum_step(const MomentumStep& s, const float* in, const float* grad, float* velocity,
                   float* out, std::size_t n, bool streamed) {
  const auto pass = s.nesterov ? &momentum_pass<true> : &momentum_pass<false>;
  return pass(s, in, grad, velocity, out, n, streamed);
}

bool adam_step(const AdamStep& s, const float* in, const float* grad, float* m, float* v,
               float* out, std::size_t n, bool streamed) {
  const auto [scale, rate, decay, decoupled, beta1, beta2, epsilon, correction1, correction2] = s;
  return step_pass(grad, out, n, streamed, [=](std::size_t i) {
    const float g = scale * grad[i] + decay * in[i];
    const float first = beta1 * m[i] + (1.0F - beta1) * g;
    const float second = beta2 * v[i] + (1.0F - beta2) * (g * g);
    m[i] = first;
    v[i] = second;
    const float root = __builtin_sqrtf(second / correction2);
    return in[i] - rate * ((first / correction1) / (root + epsilon) + decoupled * in[i]);
  });
}

// What the compiler was told, not what the file is called: a flag that got lost shows.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
constexpr const char* kInstructionSet = "x86-64-v4";
#elif defined(__AVX2__) && defined(__FMA__) && defined(__BMI2__)
constexpr const char* kInstructionSet = "x86-64-v3";
#else
constexpr const char* kInstructionSet = "x86-64-v2";
#endif

constexpr KernelSet kernel_set() {
  using enum Activation;
  return {
      kInstructionSet,
      &add,
      &sum,
      &sum_squares,
      &all_finite,
      &exp,
      &softmax,
      {&activate<none>, &activate<relu>, &activate<sigmoid>, &activate<tanh>},
      {&activation_gradient<none>, &activation_gradient<relu>, &activation_gradient<sigmoid>,
       &activation_gradient<tanh>},
      {&add_bias<none>, &add_bias<relu>, &add_bias<sigmoid>, &add_bias<tanh>},
      {&bias_gradient<none>, &bias_gradient<relu>, &bias_gradient<sigmoid>, &bias_gradient<tanh>},
      &weigh_rows,
      &random_words,
      &dropout,
      &chacha20,
      &normals,
      &bytes_to_unit,
      &standardise<std::uint8_t>,
      &standardise<float>,
      &sgd_step,
      &momentum_step,
      &adam_step};
}

}  // namespace
}  // namespace sheaf::math
