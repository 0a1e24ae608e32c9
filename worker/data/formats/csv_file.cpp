#include "worker/data/formats/csv_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::size_t kLongestLine = std::size_t{64} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::size_t kShown = 40;  // characters of a bad cell in a message

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// A double, so that a number below the range of float becomes 0 and not a fault.
std::optional<double> parse(std::string_view cell) {
  std::string_view text = trim(cell);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    // from_chars leaves the value alone, be it too large or too small; the exponent's sign tells.
    const auto exponent = text.find_first_of("eE");
    const bool small = exponent != std::string_view::npos
                           ? text.substr(exponent + 1).starts_with('-')
                           : text.find_first_of("123456789") > text.find('.');
    return small ? 0.0 : std::numeric_limits<double>::infinity();
  }
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace

CsvFile::CsvFile(const std::filesystem::path& path, char delimiter)
    : in_(path), delimiter_(delimiter), buffer_(kReadBytes) {}

bool CsvFile::next() {
  if (!next_raw()) return false;
  if (!trim(current_).empty()) return true;
  const std::string empty = place();
  while (next_raw()) {
    if (!trim(current_).empty()) {
      fail(Fault::data, "{}: found an empty line, expected a row; remove it", empty);
    }
  }
  return false;
}

bool CsvFile::next_raw() {
  std::size_t searched = 0;
  for (;;) {
    const char* from = buffer_.data() + begin_;
    const void* found = std::memchr(from + searched, '\n', end_ - begin_ - searched);
    if (found != nullptr || (drained_ && begin_ < end_)) {
      const std::size_t length =
          found != nullptr ? static_cast<std::size_t>(static_cast<const char*>(found) - from)
                           : end_ - begin_;
      current_ = {from, length};
      begin_ += length + (found != nullptr ? 1 : 0);
      if (current_.ends_with('\r')) current_.remove_suffix(1);
      if (line_++ == 0 && current_.starts_with(kByteOrderMark)) {
        current_.remove_prefix(kByteOrderMark.size());
      }
      return true;
    }
    if (drained_) return false;
    searched = end_ - begin_;
    std::memmove(buffer_.data(), from, searched);
    begin_ = 0;
    end_ = searched;
    if (searched >= kLongestLine) {
      fail(Fault::data, "{}:{}: line is longer than {} MiB; is this a CSV file?", in_.name(),
           line_ + 1, kLongestLine >> 20);
    }
    if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
    const std::size_t got = in_.read(std::as_writable_bytes(std::span(buffer_).subspan(end_)));
    drained_ = got < buffer_.size() - end_;
    end_ += got;
  }
}

// Takes a quoted cell off the front of `rest`, up to its closing quote.
std::string_view CsvFile::cut_quoted(std::string_view& rest) {
  const auto open = rest.find('"');
  std::size_t close = rest.find('"', open + 1);
  while (close != std::string_view::npos && rest.substr(close + 1).starts_with('"')) {
    close = rest.find('"', close + 2);
  }
  if (close == std::string_view::npos) {
    fail(Fault::data, "{}: found a quote that is not closed on its line", place(cells_.size()));
  }
  const std::string_view text = rest.substr(open + 1, close - open - 1);
  rest.remove_prefix(close + 1);
  const std::string_view behind = trim(rest.substr(0, rest.find(delimiter_)));
  if (!behind.empty()) {
    fail(Fault::data, "{}: found text behind a closing quote, expected the delimiter",
         place(cells_.size()));
  }
  return text;
}

std::size_t CsvFile::split() {
  cells_.clear();
  std::string_view rest = current_;
  for (;;) {
    Cell cell;
    const auto start = rest.find_first_not_of(" \t");
    cell.quoted = start != std::string_view::npos && rest[start] == '"';
    if (cell.quoted) cell.text = cut_quoted(rest);
    const auto end = rest.find(delimiter_);
    if (!cell.quoted) cell.text = rest.substr(0, end);
    cells_.push_back(cell);
    if (end == std::string_view::npos) return cells_.size();
    rest.remove_prefix(end + 1);
  }
}

std::string CsvFile::text(std::size_t cell) const {
  if (!cells_[cell].quoted) return std::string(trim(cells_[cell].text));
  std::string text;
  for (std::size_t i = 0; i < cells_[cell].text.size(); ++i) {
    text += cells_[cell].text[i];
    if (cells_[cell].text[i] == '"') ++i;  // the second of a pair
  }
  return text;
}

bool CsvFile::is_number(std::size_t cell) const { return parse(cells_[cell].text).has_value(); }

float CsvFile::number(std::size_t cell, std::string_view column) const {
  const std::optional<double> value = parse(cells_[cell].text);
  if (value && std::abs(*value) <= double{std::numeric_limits<float>::max()}) {
    return static_cast<float>(*value);
  }
  const std::string whole = text(cell);
  const std::string found = whole.empty()           ? "an empty cell"
                            : whole.size() > kShown ? "\"" + whole.substr(0, kShown) + "…\""
                                                    : "\"" + whole + "\"";
  fail(Fault::data, "{}: {}found {}, expected a {}number", place(cell),
       column.empty() ? "" : fmt::format("column \"{}\": ", column), found,
       value ? "finite 32-bit " : "");
}

std::string CsvFile::place() const { return fmt::format("{}:{}", in_.name(), line_); }

std::string CsvFile::place(std::size_t cell) const {
  return fmt::format("{}:{}:{}", in_.name(), line_, cell + 1);
}

}  // namespace sheaf::worker
