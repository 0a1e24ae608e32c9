// One job at a time uses a run directory.
#include "launcher/run/run_lock.h"

#include <gmock/gmock.h>

#include "common/base/error.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

TEST(RunLock, IsHeldByOneAtATime) {
  const TemporaryFolder folder;
  EXPECT_FALSE(RunLock::is_held(folder.path()));
  {
    const RunLock lock(folder.path());
    EXPECT_TRUE(RunLock::is_held(folder.path()));
    try {
      const RunLock second(folder.path());
      FAIL() << "two jobs in one directory";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      EXPECT_THAT(error.message(), testing::HasSubstr("is in use by another sheaf"));
    }
  }
  EXPECT_FALSE(RunLock::is_held(folder.path()));
  EXPECT_NO_THROW(RunLock{folder.path()});
}

}  // namespace
}  // namespace sheaf::launcher
