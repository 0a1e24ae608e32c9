#include "common/privacy/noise/input_tag.h"

#include <openssl/evp.h>

#include "common/base/error.h"

namespace sheaf::privacy {
namespace {

struct FreeContext {
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MAC_CTX, FreeContext>;

}  // namespace

struct InputTag::Library {
  Context ready;  // with its key, before the first byte; copied for each message
};

InputTag::InputTag(const wire::JobKey& key) : library_(std::make_unique<Library>()) {
  EVP_MAC* const poly1305 = EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
  if (poly1305 == nullptr) {
    fail(Fault::internal, "OpenSSL has no Poly1305, which keys the noise of private training");
  }
  library_->ready.reset(EVP_MAC_CTX_new(poly1305));
  EVP_MAC_free(poly1305);  // the context keeps it
  const auto* bytes = reinterpret_cast<const unsigned char*>(key.bytes().data());
  check(library_->ready && EVP_MAC_init(library_->ready.get(), bytes, key.bytes().size(), nullptr),
        "Poly1305 takes a key of 32 bytes");
}

InputTag::~InputTag() = default;

InputTag::Tag InputTag::of(std::span<const std::byte> bytes) const {
  const Context context(EVP_MAC_CTX_dup(library_->ready.get()));
  Tag tag;
  std::size_t size = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  auto* out = reinterpret_cast<unsigned char*>(tag.data());
  check(context && EVP_MAC_update(context.get(), data, bytes.size()) &&
            EVP_MAC_final(context.get(), out, &size, tag.size()) && size == tag.size(),
        "Poly1305 gives 16 bytes");
  return tag;
}

}  // namespace sheaf::privacy
