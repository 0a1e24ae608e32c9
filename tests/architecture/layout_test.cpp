// What the tree promises beside the include graph: names, sizes, a config for every mode, a README
// in every folder.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

#include "tests/architecture/source_tree.h"

namespace sheaf::architecture {
namespace {

namespace fs = std::filesystem;

struct ModeFile {
  std::string path;
  std::string family;  // empty where the file exports no constant named after it
  std::string name;
};

// modes/adam.cpp says its family in the name of its constant: Mode<Optimizer> optimizer_adam.
std::vector<ModeFile> read_modes() {
  std::vector<ModeFile> modes;
  for (const auto& file : read_sources(kProduct)) {
    if (!file.folder().ends_with("/modes") || file.is_header()) continue;
    ModeFile mode{file.path, "", file.stem()};
    const std::regex constant(R"(extern const Mode<\w+> (\w+)_)" + mode.name + R"(\b)");
    for (const auto& line : file.lines) {
      std::smatch match;
      if (std::regex_search(line, match, constant)) mode.family = match[1];
    }
    modes.push_back(mode);
  }
  return modes;
}

std::string text_of_all_configs() {
  std::string text;
  for (const auto& entry : fs::recursive_directory_iterator(project_root() / "configs")) {
    if (entry.path().extension() == ".toml") text += read_text(entry.path());
  }
  return text;
}

TEST(LayoutTest, EveryModeIsShownInAConfig) {
  const auto configs = text_of_all_configs();
  for (const auto& mode : read_modes()) {
    const std::string own = "configs/modes/" + mode.family + "_" + mode.name + ".toml";
    const bool used = configs.find("\"" + mode.name + "\"") != std::string::npos;
    EXPECT_TRUE(used || fs::exists(project_root() / own))
        << mode.path << ": no config uses \"" << mode.name << "\"; add " << own;
  }
}

TEST(LayoutTest, EveryModeFileExportsTheConstantOfItsName) {
  for (const auto& mode : read_modes()) {
    EXPECT_NE(mode.family, "") << mode.path << ": expected `extern const Mode<Family> family_"
                               << mode.name << "` on one line";
  }
}

TEST(LayoutTest, EveryConfigOfAModeNamesAModeThatExists) {
  std::set<std::string> known;
  for (const auto& mode : read_modes()) known.insert(mode.family + "_" + mode.name);
  const auto folder = project_root() / "configs/modes";
  if (!fs::exists(folder)) return;  // every mode is shown elsewhere
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".toml") continue;
    EXPECT_TRUE(known.contains(entry.path().stem().string()))
        << entry.path().filename()
        << ": expected <family>_<mode>.toml of a file in a modes/ folder";
  }
}

TEST(LayoutTest, EveryHeaderIsIncludedOnce) {
  for (const auto& file : read_sources(kAllSources)) {
    if (!file.is_header()) continue;
    EXPECT_NE(std::ranges::find(file.lines, "#pragma once"), file.lines.end())
        << file.path << ":1: a header starts with its purpose and #pragma once";
  }
}

TEST(LayoutTest, NoFileIsOver600Lines) {
  for (const auto& file : read_sources(kAllSources)) {
    EXPECT_LE(file.lines.size(), 600U) << file.path << ": split it by purpose";
  }
}

TEST(LayoutTest, NoFileIsADumpingGround) {
  const std::set<std::string> empty_names = {"util", "utils", "helper", "helpers", "misc"};
  for (const auto& file : read_sources(kAllSources)) {
    EXPECT_FALSE(empty_names.contains(file.stem()))
        << file.path << ": name the concept, or keep it private to its one user";
  }
}

TEST(LayoutTest, EveryFolderIntroducesItself) {
  for (const std::string folder : {"benchmarks", "cmake", "common", "configs", "docs", "launcher",
                                   "server", "tests", "worker"}) {
    EXPECT_TRUE(fs::exists(project_root() / folder / "README.md"))
        << folder << "/README.md: a folder says in a few lines what it holds";
  }
}

}  // namespace
}  // namespace sheaf::architecture
