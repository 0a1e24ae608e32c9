// A folder of our own for what mpirun leaves lying about, in $TMPDIR or /tmp. Removed by remove()
// or the destructor, with all that is in it; then make() makes another one.
#pragma once

#include <filesystem>

namespace sheaf::launcher {

class ScratchFolder {
 public:
  // Throws Fault::config if it cannot be made.
  ScratchFolder() { make(); }
  ~ScratchFolder() { remove(); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  // If there is none.
  void make();
  const std::filesystem::path& path() const { return path_; }
  void remove();

 private:
  std::filesystem::path path_;
};

}  // namespace sheaf::launcher
