// A table of numbers in a CSV file; some columns are targets, the others inputs in their order.
//
//   path = "prices.csv"       test_path = "…" (optional; the same columns)
//   targets = ["price"]       column names, or numbers counted from 0; default: the last column
//   users = "patient"         the column, likewise, that says whose a row is: neither target nor
//                             input, and any text (optional)
//   header = "auto"           "yes", "no"; auto: the first line, if none of its cells is a number
//   delimiter = ","           any one character, "\t" for a tab
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "common/base/error.h"
#include "common/config/section.h"
#include "worker/data/examples.h"
#include "worker/data/formats/csv_file.h"
#include "worker/data/source.h"
#include "worker/data/user_numbers.h"

namespace sheaf::worker {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kHeader = {"auto", "yes", "no"};
constexpr std::string_view kNoDelimiter = "\"\r\n.+-0123456789eE";
constexpr std::size_t kListed = 12;  // column names that a message lists

// What the first line of a file tells.
struct Table {
  fs::path path;
  bool header = false;
  std::vector<std::string> names;  // empty without a header
  std::size_t columns = 0;
  std::optional<std::uint64_t> rows;  // once counted
};

class Csv final : public Source {
 public:
  explicit Csv(const config::Section& section)
      : train_path_(section.text("path", std::nullopt)),
        header_(section.word("header", kHeader, "auto")),
        targets_(section.texts("targets", std::vector<std::string>{})) {
    if (section.has("users")) users_ = section.text("users", std::nullopt);
    if (section.has("test_path")) test_path_ = section.text("test_path", std::nullopt);
    const std::string delimiter = section.text("delimiter", ",");
    if (delimiter.size() != 1 || kNoDelimiter.find(delimiter) != std::string_view::npos) {
      section.fault("delimiter", "\"" + delimiter + "\"", "one character that numbers do not have",
                    "\",\"");
    } else {
      delimiter_ = delimiter[0];
    }
  }

  Schema schema() override {
    table(SourcePart::train);
    return {inputs_at_.size(), targets_at_.size()};
  }

  std::uint64_t rows(SourcePart part) override {
    if (part == SourcePart::test && test_path_.empty()) return 0;
    Table& known = table(part);
    if (!known.rows) {
      CsvFile file(known.path, delimiter_);
      std::uint64_t lines = 0;
      while (file.next()) ++lines;
      known.rows = lines - (known.header ? 1 : 0);
      if (*known.rows == 0) fail(Fault::data, "{}: found no rows", known.path.string());
    }
    return *known.rows;
  }

  void read(SourcePart part, const RowFilter& keep, Examples& into) override {
    const Table& known = table(part);
    CsvFile file(known.path, delimiter_);
    if (known.header) file.next();
    std::vector<float> inputs(inputs_at_.size());
    std::vector<float> targets(targets_at_.size());
    for (std::uint64_t row = 0; file.next(); ++row) {
      if (!keep(row)) continue;
      split(file, known);
      read_cells(file, known, inputs_at_, inputs);
      read_cells(file, known, targets_at_, targets);
      into.append(row, inputs, targets);
    }
  }

  std::string locate(SourcePart part, std::uint64_t row) const override {
    const auto& known = tables_[index(part)];
    const std::uint64_t first = known && known->header ? 2 : 1;
    const fs::path& path = part == SourcePart::train ? train_path_ : test_path_;
    return fmt::format("{}:{}", path.string(), first + row);
  }

  std::string users_by() const override { return users_; }

  std::vector<std::uint32_t> users() override {
    const Table& known = table(SourcePart::train);
    CsvFile file(known.path, delimiter_);
    if (known.header) file.next();
    UserNumbers<std::string> numbers;
    std::vector<std::uint32_t> all;
    while (file.next()) {
      split(file, known);
      const std::string user = file.text(*users_at_);
      if (user.empty()) {
        fail(Fault::data, "{}: found an empty cell, expected whose row it is",
             file.place(*users_at_));
      }
      all.push_back(numbers.of(user));
    }
    return all;
  }

  std::vector<fs::path> files() const override {
    if (test_path_.empty()) return {train_path_};
    return {train_path_, test_path_};
  }

 private:
  static std::size_t index(SourcePart part) { return part == SourcePart::train ? 0 : 1; }

  static void split(CsvFile& file, const Table& table) {
    const std::size_t cells = file.split();
    if (cells == table.columns) return;
    fail(Fault::data, "{}: found {} cells, expected {} as in the first line",
         file.place(std::min(cells, table.columns)), cells, table.columns);
  }

  static void read_cells(const CsvFile& file, const Table& table,
                         std::span<const std::size_t> cells, std::span<float> into) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      into[i] = file.number(cells[i], table.names.empty() ? "" : table.names[cells[i]]);
    }
  }

  Table& table(SourcePart part) {
    auto& known = tables_[index(part)];
    if (known) return *known;
    if (part == SourcePart::train) {
      known = look_at(train_path_);
      choose_columns(*known);
      return *known;
    }
    const Table& train = table(SourcePart::train);
    Table test = look_at(test_path_);
    if (test.columns != train.columns || test.names != train.names) {
      fail(Fault::data, "{}:1: found {} columns ({}), expected the {} columns of {} ({})",
           test_path_.string(), test.columns, list(test), train.columns, train_path_.string(),
           list(train));
    }
    known = std::move(test);
    return *known;
  }

  Table look_at(const fs::path& path) const {
    CsvFile file(path, delimiter_);
    if (!file.next()) fail(Fault::data, "{}: the file is empty, expected rows", path.string());
    Table table{path, header_ == "yes", {}, file.split(), {}};
    if (header_ == "auto") table.header = looks_like_header(file, table.columns);
    for (std::size_t c = 0; table.header && c < table.columns; ++c) {
      table.names.push_back(file.text(c));
    }
    return table;
  }

  // All text: a header. All numbers: a row. Anything else is more likely a bad row than a header.
  static bool looks_like_header(const CsvFile& file, std::size_t columns) {
    std::size_t numbers = 0;
    std::size_t other = columns;
    for (std::size_t c = 0; c < columns; ++c) {
      if (file.is_number(c)) {
        ++numbers;
      } else {
        other = std::min(other, c);
      }
    }
    if (numbers == 0 || numbers == columns) return numbers == 0;
    fail(Fault::data,
         "{}: found \"{}\" in a first line with numbers, expected only numbers or only column "
         "names; if it is a header, set data.header = \"yes\"",
         file.place(other), file.text(other));
  }

  void choose_columns(const Table& table) {
    if (!users_.empty()) users_at_ = find_column(table, users_, "data.users");
    for (const std::string& target : targets_) {
      const std::size_t column = find_column(table, target, "data.targets");
      if (std::ranges::count(targets_at_, column) > 0) {
        fail(Fault::data, "{}:1: target \"{}\" is named twice in data.targets", table.path.string(),
             target);
      }
      if (users_at_ == column) {
        fail(Fault::data, "{}:1: target \"{}\" is the column of data.users", table.path.string(),
             target);
      }
      targets_at_.push_back(column);
    }
    if (targets_.empty()) {
      const std::size_t last = table.columns - 1;
      targets_at_.push_back(users_at_ == last && last > 0 ? last - 1 : last);
    }
    for (std::size_t c = 0; c < table.columns; ++c) {
      if (users_at_ != c && std::ranges::count(targets_at_, c) == 0) inputs_at_.push_back(c);
    }
    if (inputs_at_.empty()) {
      fail(Fault::data,
           "{}:1: found {} columns, all of them targets; expected inputs as well (is "
           "data.delimiter right?)",
           table.path.string(), table.columns);
    }
  }

  // By name, else by number from 0.
  static std::size_t find_column(const Table& table, const std::string& name,
                                 std::string_view key) {
    const auto named = std::ranges::find(table.names, name);
    if (named != table.names.end()) return static_cast<std::size_t>(named - table.names.begin());
    std::size_t column = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data(), end, column);
    if (parsed.ec == std::errc() && parsed.ptr == end && column < table.columns) return column;
    fail(Fault::data,
         "{}:1: found no column \"{}\" for {}, expected {} or a number from 0 "
         "to {}",
         table.path.string(), name, key, list(table), table.columns - 1);
  }

  static std::string list(const Table& table) {
    if (table.names.empty()) return "without a header";
    const auto shown = std::min(table.names.size(), kListed);
    const std::span<const std::string> first(table.names.data(), shown);
    return fmt::format("{}{}", fmt::join(first, ", "), shown < table.names.size() ? ", …" : "");
  }

  fs::path train_path_;
  fs::path test_path_;  // empty: no test set
  std::string header_;
  std::vector<std::string> targets_;  // as the job file names them
  std::string users_;                 // the same; empty: nobody asks
  char delimiter_ = ',';

  std::array<std::optional<Table>, 2> tables_;  // by part, once looked at
  std::vector<std::size_t> inputs_at_;          // columns
  std::vector<std::size_t> targets_at_;
  std::optional<std::size_t> users_at_;
};

std::unique_ptr<Source> make_csv(const config::Section& section, std::uint64_t /*seed*/) {
  return std::make_unique<Csv>(section);
}

}  // namespace

extern const Mode<Source> source_csv = {"numbers in a CSV file, targets by column", &make_csv};

}  // namespace sheaf::worker
