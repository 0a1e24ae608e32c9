#include "common/checkpoint/posix_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/descriptor.h"
#include "common/base/error.h"
#include "common/base/file_error.h"

namespace sheaf::checkpoint {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_at(const fs::path& path, std::string_view what, int error) {
  fail(Fault::data, "{}: cannot be {}: {}", path.string(), what, text_of(error));
}

[[noreturn]] void fail_to_write(const fs::path& path, std::uint64_t need, int error) {
  fail(Fault::data, "{}", not_written(path, need, error));
}

class PosixFile final : public File {
 public:
  PosixFile(fs::path path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::uint64_t size() const override {
    struct stat status{};
    if (::fstat(fd_.get(), &status) != 0) fail_at(path_, "read", errno);
    if (!S_ISREG(status.st_mode)) fail_at(path_, "read: it is no file", EINVAL);
    return static_cast<std::uint64_t>(status.st_size);
  }

  void reserve(std::uint64_t bytes) override {
    if (bytes == 0) return;
    while (::fallocate(fd_.get(), 0, 0, static_cast<off_t>(bytes)) != 0) {
      if (errno == EINTR) continue;
      // Not every file system can take room; there a full disk shows while it is written.
      if (errno == EOPNOTSUPP && ::ftruncate(fd_.get(), static_cast<off_t>(bytes)) == 0) return;
      fail_to_write(path_, bytes, errno);
    }
  }

  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t written =
          ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) continue;
        fail_to_write(path_, offset + bytes.size(), errno);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
      offset += static_cast<std::uint64_t>(written);
    }
  }

  void cut(std::uint64_t bytes) override {
    while (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) {
      if (errno != EINTR) fail_to_write(path_, bytes, errno);
    }
  }

  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const override {
    while (!bytes.empty()) {
      const ssize_t got =
          ::pread(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (got < 0) {
        if (errno == EINTR) continue;
        fail_at(path_, "read", errno);
      }
      if (got == 0) fail(Fault::data, "{}: ends early, after {} bytes", path_.string(), offset);
      bytes = bytes.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
  }

  void sync() override {
    if (::fdatasync(fd_.get()) != 0) fail_at(path_, "synced", errno);
  }

 private:
  fs::path path_;
  Descriptor fd_;
};

}  // namespace

std::unique_ptr<File> PosixDisk::create(const fs::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) fail_to_write(path, 0, errno);
  return std::make_unique<PosixFile>(path, std::move(fd));
}

std::unique_ptr<File> PosixDisk::open(const fs::path& path) {
  // Without O_NONBLOCK a pipe that somebody put there would be waited for.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) fail_at(path, "read", errno);
  return std::make_unique<PosixFile>(path, std::move(fd));
}

std::unique_ptr<File> PosixDisk::open_to_append(const fs::path& path, std::uint64_t size) {
  Descriptor fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) fail_to_write(path, 0, errno);
  return std::make_unique<PosixFile>(path, std::move(fd));
}

void PosixDisk::rename(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    fail(Fault::data, "{}: cannot be renamed to {}: {}", from.string(), to.filename().string(),
         text_of(errno));
  }
}

bool PosixDisk::remove(const fs::path& file) {
  if (::unlink(file.c_str()) == 0) return true;
  if (errno != ENOENT) fail_at(file, "removed", errno);
  return false;
}

void PosixDisk::make_folder(const fs::path& folder) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) fail_to_write(folder, 0, errno);
}

bool PosixDisk::remove_folder(const fs::path& folder) {
  if (::rmdir(folder.c_str()) == 0) return true;
  if (errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST) fail_at(folder, "removed", errno);
  return false;
}

std::vector<Disk::Entry> PosixDisk::list(const fs::path& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  fs::directory_iterator at(folder, error);
  if (error == std::errc::no_such_file_or_directory) return entries;
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code unknown;  // then it is no folder
    entries.push_back({at->path().filename().string(), at->is_directory(unknown)});
  }
  if (error) fail_at(folder, "read", error.value());
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return entries;
}

void PosixDisk::sync_folder(const fs::path& folder) {
  const char* name = folder.empty() ? "." : folder.c_str();  // the parent of a bare name
  const Descriptor fd(::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // EINVAL: this file system has no such operation, and nothing better.
  if (!fd || (::fsync(fd.get()) != 0 && errno != EINVAL)) fail_at(folder, "synced", errno);
}

}  // namespace sheaf::checkpoint
