// Elementwise passes and reductions over floats, written once and compiled for several instruction
// sets; the best that the processor has is chosen at start. Every instruction set gives the same
// bits: the order of operations is fixed, nothing is contracted (which NaN comes out of several is
// the one thing left open). scalar_kernels.cpp holds the plain twin of each, the reference of the
// tests. Inputs and outputs of one call do not overlap unless said; sizes are equal unless said.
// Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace sheaf {
class Stream;
}

namespace sheaf::math {

// "x86-64-v2", "x86-64-v3" (AVX2) or "x86-64-v4" (AVX-512).
std::string_view instruction_set();

void add(std::span<const float> x, std::span<float> y);                            // y += x
void sum(std::span<const float> a, std::span<const float> b, std::span<float> y);  // y = a + b
double sum_squares(std::span<const float> x);  // fp64, fixed order of 16 lanes
bool all_finite(std::span<const float> x);

// y = e^x; y may be x. Own polynomial, not libm: the same bits on every machine. Below 2 ulp over
// the whole range, subnormal results included; overflow gives infinity, NaN stays NaN.
void exp(std::span<const float> x, std::span<float> y);

// y = e^x / s with s the sum of e^x (fp64, 16 lanes); y may be x, or empty if only s is wanted.
// Returns log s. Shifted by the largest x, so that nothing overflows. REQUIRES: x is not empty.
double softmax(std::span<const float> x, std::span<float> y);

// relu max(x, 0), sigmoid 1 / (1 + e^-x), tanh; each keeps NaN. Sigmoid and tanh below 3 ulp.
enum class Activation { none, relu, sigmoid, tanh };

// y = f(x); y may be x.
void activate(Activation f, std::span<const float> x, std::span<float> y);
// dx = dy f'(x), written in terms of y = f(x); dx may be dy.
void activation_gradient(Activation f, std::span<const float> y, std::span<const float> dy,
                         std::span<float> dx);

// Rows: x, y and dy are (rows x columns), row-major; bias and sum have one value a column.
// x = f(x + bias), the pass behind a GEMM.
void add_bias(Activation f, std::span<const float> bias, std::size_t rows, std::span<float> x);
// dy = dy f'(x), in terms of y = f(x); sum = dy summed over the rows, from the first to the last.
void bias_gradient(Activation f, std::span<const float> y, std::size_t rows, std::span<float> dy,
                   std::span<float> sum);

// x (rows x columns): each row times its weight, 0 where that is 0, whatever x is; sum = x summed
// over the rows, from the first to the last, unless it is empty. REQUIRES: a row at least.
void weigh_rows(std::span<const float> weights, std::span<float> x, std::span<float> sum);

// words[4 i + j] = word j of block first + i of the stream. REQUIRES: whole blocks.
void random_words(const Stream& stream, std::uint32_t first, std::span<std::uint32_t> words);
// y = x * (word < below ? 0 : factor); y may be x.
struct Dropout {
  std::uint32_t below;
  float factor;
};
void dropout(const Dropout& d, std::span<const std::uint32_t> words, std::span<const float> x,
             std::span<float> y);

// Inputs of a model: y = x / 255, and y = (x - mean) * scale with one of each per value.
void bytes_to_unit(std::span<const std::uint8_t> x, std::span<float> y);
void standardise(std::span<const std::uint8_t> x, std::span<const float> mean,
                 std::span<const float> scale, std::span<float> y);
void standardise(std::span<const float> x, std::span<const float> mean,
                 std::span<const float> scale, std::span<float> y);

// The optimizers' inner loops. Each reads what was summed and scales it first, so that the sum
// itself is never written: it may lie in memory of another process. Returns whether `grad` is
// finite: if it is not, `out` and the state are of no use. `streamed`: `out` is written past the
// caches, for a vector so large that nobody would find it there; the same bits.
//   sgd       g = scale grad + decay in;  out = in - rate g
struct SgdStep {
  float scale, rate, decay;
};
bool sgd_step(const SgdStep& s, std::span<const float> in, std::span<const float> grad,
              std::span<float> out, bool streamed = false);
//   momentum  g = scale grad + decay in;  v = momentum v + g
//             out = in - rate (nesterov ? g + momentum v : v)
struct MomentumStep {
  float scale, rate, decay, momentum;
  bool nesterov;
};
bool momentum_step(const MomentumStep& s, std::span<const float> in, std::span<const float> grad,
                   std::span<float> velocity, std::span<float> out, bool streamed = false);
//   adam      g = scale grad + decay in
//             m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//             out = in - rate ((m / correction1) / (sqrt(v / correction2) + epsilon) + decoupled
//             in)
//   with correction1 = 1 - beta1^t, correction2 = 1 - beta2^t at step t = 1, 2, …
//   `decoupled` decays apart from the moments (Loshchilov and Hutter 2019, "AdamW").
struct AdamStep {
  float scale, rate, decay, decoupled, beta1, beta2, epsilon, correction1, correction2;
};
bool adam_step(const AdamStep& s, std::span<const float> in, std::span<const float> grad,
               std::span<float> m, std::span<float> v, std::span<float> out, bool streamed = false);

}  // namespace sheaf::math
