// A typed view of one table of a job file. Every read says what it expects; a fault is recorded, a
// harmless value is returned, and reading goes on, so that one pass finds all faults of a file.
//
// A Section is a light handle; the Document owns everything and must outlive it. Not thread-safe:
// a config is read once, before any thread starts.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace sheaf::config {

class Document;

// Faults of a job file or its data, one a line, each already in its form.
class Faults : public Error {
 public:
  using Error::Error;
};

// Inclusive bounds of a number.
template <typename T>
struct Bounds {
  T low = std::numeric_limits<T>::lowest();
  T high = std::numeric_limits<T>::max();
};

// Bounds of a real number that may come as near as it likes but not reach: "above 0", "below 1".
inline constexpr double kAboveZero = std::numeric_limits<double>::denorm_min();
inline constexpr double kBelowOne = 1.0 - std::numeric_limits<double>::epsilon() / 2;

class Section {
 public:
  // Each getter reads `key`, notes it as known, and writes the value to the resolved document.
  // Without a default the key is required: a missing one is a fault.
  bool has(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::optional<std::int64_t> otherwise,
                       Bounds<std::int64_t> bounds = {}) const;
  // Finite. An integer in the file is accepted.
  double real(std::string_view key, std::optional<double> otherwise,
              Bounds<double> bounds = {}) const;
  bool boolean(std::string_view key, std::optional<bool> otherwise) const;
  std::string text(std::string_view key, std::optional<std::string_view> otherwise) const;
  // One of `words`; anything else is a fault that lists them and suggests the nearest.
  std::string word(std::string_view key, std::span<const std::string_view> words,
                   std::optional<std::string_view> otherwise) const;
  // Like word(), for the name of a mode. After a fault it gives the nearest mode, so that the other
  // keys of the section are judged by it in the same run, or nothing ("") if none is near.
  std::string mode(std::string_view key, std::span<const std::string_view> words,
                   std::optional<std::string_view> otherwise) const;
  // "250ms", "30s", "5m", "2h"; a bare number is a fault (which unit?).
  std::chrono::milliseconds duration(std::string_view key,
                                     std::optional<std::chrono::milliseconds> otherwise,
                                     Bounds<std::int64_t> milliseconds = {0}) const;
  std::vector<double> reals(std::string_view key,
                            std::optional<std::vector<double>> otherwise) const;
  std::vector<std::string> texts(std::string_view key,
                                 std::optional<std::vector<std::string>> otherwise) const;

  // A sub-table; a missing one reads as empty, so that its own required keys are reported.
  Section table(std::string_view key) const;
  // An array of tables; a missing or empty one is a fault when `required`.
  std::vector<Section> tables(std::string_view key, bool required) const;

  // This table as it was given, on one line: "{ kind = \"int8\" }".
  std::string toml() const;

  // Records a fault at the position of `key` (of the section itself if the key is missing):
  // "FILE:LINE:COL: key: found …, expected …, try …". An empty `attempt` leaves the last part out.
  void fault(std::string_view key, std::string found, std::string expected,
             std::string attempt = {}) const;
  // False if a fault is recorded at `key` or below it: what was read is a stand-in, not worth
  // checking further.
  bool sound(std::string_view key) const;

  // The dotted path, "model.layers[2]"; empty for the root.
  const std::string& path() const { return path_; }

 private:
  friend class Document;
  Section(Document& document, std::string path) : document_(&document), path_(std::move(path)) {}
  Document* document_;
  std::string path_;
};

// One job file with its overrides.
class Document {
 public:
  // Reads and parses `file`; each override is "dotted.key=value", the value read as TOML, else as a
  // string. A file that cannot be read throws Fault::config; a syntax error is recorded as a fault.
  Document(const std::filesystem::path& file, std::span<const std::string> overrides);
  // The same for text in memory; `name` stands for the file in messages.
  static std::unique_ptr<Document> from_text(std::string_view text, std::string_view name,
                                             std::span<const std::string> overrides = {});
  ~Document();
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  Section root();

  // Records a fault for each key that nobody has read, with near matches among the keys that were
  // asked for in the same table (and "belongs under [x]" if another table knows it). A key that
  // nobody can know because the `kind` of its table is wrong is passed over. Call last.
  void reject_unknown();

  // One line per fault, in the order of the file, overrides last.
  std::vector<std::string> faults() const;
  // Throws Faults (Fault::config) if there are any.
  void throw_if_faulty() const;

  // Every key that was read, with its value, defaults included: a job file that gives the same job.
  // Leaves out the keys and tables in `without` ("run.dir", "launch").
  std::string resolved(std::span<const std::string_view> without = {}) const;
  // Every key that was asked for, sorted, with array places left out: "model.layers[].units".
  std::vector<std::string> asked_keys() const;

 private:
  friend class Section;
  struct State;
  explicit Document(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sheaf::config
