// The functions of kernels.h and secure_random.h over raw memory, compiled once per instruction
// set. A KernelSet is a constant of the program; calling one that the processor lacks is a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/math/kernels.h"

namespace sheaf::math {

inline constexpr int kActivations = 4;  // values of Activation

struct KernelSet {
  const char* name;  // as instruction_set() says it

  void (*add)(const float* x, float* y, std::size_t n);
  void (*sum)(const float* a, const float* b, float* y, std::size_t n);
  double (*sum_squares)(const float* x, std::size_t n);
  bool (*all_finite)(const float* x, std::size_t n);
  void (*exp)(const float* x, float* y, std::size_t n);
  double (*softmax)(const float* x, float* y, std::size_t n);  // y may be null

  // By activation.
  void (*activate[kActivations])(const float* x, float* y, std::size_t n);
  void (*activation_gradient[kActivations])(const float* y, const float* dy, float* dx,
                                            std::size_t n);
  void (*add_bias[kActivations])(const float* bias, std::size_t rows, std::size_t columns,
                                 float* x);
  void (*bias_gradient[kActivations])(const float* y, std::size_t rows, std::size_t columns,
                                      float* dy, float* sum);
  void (*weigh_rows)(const float* weights, std::size_t rows, std::size_t columns, float* x,
                     float* sum);  // sum may be null

  // Blocks `first`, `first` + 1, … of the Philox stream of this key and name; four words each.
  void (*random_words)(const std::uint32_t* key, const std::uint32_t* name, std::uint32_t first,
                       std::uint32_t* words, std::size_t blocks);
  void (*dropout)(std::uint32_t below, float factor, const std::uint32_t* words, const float* x,
                  float* y, std::size_t n);
  // Of secure_random.h: 16 blocks of ChaCha20, word by word; n normal deviates of n words.
  void (*chacha20)(const std::uint32_t* key, const std::uint32_t* nonce, std::uint32_t first,
                   std::uint32_t* words);
  bool (*normals)(const std::uint32_t* words, float* normals, std::size_t n);
  void (*bytes_to_unit)(const std::uint8_t* x, float* y, std::size_t n);
  void (*standardise_bytes)(const std::uint8_t* x, const float* mean, const float* scale, float* y,
                            std::size_t n);
  void (*standardise)(const float* x, const float* mean, const float* scale, float* y,
                      std::size_t n);

  bool (*sgd_step)(const SgdStep& s, const float* in, const float* grad, float* out, std::size_t n,
                   bool streamed);
  bool (*momentum_step)(const MomentumStep& s, const float* in, const float* grad, float* velocity,
                        float* out, std::size_t n, bool streamed);
  bool (*adam_step)(const AdamStep& s, const float* in, const float* grad, float* m, float* v,
                    float* out, std::size_t n, bool streamed);
};

extern const KernelSet kKernelsV2, kKernelsV3, kKernelsV4;
// The plain twin: one value at a time, in the words of kernels.h. Slow; the reference of the tests.
extern const KernelSet kScalarKernels;

// The sets that this processor can run, narrowest first; never empty.
std::span<const KernelSet* const> supported_kernels();

}  // namespace sheaf::math
