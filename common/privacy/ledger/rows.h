// The lines of a ledger: one JSON object each, with its number and a checksum. FORMAT.md defines
// them. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "common/base/ids.h"
#include "common/privacy/ledger/terms.h"
#include "common/wire/handshake.h"

namespace sheaf::privacy {

inline constexpr std::uint64_t kLedgerFormat = 1;

// From here on the release of that step, and partition, may have happened. Where noise is central
// the partition is 0 and not written.
struct OpenRow {
  Step step = 0;
  std::uint32_t partition = 0;
  bool operator==(const OpenRow&) const = default;
};

// What the last open row of that step and partition has released, all of it.
struct DoneRow {
  Step step = 0;
  std::uint32_t partition = 0;
  wire::Digest digest{};
  bool operator==(const DoneRow&) const = default;
};

struct LedgerRow {
  std::uint64_t number = 1;   // of its line
  std::uint64_t durable = 0;  // so many lines before it were on the disk when it was written
  std::variant<LedgerTerms, OpenRow, DoneRow> what;
};

// One line, with its end. `where` decides whether partitions are written.
std::string row_text(const LedgerRow& row, NoisePlace where);

// A line without its end. Throws std::invalid_argument, saying why, if it is none or not as it was
// written.
LedgerRow parse_row(std::string_view line);

std::string digest_text(const wire::Digest& digest);

}  // namespace sheaf::privacy
