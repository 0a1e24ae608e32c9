#include "common/checkpoint/posix_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "common/base/error.h"
#include "tests/harness/full_disk.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::checkpoint {
namespace {

using ::testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class PosixDiskTest : public testing::Test {
 protected:
  // What the error says; it is Fault::data.
  template <typename Action>
  std::string error_of(const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::data);
      return error.message();
    }
    return "no error";
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  launcher::TemporaryFolder folder_;
  PosixDisk disk_;
};

TEST_F(PosixDiskTest, ReservedFilesAreZerosUntilTheyAreWritten) {
  {
    const auto file = disk_.create(folder_ / "a");
    file->reserve(6);
    file->write_at(2, bytes_of("xy"));
    file->sync();
  }
  EXPECT_EQ(launcher::contents_of(folder_ / "a"), std::string("\0\0xy\0\0", 6));
  const auto file = disk_.open(folder_ / "a");
  EXPECT_EQ(file->size(), 6U);
  std::string read(2, ' ');
  file->read_at(2, std::as_writable_bytes(std::span(read)));
  EXPECT_EQ(read, "xy");
}

TEST_F(PosixDiskTest, ReservedSpaceIsTaken) {
  const auto file = disk_.create(folder_ / "a");
  file->reserve(1 << 20);
  struct stat status{};
  ASSERT_EQ(::stat(path("a").c_str(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 1 << 20);
}

TEST_F(PosixDiskTest, NamesAreMadeMovedAndRemoved) {
  disk_.make_folder(folder_ / "f");
  disk_.make_folder(folder_ / "f");
  disk_.create(folder_ / "f" / "b");
  disk_.create(folder_ / "f" / "a");
  disk_.make_folder(folder_ / "f" / "c");
  disk_.sync_folder(folder_ / "f");
  const auto entries = disk_.list(folder_ / "f");
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_FALSE(entries[0].folder);
  EXPECT_EQ(entries[2].name, "c");
  EXPECT_TRUE(entries[2].folder);
  EXPECT_FALSE(disk_.remove_folder(folder_ / "f")) << "it is not empty";
  disk_.rename(folder_ / "f" / "a", folder_ / "f" / "b");
  EXPECT_TRUE(disk_.remove(folder_ / "f" / "b"));
  EXPECT_FALSE(disk_.remove(folder_ / "f" / "a")) << "it has another name";
  EXPECT_TRUE(disk_.remove_folder(folder_ / "f" / "c"));
  EXPECT_TRUE(disk_.remove_folder(folder_ / "f"));
  EXPECT_FALSE(disk_.remove_folder(folder_ / "f"));
  EXPECT_TRUE(disk_.list(folder_ / "f").empty());
}

TEST_F(PosixDiskTest, ErrorsNameThePathAndTheReason) {
  disk_.create(folder_ / "a")->reserve(3);
  EXPECT_EQ(error_of([&] { disk_.create(folder_ / "a"); }),
            path("a") + ": cannot be written: File exists");
  EXPECT_EQ(error_of([&] { disk_.open(folder_ / "b"); }),
            path("b") + ": cannot be read: No such file or directory");
  EXPECT_THAT(error_of([&] { disk_.open(folder_.path())->size(); }), HasSubstr("it is no file"));
  EXPECT_EQ(error_of([&] { disk_.rename(folder_ / "b", folder_ / "c"); }),
            path("b") + ": cannot be renamed to c: No such file or directory");
  EXPECT_EQ(error_of([&] { disk_.make_folder(folder_ / "b/c"); }),
            path("b/c") + ": cannot be written: No such file or directory");
  EXPECT_EQ(error_of([&] { disk_.sync_folder(folder_ / "b"); }),
            path("b") + ": cannot be synced: No such file or directory");
  EXPECT_EQ(error_of([&] { disk_.remove(folder_ / "a/b"); }),
            path("a/b") + ": cannot be removed: Not a directory");
  EXPECT_EQ(error_of([&] { disk_.list(folder_ / "a"); }),
            path("a") + ": cannot be read: Not a directory");
  std::string four(4, ' ');
  EXPECT_EQ(error_of([&] {
              disk_.open(folder_ / "a")->read_at(0, std::as_writable_bytes(std::span(four)));
            }),
            path("a") + ": ends early, after 3 bytes");
  EXPECT_EQ(error_of([&] { disk_.open("/dev/full")->size(); }),
            "/dev/full: cannot be read: it is no file: Invalid argument");
}

// The kernel writes up to the limit, which is a short write, and refuses the rest.
TEST_F(PosixDiskTest, ShortWritesGoOnUntilTheReasonShows) {
  const auto file = disk_.create(folder_ / "a");
  const launcher::FileSizeLimit limit(100);
  const std::string error = error_of([&] { file->write_at(0, bytes_of(std::string(200, 'x'))); });
  EXPECT_THAT(error, HasSubstr(path("a") + ": cannot be written: File too large: needs 200 bytes"));
  EXPECT_EQ(launcher::contents_of(folder_ / "a"), std::string(100, 'x')) << "there was one";
  EXPECT_THAT(error_of([&] { file->reserve(101); }),
              HasSubstr(path("a") + ": cannot be written: File too large: needs 101 bytes"));
}

TEST_F(PosixDiskTest, AFullVolumeIsFoundWhenSpaceIsReserved) {
  const launcher::TinyVolume volume(folder_.path(), 64 << 10);
  if (!volume.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  const auto file = disk_.create(folder_ / "a");
  file->reserve(32 << 10);
  EXPECT_THAT(error_of([&] { file->reserve(128 << 10); }),
              HasSubstr(path("a") + ": cannot be written: No space left on device: needs 131072 "
                                    "bytes, 32768 bytes are free"));
}

}  // namespace
}  // namespace sheaf::checkpoint
