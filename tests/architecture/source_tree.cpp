#include "tests/architecture/source_tree.h"

#include <algorithm>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

#include "tests/harness/places.h"

namespace sheaf::architecture {

namespace fs = std::filesystem;

SourceFile::SourceFile(std::string file_path, std::string_view text) : path(std::move(file_path)) {
  static const std::regex kInclude(R"re(^\s*#\s*include\s*([<"])([^>"]+)[>"])re");
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) {
      includes.push_back({lines.size(), match[2], match[1] == "<"});
    }
  }
}

fs::path project_root() { return source_folder(); }

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<SourceFile> read_sources(const std::vector<std::string>& folders) {
  std::vector<SourceFile> files;
  for (const auto& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(project_root() / folder)) {
      const auto ending = entry.path().extension();
      if (!entry.is_regular_file() || (ending != ".h" && ending != ".cpp")) continue;
      files.emplace_back(entry.path().lexically_relative(project_root()).generic_string(),
                         read_text(entry.path()));
    }
  }
  std::ranges::sort(files, {}, &SourceFile::path);
  return files;
}

}  // namespace sheaf::architecture
