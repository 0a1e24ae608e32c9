// What the tests of worker/data share: files of their own, sources from a line of config, a source
// whose every value tells its row, and faults as text.
#pragma once

#include <gmock/gmock.h>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/config/section.h"
#include "worker/data/partition.h"
#include "worker/data/source.h"

namespace sheaf::worker {

// A folder that is removed with everything in it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }
  // Writes a file and returns its path.
  std::string write(std::string_view name, std::string_view content) const;
  std::string write_gzip(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

std::string gzip(std::string_view content);
std::string big_endian(std::uint32_t value);
// The bytes of values as they stand in memory (little-endian here).
template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// A source of mode `kind` with the keys of [data] in `toml`. Keeps its document alive.
struct ConfiguredSource {
  std::unique_ptr<config::Document> document;
  std::unique_ptr<Source> source;
  Source* operator->() const { return source.get(); }
  Source& operator*() const { return *source; }
};
ConfiguredSource make_source(std::string_view kind, const std::string& toml,
                             std::uint64_t seed = 1);
// The faults of such a config.
std::vector<std::string> config_faults(std::string_view kind, const std::string& toml);

// All of one part of a source.
Examples read_all(Source& source, SourcePart part = SourcePart::train);
// Inputs and targets as plain values, for comparison.
std::vector<std::vector<float>> rows_of(const Examples& examples);

// Row r has inputs (r, 1000 + r) and target -r, so that any value tells where it came from.
class NumberedSource : public Source {
 public:
  NumberedSource(std::uint64_t train, std::uint64_t test) : train_(train), test_(test) {}
  Schema schema() override { return {2, 1}; }
  std::uint64_t rows(SourcePart part) override {
    return part == SourcePart::train ? train_ : test_;
  }
  void read(SourcePart part, const RowFilter& keep, Examples& into) override;
  std::string locate(SourcePart, std::uint64_t row) const override {
    return "row " + std::to_string(row);
  }
  std::vector<std::filesystem::path> files() const override { return {}; }

 private:
  std::uint64_t train_;
  std::uint64_t test_;
};

// The message of the Error with this fault that `run` throws; a test failure if it throws none.
template <std::invocable Run>
std::string fault_of(Fault expected, Run run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), expected) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}
template <std::invocable Run>
std::string data_fault(Run run) {
  return fault_of(Fault::data, run);
}

}  // namespace sheaf::worker
