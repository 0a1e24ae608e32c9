#include "worker/data/formats/byte_reader.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

constexpr unsigned kBuffer = 256 * 1024;
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;  // zlib counts in int
constexpr std::uint64_t kMostPacked = 1032;                // zlib.net/zlib_tech.html

}  // namespace

void ByteReader::Close::operator()(gzFile_s* file) const { gzclose_r(file); }

ByteReader::ByteReader(std::filesystem::path path)
    : path_(std::move(path)), file_(gzopen(path_.c_str(), "rb")) {
  if (!file_) fail(Fault::data, "{}: cannot be opened: {}", name(), std::strerror(errno));
  if (std::filesystem::is_directory(path_)) {
    fail(Fault::data, "{}: expected a file, found a folder", name());
  }
  gzbuffer(file_.get(), kBuffer);
}

std::size_t ByteReader::read(std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto piece = static_cast<unsigned>(std::min(into.size() - done, kMostAtOnce));
    const int got = gzread(file_.get(), into.data() + done, piece);
    if (got > 0) done += static_cast<std::size_t>(got);
    if (got >= 0 && static_cast<unsigned>(got) == piece) continue;
    int error = Z_OK;
    const char* text = gzerror(file_.get(), &error);
    if (error == Z_BUF_ERROR) {
      fail(Fault::data,
           "{}: compressed data ends too early, after {} bytes of content; the file "
           "is truncated, copy it again",
           name(), position_ + done);
    }
    if (error != Z_OK && error != Z_STREAM_END) {
      fail(Fault::data, "{}: cannot be read after {} bytes of content: {}", name(),
           position_ + done, error == Z_ERRNO ? std::strerror(errno) : text);
    }
    break;
  }
  position_ += done;
  return done;
}

void ByteReader::read_exactly(std::span<std::byte> into, std::string_view what) {
  const std::uint64_t begin = position_;
  const std::size_t got = read(into);
  if (got < into.size()) {
    fail(Fault::data, "{}: ends after {} bytes in the middle of {}, expected {} bytes or more",
         name(), position_, what, begin + into.size());
  }
}

void ByteReader::expect_end(std::string_view what) {
  std::array<std::byte, 1> more{};
  if (read(more) > 0) {
    fail(Fault::data, "{}: expected the end of the file after {} ({} bytes), found more", name(),
         what, position_ - 1);
  }
}

void ByteReader::expect_room_for(std::uint64_t bytes, std::string_view what) {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path_, error);
  if (error) return;  // not a regular file: reading will tell
  const bool packed = gzdirect(file_.get()) == 0;
  const std::uint64_t all = position_ + bytes;
  if (all / (packed ? kMostPacked : 1) > size) {
    fail(Fault::data, "{}: expected {} bytes for {}, the file has {}{}; it is damaged or truncated",
         name(), all, what, size, packed ? " (compressed)" : "");
  }
}

}  // namespace sheaf::worker
