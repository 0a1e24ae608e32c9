#include "launcher/system/scratch_folder.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include "common/base/error.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using testing::HasSubstr;

// TMPDIR as long as a test lasts.
class ScratchFolderTest : public testing::Test {
 protected:
  ScratchFolderTest() {
    if (const char* value = std::getenv("TMPDIR")) before_ = value;
  }
  ~ScratchFolderTest() override {
    if (before_) {
      ::setenv("TMPDIR", before_->c_str(), 1);
    } else {
      ::unsetenv("TMPDIR");
    }
  }
  TemporaryFolder folder_;

 private:
  std::optional<std::string> before_;
};

TEST_F(ScratchFolderTest, IsGoneWithAllThatIsInIt) {
  ::setenv("TMPDIR", folder_.path().c_str(), 1);
  std::filesystem::path path;
  {
    const ScratchFolder scratch;
    path = scratch.path();
    EXPECT_EQ(path.parent_path(), folder_.path());
    std::filesystem::create_directories(path / "session" / "0");
    std::ofstream(path / "session" / "contact.txt") << "x";
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(ScratchFolderTest, APlaceThatIsNotThereIsNamed) {
  ::setenv("TMPDIR", (folder_.path() / "missing").c_str(), 1);
  try {
    const ScratchFolder scratch;
    FAIL() << scratch.path();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_THAT(error.message(), HasSubstr("missing"));
    EXPECT_THAT(error.message(), HasSubstr("TMPDIR"));
  }
}

}  // namespace
}  // namespace sheaf::launcher
