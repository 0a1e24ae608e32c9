// Counter-based random streams: a stream is named by what it is for, never by process or time.
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). Block i of a
// stream is a pure function of (seed, purpose, a, b, c, i), so any process can draw any part of it.
// Never a source of secrets: privacy noise and sampling have streams of their own.
#pragma once

#include <array>
#include <cstdint>

namespace sheaf {

enum class Purpose : std::uint32_t {
  initialise = 1,  // a: tensor
  split = 2,       // which example goes to which part and partition
  shuffle = 3,     // a: epoch, b: partition
  dropout = 4,     // a: step, b: partition, c: layer
  synthetic = 5,   // a: row
  rounding = 6,    // of what is encoded; a: step or version, b: partition, c: chunk
  selection = 7,   // of what is sent; the same
  test = 1000,
};

// Ten rounds of Philox4x32 on one counter block.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

class Stream {
 public:
  Stream(std::uint64_t seed, Purpose purpose, std::uint64_t a = 0, std::uint32_t b = 0,
         std::uint64_t c = 0);

  std::uint32_t next();     // 32 random bits
  float uniform();          // [0, 1), 24 bits
  double uniform_double();  // [0, 1), 53 bits
  double normal();          // mean 0, variance 1 (Box-Muller)

  // The four words of block `index`; does not move the stream. Many at once: math::random_words.
  std::array<std::uint32_t, 4> block(std::uint32_t index) const;
  // Block i is philox({i, name}, key).
  const std::array<std::uint32_t, 2>& key() const { return key_; }
  const std::array<std::uint32_t, 3>& name() const { return name_; }

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 3> name_;
  std::uint32_t index_ = 0;
  std::uint32_t used_ = 4;
  std::array<std::uint32_t, 4> words_{};
};

// A keyed permutation of [0, size) that needs no table: forward and inverse in O(1).
// A balanced Feistel network over the next even number of bits, walked until it lands inside.
class Permutation {
 public:
  Permutation(std::uint64_t size, std::uint64_t seed, Purpose purpose, std::uint64_t a = 0,
              std::uint32_t b = 0, std::uint64_t c = 0);
  std::uint64_t size() const { return size_; }
  std::uint64_t operator()(std::uint64_t index) const;  // REQUIRES: index < size
  std::uint64_t inverse(std::uint64_t index) const;     // REQUIRES: index < size

 private:
  static constexpr int kRounds = 6;
  std::uint32_t mix(int round, std::uint32_t half) const;
  std::uint64_t size_;
  std::uint32_t half_bits_ = 1;
  std::uint32_t half_mask_ = 1;
  std::array<std::uint64_t, kRounds> keys_{};
};

}  // namespace sheaf
