#include "common/privacy/ledger/ledger_file.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/refuse.h"

namespace sheaf::privacy {
namespace {

namespace fs = std::filesystem;

std::string read_all(checkpoint::Disk& disk, const fs::path& path) {
  const auto file = disk.open(path);
  std::string text(file->size(), '\0');
  file->read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

bool exists(checkpoint::Disk& disk, const fs::path& path) {
  const auto entries = disk.list(path.parent_path());
  return std::ranges::any_of(
      entries, [&](const auto& entry) { return entry.name == path.filename().string(); });
}

// The lines of a text; the last one may lack its end.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text) {}
  std::optional<std::string_view> next() {
    if (at_ >= text_.size()) return std::nullopt;
    const std::size_t end = text_.find('\n', at_);
    ended_ = end != std::string_view::npos;
    const std::string_view line = text_.substr(at_, end - at_);
    at_ = ended_ ? end + 1 : text_.size();
    return line;
  }
  bool ended() const { return ended_; }  // the last line that was taken
  std::size_t at() const { return at_; }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  bool ended_ = false;
};

// The durable rows that whole lines from here on know of.
std::uint64_t durable_by(Lines lines) {
  std::uint64_t durable = 0;
  while (const auto line = lines.next()) {
    try {
      durable = std::max(durable, parse_row(*line).durable);
    } catch (const std::invalid_argument&) {  // NOLINT(bugprone-empty-catch)
      // It tells nothing.
    }
  }
  return durable;
}

// A line that somebody has written to its end: text, closed as every row is.
bool is_closed_text(std::string_view line) {
  return line.ends_with("\"}") &&
         std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

LedgerReading read_ledger(checkpoint::Disk& disk, const fs::path& path) {
  const std::string text = read_all(disk, path);
  LedgerReading reading;
  Lines lines(text);
  while (const auto line = lines.next()) {
    const std::uint64_t number = reading.rows + 1;
    try {
      if (!lines.ended()) checkpoint::refuse("it has no end");
      const LedgerRow row = parse_row(*line);
      if (row.number != number) checkpoint::refuse("it says that it is line {}", row.number);
      if (row.durable >= number) checkpoint::refuse("it says that it was there before");
      reading.ledger.apply(row);
    } catch (const std::exception& e) {
      // A crash tears what was being written: it leaves no line with its end but the right one; and
      // nobody wrote later that it was there.
      const bool whole = lines.ended() && is_closed_text(*line);
      if (whole || durable_by(lines) >= number) {
        fail(Fault::data,
             "{}: line {} is damaged: {}; what was released is not known any more, so nothing "
             "more may be. Bring the file back from a copy, or begin a new job",
             path.string(), number, e.what());
      }
      reading.cut = true;
      break;
    }
    reading.rows = number;
    reading.bytes = lines.at();
  }
  if (reading.cut && reading.ledger.begun()) {
    for (std::uint32_t account = 0; account < reading.ledger.accounts(); ++account) {
      if (reading.ledger.last_open(account)) continue;
      reading.torn.push_back({reading.ledger.next(account), account});
      reading.ledger.open(reading.torn.back());
    }
  }
  return reading;
}

LedgerFile::LedgerFile(checkpoint::Disk& disk, fs::path path, const LedgerTerms& terms)
    : disk_(&disk), path_(std::move(path)) {
  if (exists(disk, path_)) {
    LedgerReading reading = read_ledger(disk, path_);
    ledger_ = std::move(reading.ledger);
    rows_ = durable_ = reading.rows;
    bytes_ = reading.bytes;
    is_there_ = true;
    was_torn_ = reading.cut;
    for (const OpenRow& row : reading.torn) {
      text_ += row_text({++rows_, durable_, row}, ledger_.terms().where);
    }
  }
  ledger_.begin(terms);
  text_ += row_text({++rows_, durable_, terms}, terms.where);
}

void LedgerFile::open() {
  if (is_there_) {
    file_ = disk_->open_to_append(path_, bytes_);
    file_->sync();  // before the place of what was cut off is written again
  } else {
    file_ = disk_->create(path_);
  }
}

template <typename Row>
void LedgerFile::add(const Row& row) {
  text_ += row_text({++rows_, durable_, row}, ledger_.terms().where);
}

void LedgerFile::commit(std::span<const DoneRow> done, std::span<const OpenRow> open) {
  for (const DoneRow& row : done) {
    ledger_.done(row);
    add(row);
  }
  for (const OpenRow& row : open) {
    ledger_.open(row);
    add(row);
  }
  write();
}

void LedgerFile::write() {
  if (failed_) fail(Fault::data, "{}: could not be written before", path_.string());
  if (text_.empty()) return;
  failed_ = true;
  const bool first = file_ == nullptr;
  if (first) open();
  file_->write_at(bytes_, std::as_bytes(std::span(text_)));
  file_->sync();
  if (first) disk_->sync_folder(path_.parent_path());
  failed_ = false;
  bytes_ += text_.size();
  durable_ = rows_;
  text_.clear();
}

}  // namespace sheaf::privacy
