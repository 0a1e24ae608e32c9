#include "launcher/system/file_tail.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace sheaf::launcher {

FileTail::FileTail(std::filesystem::path file, std::size_t longest)
    : file_(std::move(file)), longest_(longest) {}

FileTail::~FileTail() {
  if (fd_ >= 0) close(fd_);
}

bool FileTail::open() {
  if (fd_ >= 0) return true;
  fd_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0 && errno != ENOENT) {
    fail(Fault::internal, "cannot read {}: {}", file_.string(), std::strerror(errno));
  }
  return fd_ >= 0;
}

std::vector<std::string> FileTail::read_lines() {
  std::vector<std::string> lines;
  if (!open()) return lines;
  std::array<char, std::size_t{16} << 10> buffer;
  for (int reads = 0; reads < 64; ++reads) {
    const ssize_t n = read(fd_, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) {
      fail(Fault::internal, "cannot read {}: {}", file_.string(), std::strerror(errno));
    }
    if (n <= 0) break;
    take({buffer.data(), static_cast<std::size_t>(n)}, lines);
  }
  return lines;
}

void FileTail::take(std::string_view bytes, std::vector<std::string>& lines) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const bool complete = end != std::string_view::npos;
    const std::string_view part = bytes.substr(0, end);
    bytes.remove_prefix(complete ? end + 1 : bytes.size());
    if (!dropping_) {
      const std::size_t room = longest_ - unfinished_.size();
      unfinished_ += part.substr(0, room);
      if (part.size() > room) {
        lines.push_back(std::exchange(unfinished_, {}) + " [line cut]");
        dropping_ = true;
      }
    }
    if (!complete) return;
    if (!dropping_) lines.push_back(std::exchange(unfinished_, {}));
    dropping_ = false;
  }
}

}  // namespace sheaf::launcher
