// The source tree as the architecture tests see it: files, their lines and their #include lines.
// Plain values, read once.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::architecture {

struct Include {
  std::size_t line = 0;  // from 1
  std::string path;
  bool angle = false;  // <path>, otherwise "path"
};

struct SourceFile {
  // `path` is relative to the project root, with '/'.
  SourceFile(std::string path, std::string_view text);

  bool is_header() const { return path.ends_with(".h"); }
  // Everything before the last '/': "common/optimization/modes".
  std::string folder() const { return path.substr(0, path.rfind('/')); }
  // Without folder and ending: "adam".
  std::string stem() const { return std::filesystem::path(path).stem().string(); }

  std::string path;
  std::vector<std::string> lines;
  std::vector<Include> includes;
};

// The root of the project that these tests were built from.
std::filesystem::path project_root();

// Every .h and .cpp file below the named top-level folders, in alphabetical order.
std::vector<SourceFile> read_sources(const std::vector<std::string>& folders);

// The whole text of a file. A file that cannot be read throws std::runtime_error.
std::string read_text(const std::filesystem::path& file);

// The folders whose code is the product; tests and benchmarks stand above them and may see all.
inline const std::vector<std::string> kProduct = {"common", "worker", "server", "launcher"};
inline const std::vector<std::string> kAllSources = {"common",   "worker", "server",
                                                     "launcher", "tests",  "benchmarks"};

}  // namespace sheaf::architecture
