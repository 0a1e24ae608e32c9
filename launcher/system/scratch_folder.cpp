#include "launcher/system/scratch_folder.h"

#include <cstdlib>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::launcher {

void ScratchFolder::make() {
  if (!path_.empty()) return;
  const char* given = std::getenv("TMPDIR");
  const std::filesystem::path folder = given != nullptr && *given != 0 ? given : "/tmp";
  std::string name = std::filesystem::absolute(folder / "sheaf-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    fail(Fault::config, "cannot make a folder for mpirun in {}: {}; set TMPDIR to one that exists",
         folder.string(), std::strerror(errno));
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
