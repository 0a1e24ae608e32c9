#include "common/base/random.h"

#include <gmock/gmock.h>

#include <set>
#include <vector>

namespace sheaf {
namespace {

using testing::ElementsAre;

// The known answers of the Random123 library (kat_vectors), by the authors of Philox.
TEST(PhiloxTest, GivesTheKnownAnswersOfItsAuthors) {
  EXPECT_THAT(philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_THAT(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(  // digits of pi
      philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(StreamTest, IsItsBlocksOneAfterTheOther) {
  Stream stream(7, Purpose::test, 1, 2, 3);
  for (std::uint32_t block = 0; block < 5; ++block) {
    for (const std::uint32_t word : stream.block(block)) EXPECT_EQ(stream.next(), word);
  }
}

TEST(StreamTest, EveryPartOfItsNameCounts) {
  constexpr std::uint64_t kHigh = std::uint64_t{1} << 32;  // beyond 32 bits, too
  std::vector<Stream> streams = {
      Stream(1, Purpose::test, 2, 3, 4),         Stream(2, Purpose::test, 2, 3, 4),
      Stream(1 + kHigh, Purpose::test, 2, 3, 4), Stream(1, Purpose::dropout, 2, 3, 4),
      Stream(1, Purpose::test, 3, 3, 4),         Stream(1, Purpose::test, 2 + kHigh, 3, 4),
      Stream(1, Purpose::test, 2, 4, 4),         Stream(1, Purpose::test, 2, 3, 5),
      Stream(1, Purpose::test, 2, 3, 4 + kHigh)};
  std::set<std::uint64_t> firsts;
  for (Stream& stream : streams) {
    const std::uint64_t first = stream.next();
    firsts.insert(first << 32 | stream.next());
  }
  EXPECT_EQ(firsts.size(), streams.size());
  EXPECT_EQ(Stream(1, Purpose::test, 2, 3, 4).next(), Stream(1, Purpose::test, 2, 3, 4).next());
}

// Moments of the uniform distribution (1/2, 1/12) and of the normal one (0, 1, 0, 3), within five
// standard errors of n draws.
TEST(StreamTest, DrawsHaveTheirMoments) {
  constexpr int kDraws = 40000;
  Stream stream(3, Purpose::test);
  double uniform = 0;
  double uniform_square = 0;
  std::vector<double> normal(5);
  for (int i = 0; i < kDraws; ++i) {
    const float u = stream.uniform();
    EXPECT_TRUE(u >= 0 && u < 1);
    const double v = stream.uniform_double();
    EXPECT_TRUE(v >= 0 && v < 1);
    uniform += u;
    uniform_square += v * v;
    double power = 1;
    const double z = stream.normal();
    for (double& moment : normal) {
      moment += power / kDraws;
      power *= z;
    }
  }
  EXPECT_NEAR(uniform / kDraws, 0.5, 5 * 0.289 / 200);
  EXPECT_NEAR(uniform_square / kDraws, 1.0 / 3, 5 * 0.299 / 200);
  EXPECT_NEAR(normal[1], 0, 5.0 / 200);
  EXPECT_NEAR(normal[2], 1, 5 * 1.42 / 200);
  EXPECT_NEAR(normal[3], 0, 5 * 3.88 / 200);
  EXPECT_NEAR(normal[4], 3, 5 * 9.8 / 200);
}

TEST(PermutationTest, IsABijectionWithItsInverse) {
  for (const std::uint64_t size : {1U, 2U, 3U, 4U, 5U, 16U, 17U, 63U, 64U, 65U, 1000U, 4096U}) {
    const Permutation permutation(size, 11, Purpose::test, size);
    std::set<std::uint64_t> images;
    for (std::uint64_t i = 0; i < size; ++i) {
      const std::uint64_t image = permutation(i);
      EXPECT_LT(image, size);
      EXPECT_EQ(permutation.inverse(image), i);
      images.insert(image);
    }
    EXPECT_EQ(images.size(), size);
  }
}

TEST(PermutationTest, WorksFarBeyondWhatFitsInMemory) {
  constexpr std::uint64_t kSize = (std::uint64_t{1} << 60) - 3;
  const Permutation permutation(kSize, 11, Purpose::test);
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_LT(permutation(i), kSize);
    EXPECT_EQ(permutation.inverse(permutation(kSize - 1 - i)), kSize - 1 - i);
  }
}

TEST(PermutationTest, EveryPartOfItsNameCounts) {
  const auto images = [](const Permutation& permutation) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t i = 0; i < 50; ++i) all.push_back(permutation(i));
    return all;
  };
  const std::set<std::vector<std::uint64_t>> different = {
      images(Permutation(50, 1, Purpose::test, 2, 3)),
      images(Permutation(50, 9, Purpose::test, 2, 3)),
      images(Permutation(50, 1, Purpose::split, 2, 3)),
      images(Permutation(50, 1, Purpose::test, 9, 3)),
      images(Permutation(50, 1, Purpose::test, 2, 9))};
  EXPECT_EQ(different.size(), 5U);
}

}  // namespace
}  // namespace sheaf
