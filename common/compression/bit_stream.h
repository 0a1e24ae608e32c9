// Bits in a row: bit i of a stream is bit i % 8 of byte i / 8, and of a number the lowest goes
// first. Plain code; a reader never leaves its bytes, whatever they are.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace sheaf::compression {

// Writes to memory that its owner has measured, and no byte behind the last bit.
class BitWriter {
 public:
  explicit BitWriter(std::byte* to) : begin_(to), to_(to) {}

  // The lowest `count` bits; the others are 0. REQUIRES: count <= 32.
  void put(std::uint32_t value, unsigned count) {
    word_ |= std::uint64_t{value} << have_;
    have_ += count;
    if (have_ < 32) return;
    const auto low = static_cast<std::uint32_t>(word_);
    std::memcpy(to_, &low, sizeof low);
    to_ += sizeof low;
    word_ >>= 32;
    have_ -= 32;
  }
  void put_ones(std::uint64_t count) {
    for (; count >= 32; count -= 32) put(0xFFFFFFFF, 32);
    put((std::uint32_t{1} << count) - 1, static_cast<unsigned>(count));
  }
  // Fills the last byte up with zeros; returns how many bytes there are.
  std::size_t finish() {
    const std::size_t bytes = (have_ + 7) / 8;
    std::memcpy(to_, &word_, bytes);
    return static_cast<std::size_t>(to_ - begin_) + bytes;
  }

 private:
  std::byte* begin_;
  std::byte* to_;
  std::uint64_t word_ = 0;
  unsigned have_ = 0;  // bits in `word_`, fewer than 32 between calls
};

class BitReader {
 public:
  explicit BitReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  // Nothing if the stream is shorter. REQUIRES: count <= 32.
  std::optional<std::uint32_t> bits(unsigned count) {
    if (have_ < count) refill();
    if (have_ < count) return std::nullopt;
    const auto value = static_cast<std::uint32_t>(word_ & ((std::uint64_t{1} << count) - 1));
    skip(count);
    return value;
  }
  // How many ones come before the next zero, which is read, too; nothing if there is none.
  std::optional<std::uint64_t> ones() {
    std::uint64_t count = 0;
    while (true) {
      if (have_ <= 32) refill();
      if (have_ == 0) return std::nullopt;
      const auto run = static_cast<unsigned>(std::countr_one(word_));
      if (run < have_) {
        skip(run + 1);
        return count + run;
      }
      count += have_;
      skip(have_);
    }
  }
  // What is left is the padding of one byte.
  bool at_end() const { return at_ == bytes_.size() && have_ < 8 && word_ == 0; }

 private:
  void refill() {
    while (have_ <= 56 && at_ < bytes_.size()) {
      if (have_ <= 32 && bytes_.size() - at_ >= 4) {
        std::uint32_t next;
        std::memcpy(&next, &bytes_[at_], sizeof next);
        word_ |= std::uint64_t{next} << have_;
        have_ += 32;
        at_ += 4;
        continue;
      }
      word_ |= std::to_integer<std::uint64_t>(bytes_[at_++]) << have_;
      have_ += 8;
    }
  }
  void skip(unsigned count) {
    word_ = count < 64 ? word_ >> count : 0;
    have_ -= count;
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::uint64_t word_ = 0;  // zeros behind the bits that are there
  unsigned have_ = 0;
};

}  // namespace sheaf::compression
