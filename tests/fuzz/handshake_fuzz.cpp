// A stranger's bytes against both sides of the handshake: without the key nobody is ever welcome,
// and a broken message of a peer that has the key is refused, never a crash.
#include <cstdlib>
#include <cstring>

#include "common/wire/handshake.h"

namespace {

template <std::size_t N>
std::array<std::byte, N> take(const std::uint8_t*& data, std::size_t& size) {
  std::array<std::byte, N> bytes{};
  const std::size_t n = std::min(size, N);
  std::memcpy(bytes.data(), data, n);
  data += n;
  size -= n;
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sheaf::wire;
  const JobKey key{Digest{std::byte{1}}};
  const Identity self;
  const auto admit = [](const Identity&) { return Verdict::welcome; };

  const bool honest = size > 0 && (data[0] & 1) != 0;
  if (size > 0) ++data, --size;
  if (honest) {  // a real exchange in which the input flips bytes
    ClientHandshake client(key, self, Digest{std::byte{2}});
    ServerHandshake server(key, self, Digest{std::byte{3}});
    auto hello = client.greeting();
    auto reply = server.on_greeting(hello);
    if (!reply) std::abort();
    auto proof = client.on_greeting(*reply);
    if (!proof) std::abort();
    const auto mask = take<kProofBytes>(data, size);
    bool changed = false;
    for (std::size_t i = 0; i < mask.size(); ++i) {
      (*proof)[i] ^= mask[i];
      changed = changed || mask[i] != std::byte{0};
    }
    const auto result = server.on_proof(*proof, admit);
    if (result.answer.has_value() == changed) std::abort();
    if (!changed) {
      auto answer = *result.answer;
      const auto flips = take<kAnswerBytes>(data, size);
      bool broken = false;
      for (std::size_t i = 0; i < flips.size(); ++i) {
        answer[i] ^= flips[i];
        broken = broken || flips[i] != std::byte{0};
      }
      if (client.on_answer(answer).has_value() == broken) std::abort();
    }
    return 0;
  }
  ServerHandshake server(key, self, Digest{std::byte{3}});
  const auto hello = take<kGreetingBytes>(data, size);
  if (server.on_greeting(hello)) {
    if (begins_tls(hello) || refused_level(hello)) std::abort();  // it is one of the three at most
    if (server.on_proof(take<kProofBytes>(data, size), admit).answer) std::abort();
  }
  ClientHandshake client(key, self, Digest{std::byte{2}});
  if (client.on_greeting(take<kGreetingBytes>(data, size))) {
    const auto answer = take<kAnswerBytes>(data, size);
    (void)ClientHandshake::answer_follows(std::span(answer).first<kRefusalBytes>());
    if (client.on_answer(answer)) std::abort();
  }
  return 0;
}
