// The cut is held against a sort of all magnitudes.
#include "common/compression/selection.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "common/base/random.h"

namespace sheaf::compression {
namespace {

// Positions of the `count` largest, ties by position, zeros left out; ascending.
std::vector<std::size_t> sorted_selection(std::span<const float> x, std::size_t count) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(), [&](std::size_t i) { return std::abs(x[i]); });
  order.resize(std::min(count, order.size()));
  std::erase_if(order, [&](std::size_t i) { return x[i] == 0; });
  std::ranges::sort(order);
  return order;
}

std::vector<std::size_t> selection(std::span<const float> x, std::size_t count) {
  std::vector<std::size_t> found;
  each_selected(x, cut_of_largest(x, count), [&](std::size_t i) { found.push_back(i); });
  return found;
}

// What a radix selection may trip over: digits that all values share, steps at the edges of digits,
// samples that mislead, and more ties than there is room for.
std::vector<std::vector<float>> vectors_of(std::size_t size) {
  Stream stream(29, Purpose::test, size);
  std::vector<std::vector<float>> all(9, std::vector<float>(size));
  for (std::size_t i = 0; i < size; ++i) {
    const auto normal = static_cast<float>(stream.normal());
    all[0][i] = normal;
    all[1][i] = std::copysign(0.75F, normal);                          // all equal
    all[2][i] = static_cast<float>(stream.next() % 3) - 1;             // three values
    all[3][i] = 1 + static_cast<float>(stream.next() % 5) * 0x1p-23F;  // the last digit decides
    all[4][i] = std::ldexp(1.0F, -static_cast<int>(stream.next() % 100));
    all[5][i] = i % 272 < 16 ? normal * 1e3F : normal;  // where the sample looks
    all[6][i] = i % 272 < 16 ? normal * 1e-3F : normal;
    all[7][i] = stream.next() % 500 == 0 ? normal : 0;
    all[8][i] = static_cast<float>(i) * 1e-42F;  // subnormal, ascending
  }
  return all;
}

TEST(Selection, TheLargestAreThoseOfASort) {
  for (const std::size_t size : {1U, 2U, 15U, 64U, 1000U, 2049U, 50'000U}) {
    for (const auto& x : vectors_of(size)) {
      for (const std::size_t count :
           {std::size_t{1}, size / 1000 + 1, size / 100 + 1, size / 10 + 1, size / 2 + 1, size}) {
        ASSERT_EQ(selection(x, count), sorted_selection(x, count)) << size << " " << count;
      }
    }
  }
}

TEST(Selection, WhatIsNoNumberIsTheLargest) {
  std::vector<float> x(1000, 1e30F);
  x[700] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(selection(x, 1), testing::ElementsAre(700));
}

}  // namespace
}  // namespace sheaf::compression
