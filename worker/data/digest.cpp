#include "worker/data/digest.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "common/base/error.h"
#include "common/wire/handshake.h"

namespace sheaf::worker {
namespace {

constexpr std::uint64_t kEdge = 64 * 1024;  // bytes of each end of a file

void append(std::vector<std::byte>& text, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) {  // little-endian, whatever the machine
    text.push_back(static_cast<std::byte>(value >> (8 * i) & 0xFF));
  }
}

void append_range(std::vector<std::byte>& text, std::ifstream& in,
                  const std::filesystem::path& path, std::uint64_t begin, std::uint64_t size) {
  const std::size_t old = text.size();
  text.resize(old + size);
  in.seekg(static_cast<std::streamoff>(begin));
  if (!in.read(reinterpret_cast<char*>(text.data() + old), static_cast<std::streamsize>(size))) {
    fail(Fault::data, "{}: cannot be read: {}", path.string(), std::strerror(errno));
  }
}

void append_file(std::vector<std::byte>& text, const std::filesystem::path& path) {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in) {
    fail(Fault::data, "{}: cannot be opened: {}", path.string(),
         error ? error.message() : std::strerror(errno));
  }
  append(text, size);
  const std::uint64_t head = std::min(size, kEdge);
  const std::uint64_t tail = std::min(size - head, kEdge);
  append_range(text, in, path, 0, head);
  append_range(text, in, path, size - tail, tail);
}

}  // namespace

std::string data_digest(const Source& source) {
  const auto files = source.files();
  std::vector<std::byte> text;
  append(text, files.size());
  for (const auto& file : files) append_file(text, file);
  std::string hex;
  for (const std::byte byte : wire::sha256(text)) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace sheaf::worker
