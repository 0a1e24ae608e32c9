// Two ways to run out of space in a test: a tiny file system (needs the right to mount), and a
// limit on the size of files that anybody may set.
#pragma once

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace sheaf::launcher {

// A tmpfs of `bytes` on a folder, while this lives.
class TinyVolume {
 public:
  TinyVolume(std::filesystem::path folder, std::size_t bytes) : folder_(std::move(folder)) {
    const std::string options = "size=" + std::to_string(bytes);
    mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  ~TinyVolume() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  TinyVolume(const TinyVolume&) = delete;
  TinyVolume& operator=(const TinyVolume&) = delete;

  bool mounted() const { return mounted_; }
  // Fills all but `left` bytes, a multiple of the page size.
  void fill(std::size_t left) const {
    struct statvfs volume{};
    ::statvfs(folder_.c_str(), &volume);
    const std::size_t room = volume.f_bavail * volume.f_frsize;
    std::ofstream(folder_ / "filler") << std::string(room - left, 'x') << std::flush;
  }
  void empty() const { std::filesystem::remove(folder_ / "filler"); }

 private:
  std::filesystem::path folder_;
  bool mounted_ = false;
};

// No file of this process grows beyond `bytes` while this lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::size_t bytes) {
    handler_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

}  // namespace sheaf::launcher
