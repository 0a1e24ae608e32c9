#include "common/base/bit_set.h"

#include <gmock/gmock.h>

#include <set>

#include "common/base/random.h"

namespace sheaf {
namespace {

// Against std::set, for sizes around the borders of words.
TEST(BitSetTest, BehavesLikeASet) {
  for (const std::size_t size : {1U, 63U, 64U, 65U, 128U, 200U}) {
    BitSet bits(size);
    std::set<std::size_t> reference;
    Stream stream(1, Purpose::test, size);
    for (int i = 0; i < 100; ++i) {
      const std::size_t bit = stream.next() % size;
      bits.set(bit);
      reference.insert(bit);
      EXPECT_EQ(bits.count(), reference.size());
    }
    for (std::size_t i = 0; i < size; ++i) EXPECT_EQ(bits.test(i), reference.contains(i));
    bits.clear();
    EXPECT_EQ(bits.count(), 0U);
    EXPECT_EQ(bits.size(), size);
  }
}

}  // namespace
}  // namespace sheaf
