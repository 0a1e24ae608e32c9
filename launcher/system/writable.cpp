#include "launcher/system/writable.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>

namespace sheaf::launcher {

std::string why_not_writable(const std::filesystem::path& folder, std::uint64_t bytes) {
  std::string name = (folder / ".sheaf-doctor-XXXXXX").string();
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return std::strerror(errno);
  // Takes the blocks, so that a full disk shows, without writing them.
  const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  ::close(fd);
  ::unlink(name.c_str());
  return error == 0 ? "" : std::strerror(error);
}

}  // namespace sheaf::launcher
