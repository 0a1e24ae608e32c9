// The reference that the vector code is held against: each function as its comment in kernels.h
// says it, one value after the other. Only e^x and its relatives are shared, in elementary.h, and
// the parts of a normal pair, in normal_pair.h.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "common/base/random.h"
#include "common/math/elementary.h"
#include "common/math/kernel_set.h"
#include "common/math/normal_pair.h"

namespace sheaf::math {
namespace {

using Size = std::size_t;

void add(const float* x, float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] = y[i] + x[i];
}

void sum(const float* a, const float* b, float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

// Value i belongs to lane i mod 16; lanes are added in a tree, lane j to lane j + half first.
double tree_sum(const double* lanes, Size half) {
  if (half == 0) return *lanes;
  double sums[16];
  for (Size j = 0; j < half; ++j) sums[j] = lanes[j] + lanes[j + half];
  return tree_sum(sums, half / 2);
}

double sum_squares(const float* x, Size n) {
  double lanes[16] = {};
  for (Size i = 0; i < n; ++i) lanes[i % 16] += static_cast<double>(x[i]) * x[i];
  return tree_sum(lanes, 8);
}

bool all_finite(const float* x, Size n) {
  for (Size i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return false;
  }
  return true;
}

void exp(const float* x, float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] = exp_of(x[i]);
}

double softmax(const float* x, float* y, Size n) {
  float largest = -std::numeric_limits<float>::infinity();
  for (Size i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  double lanes[16] = {};
  for (Size i = 0; i < n; ++i) lanes[i % 16] += exp_of(x[i] - largest);
  const double sum = tree_sum(lanes, 8);
  const auto inverse = static_cast<float>(1.0 / sum);
  for (Size i = 0; y != nullptr && i < n; ++i) y[i] = exp_of(x[i] - largest) * inverse;
  return log_of(sum) + static_cast<double>(largest);
}

float value(Activation f, float x) {
  switch (f) {
    case Activation::none: return x;
    case Activation::relu: return x < 0 ? 0 : x;
    case Activation::sigmoid: return sigmoid_of(x);
    case Activation::tanh: return tanh_of(x);
  }
  return x;
}

float gradient(Activation f, float y, float dy) {
  switch (f) {
    case Activation::none: return dy;
    case Activation::relu: return y > 0 ? dy : 0;
    case Activation::sigmoid: return dy * (y * (1 - y));
    case Activation::tanh: return dy * (1 - y * y);
  }
  return dy;
}

template <Activation f>
void activate(const float* x, float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] = value(f, x[i]);
}

template <Activation f>
void activation_gradient(const float* y, const float* dy, float* dx, Size n) {
  for (Size i = 0; i < n; ++i) dx[i] = gradient(f, y[i], dy[i]);
}

template <Activation f>
void add_bias(const float* bias, Size rows, Size columns, float* x) {
  for (Size i = 0; i < rows * columns; ++i) x[i] = value(f, x[i] + bias[i % columns]);
}

template <Activation f>
void bias_gradient(const float* y, Size rows, Size columns, float* dy, float* sum) {
  for (Size i = 0; i < rows * columns; ++i) dy[i] = gradient(f, y[i], dy[i]);
  for (Size c = 0; c < columns; ++c) {
    sum[c] = 0;
    for (Size r = 0; r < rows; ++r) sum[c] += dy[r * columns + c];
  }
}

void weigh_rows(const float* weights, Size rows, Size columns, float* x, float* sum) {
  for (Size i = 0; i < rows * columns; ++i) {
    x[i] = weights[i / columns] == 0 ? 0 : x[i] * weights[i / columns];
  }
  for (Size c = 0; sum != nullptr && c < columns; ++c) {
    sum[c] = 0;
    for (Size r = 0; r < rows; ++r) sum[c] += x[r * columns + c];
  }
}

void random_words(const std::uint32_t* key, const std::uint32_t* name, std::uint32_t first,
                  std::uint32_t* words, Size blocks) {
  for (Size i = 0; i < blocks; ++i) {
    const auto index = first + static_cast<std::uint32_t>(i);
    for (const std::uint32_t word : philox({index, name[0], name[1], name[2]}, {key[0], key[1]})) {
      *words++ = word;
    }
  }
}

void dropout(std::uint32_t below, float factor, const std::uint32_t* words, const float* x,
             float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] = x[i] * (words[i] < below ? 0 : factor);
}

void bytes_to_unit(const std::uint8_t* x, float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]) / 255;
}

template <typename T>
void standardise(const T* x, const float* mean, const float* scale, float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] = (static_cast<float>(x[i]) - mean[i]) * scale[i];
}

bool sgd_step(const SgdStep& s, const float* in, const float* grad, float* out, Size n, bool) {
  for (Size i = 0; i < n; ++i) {
    const float g = s.scale * grad[i] + s.decay * in[i];
    out[i] = in[i] - s.rate * g;
  }
  return all_finite(grad, n);
}

bool momentum_step(const MomentumStep& s, const float* in, const float* grad, float* velocity,
                   float* out, Size n, bool) {
  for (Size i = 0; i < n; ++i) {
    const float g = s.scale * grad[i] + s.decay * in[i];
    velocity[i] = s.momentum * velocity[i] + g;
    out[i] = in[i] - s.rate * (s.nesterov ? g + s.momentum * velocity[i] : velocity[i]);
  }
  return all_finite(grad, n);
}

bool adam_step(const AdamStep& s, const float* in, const float* grad, float* m, float* v,
               float* out, Size n, bool) {
  for (Size i = 0; i < n; ++i) {
    const float g = s.scale * grad[i] + s.decay * in[i];
    m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
    v[i] = s.beta2 * v[i] + (1 - s.beta2) * (g * g);
    const float direction = (m[i] / s.correction1) / (std::sqrt(v[i] / s.correction2) + s.epsilon);
    out[i] = in[i] - s.rate * (direction + s.decoupled * in[i]);
  }
  return all_finite(grad, n);
}

// RFC 8439, section 2.1: a quarter round on the words at these places.
void quarter_round(std::uint32_t* x, Size a, Size b, Size c, Size d) {
  x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 16);
  x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 12);
  x[a] += x[b], x[d] = std::rotl(x[d] ^ x[a], 8);
  x[c] += x[d], x[b] = std::rotl(x[b] ^ x[c], 7);
}

void chacha20(const std::uint32_t* key, const std::uint32_t* nonce, std::uint32_t first,
              std::uint32_t* words) {
  for (Size block = 0; block < 16; ++block) {
    std::uint32_t start[16] = {0x61707865, 0x3320646E, 0x79622D32, 0x6B206574};
    std::copy(key, key + 8, start + 4);
    start[12] = first + static_cast<std::uint32_t>(block);
    std::copy(nonce, nonce + 3, start + 13);
    std::uint32_t x[16];
    std::copy(start, start + 16, x);
    for (int round = 0; round < 20; ++round) {
      // Columns, and diagonals in every second one.
      const Size turn = round % 2 == 0 ? 0 : 1;
      for (Size j = 0; j < 4; ++j) {
        quarter_round(x, j, 4 + (j + turn) % 4, 8 + (j + 2 * turn) % 4, 12 + (j + 3 * turn) % 4);
      }
    }
    for (Size j = 0; j < 16; ++j) words[16 * j + block] = x[j] + start[j];
  }
}

bool normals(const std::uint32_t* words, float* normals, Size n) {
  bool rare = false;
  for (Size i = 0; i < n / 2; ++i) {
    const std::uint32_t a = words[i], b = words[n / 2 + i];
    const Direction2 direction = direction_of(b);
    normals[i] = radius_of(a, b) * direction.cosine;
    normals[n / 2 + i] = radius_of(a, b) * direction.sine;
    rare = rare || a < 256;
  }
  return rare;
}

using enum Activation;

}  // namespace

constinit const KernelSet kScalarKernels = {
    "scalar",
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

}  // namespace sheaf::math
