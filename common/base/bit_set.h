// A fixed number of bits, all clear at first. Used for sets of partitions. Not thread-safe.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace sheaf {

class BitSet {
 public:
  explicit BitSet(std::size_t bits = 0) : words_((bits + 63) / 64), bits_(bits) {}
  std::size_t size() const { return bits_; }
  bool test(std::size_t i) const { return (words_[i / 64] >> (i % 64)) & 1; }
  void set(std::size_t i) { words_[i / 64] |= std::uint64_t{1} << (i % 64); }
  void clear() { words_.assign(words_.size(), 0); }
  std::size_t count() const {
    std::size_t total = 0;
    for (const auto word : words_) total += static_cast<std::size_t>(std::popcount(word));
    return total;
  }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t bits_;
};

}  // namespace sheaf
