#include "common/base/file_error.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <system_error>

namespace sheaf {

std::string text_of(int error) { return std::generic_category().message(error); }

bool lacks_space(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

std::string not_written(const std::filesystem::path& path, std::uint64_t need, int error) {
  std::string text = fmt::format("{}: cannot be written: {}", path.string(), text_of(error));
  if (!lacks_space(error)) return text;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  struct statvfs volume{};
  const std::string available =
      ::statvfs(folder.c_str(), &volume) == 0
          ? fmt::format("{} bytes", std::uint64_t{volume.f_bavail} * volume.f_frsize)
          : "an unknown number of bytes";
  return fmt::format(
      "{}: needs {} bytes, {} are free on its file system; make room there or set run.dir to "
      "another one",
      text, need, available);
}

}  // namespace sheaf
