// The two ways in which a run directory is written: whole files that are replaced atomically, and
// files that grow line by line and must never end a job. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace sheaf::launcher {

struct ReplaceOptions {
  mode_t permissions = 0644;
  bool durable = true;        // on disk, not only in the page cache, before readers see it
  Fault fault = Fault::data;  // of anything but lack of space, which is always Fault::data
};

// Makes `path` hold the parts one after the other. A reader finds the old file or the whole new
// one, never a part of it; whatever fails leaves the old file and no temporary one. Throws Error
// naming the path and the reason; when there is no space, also the bytes needed and those free.
void replace_file(const std::filesystem::path& path,
                  std::span<const std::span<const std::byte>> parts, ReplaceOptions options = {});
void replace_file(const std::filesystem::path& path, std::string_view text,
                  ReplaceOptions options = {});

// A file to which whole lines are appended, each with one write, so that a reader sees no part of
// one and a line that does not fit leaves no torn end. It is opened for each line: no descriptor is
// held, and a line may succeed again after others were dropped.
class AppendedFile {
 public:
  explicit AppendedFile(std::filesystem::path path) : path_(std::move(path)) {}

  // Appends `line` and a newline if it does not end with one. False if it was dropped.
  bool append(std::string_view line);

  const std::filesystem::path& path() const { return path_; }
  const std::string& reason() const { return reason_; }  // why the last dropped line was
  std::uint64_t dropped() const { return dropped_; }     // lines

 private:
  bool drop(int error);
  std::filesystem::path path_;
  std::string reason_;
  std::uint64_t dropped_ = 0;
};

}  // namespace sheaf::launcher
