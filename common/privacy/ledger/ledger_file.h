// A ledger on a disk: RUN/ledger.jsonl, as common/privacy/FORMAT.md defines it. What is opened may
// be released when commit() has returned, not before: then it survives a crash of the machine. So
// after any crash the disk says at least what was released; and at most one step more for each
// crash, if a step is opened only when the one before has been released.
//
// A last line that was torn by a crash is cut off. What it said had not been durable, so nothing
// was released for it; all the same it counts as an opened step, the next one, for each account
// whose last step is not open already.
//
// Errors of the disk are Fault::data; what is on the disk is then unknown, and the file takes
// nothing more. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "common/checkpoint/disk.h"
#include "common/privacy/ledger/ledger.h"

namespace sheaf::privacy {

struct LedgerReading {
  Ledger ledger;              // with what a torn line counts for
  std::vector<OpenRow> torn;  // that
  std::uint64_t rows = 0;     // that are whole
  std::uint64_t bytes = 0;    // of them
  bool cut = false;           // something follows them
};

// Throws Fault::data naming file and line where a line is not as it was written but for the end of
// the file.
LedgerReading read_ledger(checkpoint::Disk& disk, const std::filesystem::path& path);

class LedgerFile {
 public:
  // Reads what there is, and takes the terms, or throws what Ledger::begin() does. Touches nothing:
  // the terms are on the disk, and the file is there, when the first commit() has returned.
  // Borrows the disk.
  LedgerFile(checkpoint::Disk& disk, std::filesystem::path path, const LedgerTerms& terms);

  // Steps that are done, and those that may be released next, all in one write; the first time, the
  // terms before them. Durable when it returns. REQUIRES: what is done was opened and has been
  // released whole.
  void commit(std::span<const DoneRow> done, std::span<const OpenRow> open);

  const Ledger& ledger() const { return ledger_; }
  bool was_torn() const { return was_torn_; }

 private:
  template <typename Row>
  void add(const Row& row);
  void open();
  void write();

  checkpoint::Disk* disk_;
  Ledger ledger_;
  std::filesystem::path path_;
  bool is_there_ = false;                   // before we write
  std::unique_ptr<checkpoint::File> file_;  // null until we do
  std::string text_;                        // not written yet
  std::uint64_t rows_ = 0;                  // with those
  std::uint64_t durable_ = 0;               // on the disk
  std::uint64_t bytes_ = 0;                 // on the disk
  bool was_torn_ = false;
  bool failed_ = false;
};

}  // namespace sheaf::privacy
