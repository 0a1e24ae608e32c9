// A named pipe through which a child of a test says that it has come somewhere, so that the test
// waits for the event itself, with a deadline.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>

namespace sheaf::launcher {

// Long enough for a busy machine; a test that works never waits for it.
inline constexpr std::chrono::milliseconds kDeadline{20'000};

// Waits until `fd` is readable; false after the deadline.
inline bool becomes_readable(int fd) {
  pollfd event{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&event, 1, static_cast<int>(kDeadline.count())) == 1;
}

class Fifo {
 public:
  explicit Fifo(std::filesystem::path file) : file_(std::move(file)) {
    EXPECT_EQ(mkfifo(file_.c_str(), 0600), 0);
    fd_ = open(file_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);  // own writer: never end of file
  }
  ~Fifo() { close(fd_); }
  Fifo(const Fifo&) = delete;
  Fifo& operator=(const Fifo&) = delete;

  const std::filesystem::path& file() const { return file_; }

  // The next line that somebody writes; empty after the deadline.
  std::string line() {
    std::string text;
    char c = 0;
    while (becomes_readable(fd_) && read(fd_, &c, 1) == 1 && c != '\n') text += c;
    return text;
  }
  void write_line(const std::string& text) {
    const std::string line = text + "\n";
    EXPECT_EQ(write(fd_, line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }

 private:
  std::filesystem::path file_;
  int fd_ = -1;
};

}  // namespace sheaf::launcher
