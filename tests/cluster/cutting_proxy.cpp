#include "tests/cluster/cutting_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>

namespace sheaf::threads {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// One connection on both sides, and what it may still say.
struct Pipe {
  int ends[2] = {-1, -1};
  std::size_t left = 0;
};

void reset(const Pipe& pipe) {
  const linger at_once{1, 0};
  for (const int end : pipe.ends) {
    ::setsockopt(end, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(end);
  }
}

// Passes on what one end has said, in part if that is all that is left. False: it is over.
bool pass(Pipe& pipe, int from) {
  std::array<char, 4096> bytes;
  const ssize_t got = ::recv(pipe.ends[from], bytes.data(), std::min(bytes.size(), pipe.left), 0);
  if (got <= 0) return false;
  for (ssize_t sent = 0; sent < got;) {
    const ssize_t n = ::send(pipe.ends[1 - from], bytes.data() + sent,
                             static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += n;
  }
  pipe.left -= static_cast<std::size_t>(got);
  return pipe.left != 0;
}

}  // namespace

CuttingProxy::CuttingProxy(std::uint16_t port, std::vector<std::size_t> cuts)
    : cuts_(std::move(cuts)), end_(::eventfd(0, 0)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 16) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no loopback port for a proxy");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::jthread([this, port] { run(port); });
}

CuttingProxy::~CuttingProxy() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(end_, &one, sizeof one);
  thread_.join();
  ::close(listener_);
  ::close(end_);
}

void CuttingProxy::run(std::uint16_t to) {
  std::vector<Pipe> pipes;
  std::size_t accepted = 0;
  while (true) {
    std::vector<pollfd> events = {{end_, POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Pipe& pipe : pipes) {
      for (const int end : pipe.ends) events.push_back({end, POLLIN, 0});
    }
    ::poll(events.data(), events.size(), -1);
    if (events[0].revents != 0) break;
    std::vector<Pipe> open;
    for (std::size_t i = 0; i < pipes.size(); ++i) {
      Pipe& pipe = pipes[i];
      const bool alive = (events[2 + 2 * i].revents == 0 || pass(pipe, 0)) &&
                         (events[3 + 2 * i].revents == 0 || pass(pipe, 1));
      if (!alive && pipe.left == 0) ++cut_;
      if (alive) {
        open.push_back(pipe);
      } else {
        reset(pipe);
      }
    }
    pipes = std::move(open);
    if (events[1].revents == 0) continue;
    Pipe pipe;
    pipe.left = accepted < cuts_.size() ? cuts_[accepted] : std::numeric_limits<std::size_t>::max();
    ++accepted;
    pipe.ends[0] = ::accept(listener_, nullptr, nullptr);
    pipe.ends[1] = ::socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(to);
    if (::connect(pipe.ends[1], reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      pipes.push_back(pipe);
    } else {
      reset(pipe);
    }
  }
  for (const Pipe& pipe : pipes) reset(pipe);
}

}  // namespace sheaf::threads
