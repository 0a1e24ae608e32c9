#include "tests/hosts/meddler.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <exception>
#include <future>
#include <stdexcept>
#include <string>

namespace sheaf::harness {
namespace {

constexpr const char* kBridge = "10.77.0.254";
constexpr const char* kTable = "77";

std::string address_of(unsigned host) { return "10.77.0." + std::to_string(host); }

sockaddr_in endpoint(const std::string& address, std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  return at;
}

const sockaddr* generic(const sockaddr_in& at) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&at));
}

// Takes connections to an address that is not of this host.
int listen_as(const sockaddr_in& at) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::setsockopt(socket, SOL_IP, IP_TRANSPARENT, &yes, sizeof yes) != 0 ||
      ::bind(socket, generic(at), sizeof at) != 0 || ::listen(socket, 16) != 0) {
    throw std::runtime_error("nobody can stand between the test hosts");
  }
  return socket;
}

}  // namespace

Meddler::Meddler(const TestHosts& hosts, unsigned from, unsigned to, std::uint16_t port)
    : hosts_(hosts), to_(to), port_(port), end_(::eventfd(0, EFD_CLOEXEC)) {
  const std::string there = address_of(to);
  const std::vector<std::string> these = {
      "to", there, "ipproto", kTcp, "dport", std::to_string(port), "lookup", kTable};
  const auto rule = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"ip", "rule", "add", "priority", "5"});
    words.insert(words.end(), these.begin(), these.end());
    return words;
  };
  hosts.run_on_bridge({"ip", "address", "add", std::string(kBridge) + "/24", "dev", "bridge"});
  hosts.run_on_bridge({"ip", "route", "add", "local", there, "dev", "lo", "table", kTable});
  hosts.run_on_bridge(rule({"iif", "bridge"}));
  std::promise<void> listening;
  auto listens = listening.get_future();
  accepting_ = std::jthread([this, there, &listening] {
    std::optional<Descriptor> listener;
    try {
      hosts_.enter_bridge();
      listener.emplace(listen_as(endpoint(there, port_)));
    } catch (...) {
      return listening.set_exception(std::current_exception());
    }
    listening.set_value();
    accept_all(listener->get());
  });
  listens.get();
  hosts.run(from, {"ip", "route", "add", there, "via", kBridge, "dev", "eth0", "table", kTable});
  hosts.run(from, rule({}));
}

Meddler::~Meddler() {
  ::eventfd_write(end_.get(), 1);
  accepting_.join();
  for (const Descriptor& socket : sockets_) ::shutdown(socket.get(), SHUT_RDWR);
}

void Meddler::strike(Direction direction) { armed_[static_cast<int>(direction)] = true; }

void Meddler::accept_all(int listener) {
  std::array<pollfd, 2> events{{{listener, POLLIN, 0}, {end_.get(), POLLIN, 0}}};
  while (::poll(events.data(), events.size(), -1) > 0 && events[1].revents == 0) {
    const int near =
        sockets_.emplace_back(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)).get();
    const int far = sockets_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)).get();
    const sockaddr_in at = endpoint(address_of(to_), port_);
    if (::connect(far, generic(at), sizeof at) != 0) {
      ::shutdown(near, SHUT_RDWR);
      continue;
    }
    passing_.emplace_back([this, near, far] { pass(near, far, Direction::forth); });
    passing_.emplace_back([this, near, far] { pass(far, near, Direction::back); });
  }
}

void Meddler::pass(int from, int to, Direction direction) {
  std::array<char, 1 << 16> bytes;
  for (ssize_t n = 0; (n = ::recv(from, bytes.data(), bytes.size(), 0)) > 0;) {
    if (armed_[static_cast<int>(direction)].exchange(false)) {
      // The last one: hardly ever of a length, which would only let the reader wait for more.
      bytes[static_cast<std::size_t>(n) - 1] ^= '\x01';
      struck_ = true;
    }
    for (ssize_t sent = 0; sent < n;) {
      const ssize_t more =
          ::send(to, bytes.data() + sent, static_cast<std::size_t>(n - sent), MSG_NOSIGNAL);
      if (more < 0) return;
      sent += more;
    }
  }
  ::shutdown(to, SHUT_WR);
}

}  // namespace sheaf::harness
