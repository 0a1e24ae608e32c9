#include "common/net/shared_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"

namespace sheaf::net {
namespace {

using Access = SharedMemory::Access;

TEST(SharedMemoryTest, AnotherMappingSeesWhatWasWritten) {
  const SharedMemory mine = SharedMemory::create("test", 8192);
  EXPECT_EQ(mine.bytes().size(), 8192U);
  EXPECT_EQ(mine.floats()[2047], 0.0F);  // all zero at first
  mine.floats()[2047] = 3;
  const SharedMemory theirs = SharedMemory::map(mine.descriptor().duplicate(), 8192, Access::read);
  EXPECT_NE(theirs.bytes().data(), mine.bytes().data());
  EXPECT_EQ(theirs.floats()[2047], 3.0F);
}

TEST(SharedMemoryTest, LivesAsLongAsAMappingOfIt) {
  SharedMemory theirs;
  {
    const SharedMemory mine = SharedMemory::create("test", 4096);
    mine.floats()[0] = 5;
    theirs = SharedMemory::map(mine.descriptor().duplicate(), 4096, Access::read);
  }
  EXPECT_EQ(theirs.floats()[0], 5.0F);
}

TEST(SharedMemoryTest, AReaderCannotWrite) {
  const SharedMemory mine = SharedMemory::create("test", 4096);
  const SharedMemory theirs = SharedMemory::map(mine.descriptor().duplicate(), 4096, Access::read);
  const pid_t child = ::fork();
  if (child == 0) {
    theirs.floats()[0] = 1;  // ends this process
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_NE(status, 0);
  EXPECT_EQ(mine.floats()[0], 0.0F);
}

// Nobody can pull the memory from under its readers.
TEST(SharedMemoryTest, ItsSizeIsSealed) {
  const SharedMemory mine = SharedMemory::create("test", 8192);
  EXPECT_NE(::ftruncate(mine.descriptor().get(), 4096), 0);
  EXPECT_NE(::ftruncate(mine.descriptor().get(), 16384), 0);
}

TEST(SharedMemoryTest, AnotherSizeOrAnUnsealedFileIsRefused) {
  const SharedMemory mine = SharedMemory::create("test", 8192);
  EXPECT_THROW(SharedMemory::map(mine.descriptor().duplicate(), 4096, Access::read), Error);
  Descriptor open(::memfd_create("open", MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(open.get(), 4096), 0);
  EXPECT_THROW(SharedMemory::map(std::move(open), 4096, Access::read), Error);
}

TEST(SharedMemoryTest, MoreThanThereIsIsAnErrorAtOnce) {
  try {
    SharedMemory::create("test", std::size_t{1} << 62);
    FAIL() << "reserved";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("reserving"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace sheaf::net
