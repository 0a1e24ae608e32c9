// The lines that another process appends to a file, as they come. Never blocks, and holds no more
// than one line of bounded length between calls. Owns its descriptor; used by one thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::launcher {

class FileTail {
 public:
  // The file may appear later. A line of more than `longest` bytes is delivered once it is that
  // long, cut and marked; what follows up to its end is dropped.
  explicit FileTail(std::filesystem::path file, std::size_t longest = std::size_t{16} << 10);
  ~FileTail();
  FileTail(const FileTail&) = delete;
  FileTail& operator=(const FileTail&) = delete;

  // The lines that were completed since the last call, without their ends. One call reads at most a
  // MiB, so that a process that writes without pause cannot hold the caller.
  // Throws Fault::internal if the file exists and cannot be read.
  std::vector<std::string> read_lines();

  // What follows the last complete line: the last words of a process that ended without a newline.
  const std::string& unfinished() const { return unfinished_; }

 private:
  bool open();
  void take(std::string_view bytes, std::vector<std::string>& lines);

  std::filesystem::path file_;
  std::size_t longest_;
  int fd_ = -1;
  std::string unfinished_;
  bool dropping_ = false;  // the rest of a line that was cut
};

}  // namespace sheaf::launcher
