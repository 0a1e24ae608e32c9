// What is said of a file that cannot be written. Pure but for asking the file system for its room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace sheaf {

// What the system says of an errno.
std::string text_of(int error);

// True if `error` means that there is no room.
bool lacks_space(int error);

// "PATH: cannot be written: REASON"; when there is no room, also the bytes that `path` needs and
// those that are free on its file system.
std::string not_written(const std::filesystem::path& path, std::uint64_t need, int error);

}  // namespace sheaf
