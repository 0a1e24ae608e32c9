// What goes between the keeper and its clients after the handshake: one fixed-size request, one
// fixed-size answer, each with at most one descriptor beside it. Between processes of one host and
// one build, so in the machine's own byte order.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "common/base/clock.h"
#include "common/net/shared_memory.h"

namespace sheaf::cluster {

enum class KeeperWish : std::uint32_t { memory = 1, put = 2, get = 3, forget = 4, end = 5 };

struct KeeperRequest {
  KeeperWish wish{};
  std::uint32_t reserved = 0;
  std::uint64_t bytes = 0;
  std::array<char, 48> name{};
};

struct KeeperAnswer {
  std::uint32_t fault = 0;  // 0: done
  std::array<char, 252> text{};
};

template <std::size_t size>
void set_text(std::array<char, size>& into, const std::string& text) {
  const std::size_t n = text.copy(into.data(), size - 1);
  into[n] = 0;
}
template <std::size_t size>
std::string get_text(const std::array<char, size>& from) {
  std::size_t n = 0;
  while (n < size && from[n] != 0) ++n;
  return {from.data(), n};
}

// Sends one message and, unless empty, one descriptor. Throws Fault::network.
void send_message(int socket, const void* message, std::size_t bytes,
                  const net::Descriptor& descriptor);
// Receives one message and what came with it; waits at most `limit`. Returns false if the peer has
// closed. Throws Fault::network.
bool receive_message(int socket, void* message, std::size_t bytes, net::Descriptor& descriptor,
                     Duration limit);

}  // namespace sheaf::cluster
