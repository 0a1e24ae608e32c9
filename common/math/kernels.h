// Elementwise passes and reductions over floats, written once and compiled for several instruction
// sets; the best that the processor has is chosen at start. Every instruction set gives the same
// bits: the order of operations is fixed, nothing is contracted. `scalar::` holds the plain twin of
// each function, the reference of the tests. Spans of one call have equal sizes; thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace sheaf::math {

// "x86-64-v2", "x86-64-v3" (AVX2) or "x86-64-v4" (AVX-512).
std::string_view instruction_set();

void add(std::span<const float> x, std::span<float> y);    // y += x
void scale(float a, std::span<float> y);                   // y *= a
double sum_squares(std::span<const float> x);              // fp64, fixed order of 16 lanes
bool all_finite(std::span<const float> x);

// Rows: x is (rows x columns), row-major; bias has one value a column.
void add_bias(std::span<const float> bias, std::size_t rows, std::span<float> x);
void sum_rows(std::span<const float> x, std::size_t rows, std::span<float> sum);  // sum over rows

void relu(std::span<float> x);                                       // x = max(x, 0)
void relu_gradient(std::span<const float> y, std::span<float> dy);   // dy = y > 0 ? dy : 0
void sigmoid(std::span<float> x);                                    // x = 1 / (1 + e^-x)
void sigmoid_gradient(std::span<const float> y, std::span<float> dy);  // dy *= y (1 - y)
void tanh(std::span<float> x);
void tanh_gradient(std::span<const float> y, std::span<float> dy);     // dy *= 1 - y^2
void exp(std::span<float> x);  // own polynomial, not libm: the same bits on every machine

// The optimizers' inner loops. Formulas stand in server/optimizers/modes/.
struct SgdStep { float rate, decay; };
void sgd_step(const SgdStep& s, std::span<const float> in, std::span<const float> grad,
              std::span<float> out);
struct MomentumStep { float rate, decay, momentum; bool nesterov; };
void momentum_step(const MomentumStep& s, std::span<const float> in, std::span<const float> grad,
                   std::span<float> velocity, std::span<float> out);
struct AdamStep { float rate, decay, beta1, beta2, epsilon, correction1, correction2; };
void adam_step(const AdamStep& s, std::span<const float> in, std::span<const float> grad,
               std::span<float> m, std::span<float> v, std::span<float> out);

}  // namespace sheaf::math
