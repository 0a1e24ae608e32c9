// That one job at a time uses a run directory: a lock on RUN/lock, held as long as the object or
// its process lives. Other hosts see it where the file system passes locks on, as NFS does; one
// that has no locks is no failure.
#pragma once

#include <filesystem>

#include "common/base/descriptor.h"

namespace sheaf::launcher {

class RunLock {
 public:
  // Throws Fault::config if another job uses the directory, which exists.
  explicit RunLock(const std::filesystem::path& run);
  static bool is_held(const std::filesystem::path& run);

 private:
  Descriptor file_;
};

}  // namespace sheaf::launcher
