#include "common/base/buffer_pool.h"

#include <gmock/gmock.h>

#include <cstdint>
#include <vector>

#include "common/base/error.h"

namespace sheaf {
namespace {

TEST(BufferPoolTest, BuffersComeBackAndAreUsedAgain) {
  BufferPool pool(256, 4);
  for (int i = 0; i < 10; ++i) {
    const Buffer a = pool.take();
    const Buffer b = pool.take();
    EXPECT_NE(a.bytes().data(), b.bytes().data());
    EXPECT_EQ(a.bytes().size(), 256U);
  }
  EXPECT_EQ(pool.allocated(), 2U);
}

TEST(BufferPoolTest, MemoryStaysWithTheLastReference) {
  BufferPool pool(64, 1);
  Buffer first = pool.take();
  first.floats(16)[3] = 5;
  Buffer second = first;
  first = {};
  EXPECT_FALSE(first);
  EXPECT_EQ(second.floats(16)[3], 5);
  const Buffer third = std::move(second);
  EXPECT_FALSE(second);              // NOLINT: a moved-from Buffer is empty
  EXPECT_THROW(pool.take(), Error);  // third still holds it
}

TEST(BufferPoolTest, TheBoundIsAPromise) {
  BufferPool pool(64, 2);
  const std::vector<Buffer> held = {pool.take(), pool.take()};
  try {
    pool.take();
    FAIL() << "took a third buffer of two";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::internal);
    EXPECT_THAT(error.message(), testing::HasSubstr("2 buffers of 64 bytes"));
  }
}

TEST(BufferPoolTest, BuffersBeginOnACacheLine) {
  BufferPool pool(100, 3);
  for (const Buffer& buffer : {pool.take(), pool.take(), pool.take()}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.bytes().data()) % 64, 0U);
  }
}

}  // namespace
}  // namespace sheaf
