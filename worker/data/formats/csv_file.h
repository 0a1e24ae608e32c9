// Reads a CSV file line by line: numbers in cells, cells split by one delimiter, quotes around a
// cell allowed ("" is a quote inside), LF or CRLF, a last line without an end of line. A quoted
// cell ends on its line. Every fault is "FILE:LINE:COLUMN: …", both counted from 1, the column in
// cells. Owns the open file and one line; one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/data/formats/byte_reader.h"

namespace sheaf::worker {

class CsvFile {
 public:
  CsvFile(const std::filesystem::path& path, char delimiter);

  // Moves to the next line; false at the end of the file. Empty lines are the end if nothing
  // follows them, else a fault. Splits nothing, so skipping lines is cheap.
  bool next();
  std::uint64_t line() const { return line_; }  // of the current line, from 1

  // Splits the current line and returns the number of its cells.
  std::size_t split();
  // Of the split line; `cell` counts from 0.
  std::string text(std::size_t cell) const;
  // True for what reads as a number, "nan" and "inf" included.
  bool is_number(std::size_t cell) const;
  // The cell as a finite float. `column` is the header's name for it, or empty.
  float number(std::size_t cell, std::string_view column) const;

  // "prices.csv:18", "prices.csv:18:3": the place of the current line, and of a cell in it.
  std::string place() const;
  std::string place(std::size_t cell) const;

 private:
  struct Cell {
    std::string_view text;  // without the quotes around it
    bool quoted = false;
  };
  bool next_raw();
  std::string_view cut_quoted(std::string_view& rest);

  ByteReader in_;
  char delimiter_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what is unread in buffer_
  std::size_t end_ = 0;
  bool drained_ = false;  // the file has nothing beyond buffer_
  std::string_view current_;
  std::uint64_t line_ = 0;
  std::vector<Cell> cells_;
};

}  // namespace sheaf::worker
