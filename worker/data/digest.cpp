#include "worker/data/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

constexpr std::uint64_t kEdge = 64 * 1024;  // bytes hashed at each end of a file

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    check(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "SHA-256");
  }
  void add(const void* bytes, std::size_t size) {
    check(EVP_DigestUpdate(context_.get(), bytes, size) == 1, "SHA-256");
  }
  void add(std::uint64_t value) {
    std::array<unsigned char, 8> bytes{};  // little-endian, whatever the machine
    for (auto& byte : bytes) {
      byte = static_cast<unsigned char>(value & 0xFF);
      value >>= 8;
    }
    add(bytes.data(), bytes.size());
  }
  std::string hex() {
    std::array<unsigned char, 32> digest{};
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1, "SHA-256");
    std::string text;
    for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

void add_range(Sha256& hash, std::ifstream& in, const std::filesystem::path& path,
               std::uint64_t begin, std::uint64_t size) {
  std::string bytes(size, '\0');
  in.seekg(static_cast<std::streamoff>(begin));
  if (!in.read(bytes.data(), static_cast<std::streamsize>(size))) {
    fail(Fault::data, "{}: cannot be read: {}", path.string(), std::strerror(errno));
  }
  hash.add(bytes.data(), bytes.size());
}

void add_file(Sha256& hash, const std::filesystem::path& path) {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in) {
    fail(Fault::data, "{}: cannot be opened: {}", path.string(),
         error ? error.message() : std::strerror(errno));
  }
  hash.add(size);
  const std::uint64_t head = std::min(size, kEdge);
  const std::uint64_t tail = std::min(size - head, kEdge);
  add_range(hash, in, path, 0, head);
  add_range(hash, in, path, size - tail, tail);
}

}  // namespace

std::string data_digest(const Source& source) {
  Sha256 hash;
  const auto files = source.files();
  hash.add(files.size());
  for (const auto& file : files) add_file(hash, file);
  return hash.hex();
}

}  // namespace sheaf::worker
