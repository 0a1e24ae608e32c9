#include "launcher/scratch_folder.h"

#include <cstdlib>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::launcher {

ScratchFolder::ScratchFolder() {
  std::error_code ignored;
  std::string name = (std::filesystem::temp_directory_path(ignored) / "sheaf-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    fail(Fault::config, "cannot make a folder for mpirun in {}: {}; set TMPDIR to one that exists",
         std::filesystem::path(name).parent_path().string(), std::strerror(errno));
  }
  path_ = name;
}

void ScratchFolder::remove() {
  std::error_code ignored;
  if (path_.empty()) return;
  std::filesystem::remove_all(path_, ignored);
  path_.clear();
}

}  // namespace sheaf::launcher
