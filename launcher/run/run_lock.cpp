#include "launcher/run/run_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>

#include <cerrno>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

bool is_refused(const Descriptor& file, int kind) {
  return file && ::flock(file.get(), kind | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& run)
    : file_(::open((run / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  // Who only looks whether it is held, holds it for a moment.
  for (int look = 0; look < 10 && is_refused(file_, LOCK_EX); ++look) ::poll(nullptr, 0, 20);
  if (is_refused(file_, LOCK_EX)) {
    fail(Fault::config,
         "run.dir: {} is in use by another sheaf, expected nobody else in it; wait for its end, or "
         "end it",
         run.string());
  }
}

bool RunLock::is_held(const std::filesystem::path& run) {
  const Descriptor file(::open((run / "lock").c_str(), O_RDONLY | O_CLOEXEC));
  return is_refused(file, LOCK_SH);
}

}  // namespace sheaf::launcher
