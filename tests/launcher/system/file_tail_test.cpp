#include "launcher/system/file_tail.h"

#include <gmock/gmock.h>

#include <fstream>

#include "common/base/error.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class FileTailTest : public testing::Test {
 protected:
  void append(const std::string& text) { std::ofstream(file_, std::ios::app) << text; }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "output";
};

TEST_F(FileTailTest, AFileThatIsNotThereYetHasNoLines) {
  FileTail tail(file_);
  EXPECT_THAT(tail.read_lines(), IsEmpty());
  append("here\n");
  EXPECT_THAT(tail.read_lines(), ElementsAre("here"));
}

TEST_F(FileTailTest, EachLineComesOnce) {
  append("one\ntwo\n");
  FileTail tail(file_);
  EXPECT_THAT(tail.read_lines(), ElementsAre("one", "two"));
  EXPECT_THAT(tail.read_lines(), IsEmpty());
  append("\nthree\n");
  EXPECT_THAT(tail.read_lines(), ElementsAre("", "three"));
}

TEST_F(FileTailTest, ALineWaitsForItsEnd) {
  FileTail tail(file_);
  append("first\nhal");
  EXPECT_THAT(tail.read_lines(), ElementsAre("first"));
  EXPECT_EQ(tail.unfinished(), "hal");
  append("f");
  EXPECT_THAT(tail.read_lines(), IsEmpty());
  append(" a line\nlast words");
  EXPECT_THAT(tail.read_lines(), ElementsAre("half a line"));
  EXPECT_EQ(tail.unfinished(), "last words");
}

TEST_F(FileTailTest, ALineThatIsTooLongIsCutAndTheNextIsWhole) {
  FileTail tail(file_, 8);
  append("exactly8\n123456789 and more");
  EXPECT_THAT(tail.read_lines(), ElementsAre("exactly8", "12345678 [line cut]"));
  append(" of it, still the same line");
  EXPECT_THAT(tail.read_lines(), IsEmpty());
  EXPECT_EQ(tail.unfinished(), "");
  append("\nnext\n");
  EXPECT_THAT(tail.read_lines(), ElementsAre("next"));
}

TEST_F(FileTailTest, ABurstIsReadInPortions) {
  const std::size_t lines = 300'000;
  std::string burst;
  for (std::size_t i = 0; i < lines; ++i) burst += "line " + std::to_string(i) + "\n";
  append(burst);
  FileTail tail(file_);
  std::size_t next = 0;
  std::size_t portions = 0;
  while (next < lines) {
    const auto portion = tail.read_lines();
    ASSERT_FALSE(portion.empty()) << "after " << next << " lines";
    for (const auto& line : portion) ASSERT_EQ(line, "line " + std::to_string(next++));
    ++portions;
  }
  EXPECT_GT(portions, 1u);
}

TEST_F(FileTailTest, AFolderCannotBeRead) {
  FileTail tail(folder_.path());
  EXPECT_THROW(tail.read_lines(), Error);
}

}  // namespace
}  // namespace sheaf::launcher
