// Reads a file from front to back; gzip is unpacked on the way, told from plain by its first bytes.
// Every fault names the file. Owns the open file; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct gzFile_s;  // zlib's

namespace sheaf::worker {

class ByteReader {
 public:
  // Throws Fault::data if the file cannot be opened.
  explicit ByteReader(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  std::string name() const { return path_.string(); }

  // Reads up to the size of `into` and returns how many bytes; fewer only at the end of the file.
  // Throws Fault::data for damaged or truncated compressed data.
  std::size_t read(std::span<std::byte> into);
  // Fills `into`. Throws Fault::data if the file ends first; `what` says what was being read.
  void read_exactly(std::span<std::byte> into, std::string_view what);
  // Throws Fault::data unless everything was read. Only here is the checksum of a gzip file tested.
  void expect_end(std::string_view what);

  // Throws Fault::data if the file is too small to hold `bytes` more of content, so that a damaged
  // header is found before memory is set aside for what it says. (Deflate packs at most 1032 to 1.)
  void expect_room_for(std::uint64_t bytes, std::string_view what);

 private:
  struct Close {
    void operator()(gzFile_s* file) const;
  };
  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::uint64_t position_ = 0;  // bytes of content read
};

}  // namespace sheaf::worker
