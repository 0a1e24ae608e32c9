#include "tests/hosts/capture.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <future>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace sheaf::harness {
namespace {

constexpr std::size_t kLargestPacket = std::size_t{1} << 17;  // one that is still to be cut, too
constexpr int kWaiting = 128 << 20;                           // bytes of packets

// Every packet that comes into the network of the calling thread, from any of its devices.
int open_socket() {
  const int socket = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
  const int yes = 1;
  // What the bridge passes on has come in before.
  if (::setsockopt(socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) != 0 ||
      ::setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &kWaiting, sizeof kWaiting) != 0) {
    throw std::runtime_error("cannot listen to the network of the test hosts");
  }
  return socket;
}

// The start of a frame: its magic, a type, a status and the round, which is 0. The magic alone
// turns up in a gigabyte of random bytes.
bool starts_frame(std::string_view bytes) {
  return bytes.size() >= 8 && bytes[4] >= 1 && bytes[4] <= 14 && bytes[5] >= 0 && bytes[5] <= 2 &&
         bytes[6] == 0 && bytes[7] == 0;
}

}  // namespace

Capture::Capture(const TestHosts& hosts) : end_(::eventfd(0, EFD_CLOEXEC)) {
  std::promise<void> listening;
  auto listens = listening.get_future();
  thread_ = std::jthread([this, &hosts, &listening] {
    std::optional<Descriptor> socket;
    try {
      hosts.enter_bridge();
      socket.emplace(open_socket());
    } catch (...) {
      return listening.set_exception(std::current_exception());
    }
    listening.set_value();
    listen(socket->get());
  });
  listens.get();
}

Capture::~Capture() { stop(); }

Capture::Seen Capture::stop() {
  if (thread_.joinable()) {
    ::eventfd_write(end_.get(), 1);
    thread_.join();
  }
  return seen_;
}

void Capture::listen(int socket) {
  std::vector<char> packet(kLargestPacket);
  std::array<pollfd, 2> events{{{socket, POLLIN, 0}, {end_.get(), POLLIN, 0}}};
  while (::poll(events.data(), events.size(), -1) > 0) {
    // What had come when the end did is looked through still.
    for (ssize_t n = 0; (n = ::recv(socket, packet.data(), packet.size(), MSG_DONTWAIT)) >= 0;) {
      look_through({packet.data(), static_cast<std::size_t>(n)});
    }
    if (events[1].revents != 0) break;
  }
  tpacket_stats counts{};
  socklen_t size = sizeof counts;
  ::getsockopt(socket, SOL_PACKET, PACKET_STATISTICS, &counts, &size);
  seen_.lost = counts.tp_drops;
}

void Capture::look_through(std::string_view packet) {
  seen_.bytes += packet.size();
  for (std::size_t at = packet.find("SHF1"); at != packet.npos; at = packet.find("SHF1", at + 4)) {
    if (!starts_frame(packet.substr(at))) continue;
    ++seen_.in_clear["frame " + std::to_string(static_cast<int>(packet[at + 4]))];
  }
  for (const char* word : {"SHEAF-HI", "SHEAF-OK", "SHEAF-NO"}) {
    if (packet.find(word) != packet.npos) ++seen_.in_clear[word];
  }
}

}  // namespace sheaf::harness
