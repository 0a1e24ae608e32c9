// What must hold for every key of every job file in configs/: it is explained, its resolved form is
// stable, and when it is misspelt the right key is suggested.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "common/base/random.h"
#include "launcher/config/run_config.h"
#include "tests/harness/places.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(source_folder()) / "configs";

std::vector<fs::path> job_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(kConfigs)) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Data is named from the top of the tree; where it is missing, only faults of the config count
// here.
CheckResult check_config(RunConfig& config) {
  CheckResult result = config.check();
  if (result.kind == Fault::data) result.faults.clear();
  return result;
}

std::string resolved(const std::string& text) {
  RunConfig config = RunConfig::from_text(text, "job.toml");
  EXPECT_THAT(check_config(config).faults, testing::IsEmpty());
  return config.resolved();
}

// Moves to the top of the tree, where the data of configs/modes is found.
class ConfigKeysTest : public testing::Test {
 protected:
  void SetUp() override {
    before_ = fs::current_path();
    fs::current_path(source_folder());
  }
  void TearDown() override { fs::current_path(before_); }
  fs::path before_;
};

TEST_F(ConfigKeysTest, EveryJobIsSoundAndReadAgainTheSame) {
  for (const auto& file : job_files()) {
    SCOPED_TRACE(file);
    RunConfig config = RunConfig::load(file, {});
    EXPECT_THAT(check_config(config).faults, testing::IsEmpty());
    EXPECT_EQ(resolved(config.resolved()), config.resolved());
  }
}

// The keys that the tables of configs/README.md explain: "## [a] and [b] with …", then "| `key` |".
// A key may be explained under several headings (modes share names), but once under each.
std::set<std::string> explained_keys() {
  std::set<std::string> keys;
  std::set<std::string> under_heading;
  std::vector<std::string> tables;
  std::ifstream readme(kConfigs / "README.md");
  for (std::string line; std::getline(readme, line);) {
    std::smatch match;
    if (line.starts_with("## ")) {
      tables.clear();
      under_heading.clear();
      static const std::regex kHeader(R"((\[\[?)([a-z_.]+)\])");
      std::string rest = line.substr(0, line.find(" with "));
      while (std::regex_search(rest, match, kHeader)) {
        tables.push_back(match[2].str() + (match[1] == "[[" ? "[]" : ""));
        rest = match.suffix();
      }
    }
    static const std::regex kRow(R"(^\| `([a-z0-9_]+)` \|.*\|.*\|.*\|.*\|$)");
    if (!std::regex_match(line, match, kRow)) continue;
    EXPECT_TRUE(under_heading.insert(match[1]).second) << "twice in one table: " << line;
    for (const std::string& table : tables) keys.insert(table + "." + match[1].str());
  }
  return keys;
}

TEST_F(ConfigKeysTest, TheReadmeExplainsEveryKeyOnceAndNoOther) {
  std::set<std::string> asked;
  for (const auto& file : job_files()) {
    RunConfig config = RunConfig::load(file, {});
    config.check();
    for (const std::string& key : config.asked_keys()) asked.insert(key);
  }
  const std::set<std::string> explained = explained_keys();
  std::vector<std::string> differ;
  std::ranges::set_symmetric_difference(asked, explained, std::back_inserter(differ));
  EXPECT_THAT(differ, testing::IsEmpty()) << "asked for and not explained, or the reverse";
}

// --- misspelt keys -------------------------------------------------------------------------------

// A word with `edits` random edits: a letter dropped, doubled, replaced or swapped with the next.
std::string misspell(std::string word, int edits, Stream& random) {
  for (int i = 0; i < edits; ++i) {
    const std::size_t at = random.next() % word.size();
    const char letter = static_cast<char>('a' + random.next() % 26);
    switch (random.next() % 4) {
      case 0:
        if (word.size() > 1) word.erase(at, 1);
        break;
      case 1: word.insert(at, 1, letter); break;
      case 2: word[at] = letter; break;
      default:
        if (at + 1 < word.size()) std::swap(word[at], word[at + 1]);
    }
  }
  return word;
}

struct Tally {
  int right = 0;
  int all = 0;
};

// Misspells the key of one line of a resolved job, again and again, and counts right suggestions.
void try_typos(const std::vector<std::string>& lines, std::size_t number, const std::string& key,
               const std::set<std::string>& keys_of_table, Stream& random, Tally& tally) {
  for (int round = 0; round < 12; ++round) {
    const std::string typo = misspell(key, 1 + round % 2, random);
    if (typo == key || keys_of_table.contains(typo)) continue;
    std::string text;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      text += (i == number ? typo + lines[i].substr(key.size()) : lines[i]) + "\n";
    }
    RunConfig config = RunConfig::from_text(text, "job.toml");
    const std::string place = "job.toml:" + std::to_string(number + 1) + ":1: ";
    ++tally.all;
    for (const std::string& fault : config.check().faults) {
      if (fault.starts_with(place) && fault.ends_with(", try " + key)) {
        ++tally.right;
        break;
      }
    }
  }
}

TEST_F(ConfigKeysTest, MisspeltKeysGetTheRightSuggestion) {
  Stream random(7, Purpose::test);
  Tally tally;
  std::set<std::string> tried;  // each key once, in the first job that has it
  for (const auto& file : job_files()) {
    RunConfig config = RunConfig::load(file, {});
    config.check();
    std::istringstream text(config.resolved());
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    std::map<std::string, std::set<std::string>> tables;
    const auto all = config.asked_keys();
    for (const std::string& name : all) {
      tables[name.substr(0, name.rfind('.'))].insert(name.substr(name.rfind('.') + 1));
    }
    std::string table;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].starts_with("[[")) {
        table = lines[i].substr(2, lines[i].size() - 4) + "[]";
      } else if (lines[i].starts_with("[")) {
        table = lines[i].substr(1, lines[i].size() - 2);
      } else if (!lines[i].empty()) {
        const std::string key = lines[i].substr(0, lines[i].find(' '));
        if (tried.insert(table + "." + key).second) {
          try_typos(lines, i, key, tables[table], random, tally);
        }
      }
    }
  }
  EXPECT_GT(tally.all, 500);
  EXPECT_GE(tally.right, 0.95 * tally.all) << tally.right << " of " << tally.all;
  RecordProperty("right", tally.right);
  RecordProperty("all", tally.all);
}

}  // namespace
}  // namespace sheaf::launcher
