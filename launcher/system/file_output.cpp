#include "launcher/system/file_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/descriptor.h"
#include "common/base/file_error.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

// 0 or an errno.
int write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return 0;
}

// Makes the rename itself survive a crash; a file system that cannot sync a folder is no failure.
void sync_folder(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) ::fsync(fd.get());
}

// 0 or an errno.
int write_file(const fs::path& path, std::span<const std::span<const std::byte>> parts,
               const ReplaceOptions& options) {
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, options.permissions));
  if (!fd) return errno;
  for (const auto part : parts) {
    if (const int error = write_all(fd.get(), part)) return error;
  }
  if (options.durable && ::fsync(fd.get()) != 0) return errno;
  // A network file system may report a failed write only here.
  return ::close(fd.release()) == 0 ? 0 : errno;
}

}  // namespace

void replace_file(const fs::path& path, std::span<const std::span<const std::byte>> parts,
                  ReplaceOptions options) {
  std::uint64_t need = 0;
  for (const auto part : parts) need += part.size();
  fs::path temporary = path;
  temporary += ".tmp";
  ::unlink(temporary.c_str());  // left by a process that was killed, perhaps with other permissions
  int error = write_file(temporary, parts, options);
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    fail(lacks_space(error) ? Fault::data : options.fault, "{}", not_written(path, need, error));
  }
  if (options.durable) sync_folder(path);
}

void replace_file(const fs::path& path, std::string_view text, ReplaceOptions options) {
  const std::span<const std::byte> part = std::as_bytes(std::span(text));
  replace_file(path, std::span(&part, 1), options);
}

bool AppendedFile::append(std::string_view line) {
  std::string text(line);
  if (text.empty() || text.back() != '\n') text += '\n';
  const Descriptor fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd) return drop(errno);
  struct stat before{};
  if (::fstat(fd.get(), &before) != 0) return drop(errno);
  const int error = write_all(fd.get(), std::as_bytes(std::span(text)));
  if (error == 0) return true;
  // Takes back the part that did fit. Something that is no regular file has no end to cut.
  if (S_ISREG(before.st_mode) && ::ftruncate(fd.get(), before.st_size) != 0) return drop(errno);
  return drop(error);
}

bool AppendedFile::drop(int error) {
  reason_ = text_of(error);
  ++dropped_;
  return false;
}

}  // namespace sheaf::launcher
