#include "launcher/doctor/probe_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kGreeting{5000};  // for the first bytes of who has connected
constexpr milliseconds kEnd{2000};       // for an exchange to end here that has ended there
// The first bytes of a connection: how long to exchange, in milliseconds; 0 was only to connect.
using Order = std::uint32_t;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

sockaddr_in to_sockaddr(const std::string& address, std::uint16_t port) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  if (::inet_pton(AF_INET, address.c_str(), &name.sin_addr) != 1) {
    fail(Fault::config, "{} is no numeric IPv4 address", address);
  }
  return name;
}

sockaddr* generic(sockaddr_in& name) { return reinterpret_cast<sockaddr*>(&name); }

ProbeEndpoint local_endpoint(int socket) {
  sockaddr_in name{};
  socklen_t length = sizeof name;
  ::getsockname(socket, generic(name), &length);
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &name.sin_addr, text.data(), text.size());
  return {text.data(), ntohs(name.sin_port)};
}

Socket new_socket() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) fail(Fault::internal, "socket: {}", std::strerror(errno));
  return Socket(fd);
}

int left_until(steady_clock::time_point end) {
  const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now()).count();
  return static_cast<int>(std::max<milliseconds::rep>(0, left));
}

// Begins to connect; the error, if it has failed already.
int begin(int socket, const ProbeEndpoint& endpoint) {
  sockaddr_in name = to_sockaddr(endpoint.address, endpoint.port);
  if (::connect(socket, generic(name), sizeof name) == 0) return 0;
  return errno == EINPROGRESS ? 0 : errno;
}

int outcome(int socket) {
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}

std::string no_answer(milliseconds limit) {
  return fmt::format("no answer within {:.1f} s", 1e-3 * static_cast<double>(limit.count()));
}

Socket connect(const ProbeEndpoint& endpoint, milliseconds limit) {
  Socket socket = new_socket();
  const auto end = steady_clock::now() + limit;
  int error = begin(socket.get(), endpoint);
  pollfd event{socket.get(), POLLOUT, 0};
  const bool late = error == 0 && ::poll(&event, 1, left_until(end)) <= 0;
  if (error == 0 && !late) error = outcome(socket.get());
  if (late || error != 0) {
    fail(Fault::network, "{}:{}: {}", endpoint.address, endpoint.port,
         late ? no_answer(limit) : std::strerror(error));
  }
  return socket;
}

// Both directions at once, until `duration` has passed or the other side has ended it. What is
// still on its way then is thrown away.
double exchange_over(int socket, milliseconds duration) {
  static std::array<char, 1 << 18> zeros{};
  std::vector<char> in(1 << 18);
  const auto begun = steady_clock::now();
  const auto end = begun + duration;
  double bytes = 0;
  bool open = true;
  while (open && steady_clock::now() < end) {
    pollfd event{socket, POLLIN | POLLOUT, 0};
    if (::poll(&event, 1, left_until(end)) <= 0) break;
    if ((event.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      const ssize_t n = ::recv(socket, in.data(), in.size(), 0);
      open = n > 0 || (n < 0 && errno == EAGAIN);
      bytes += static_cast<double>(std::max<ssize_t>(n, 0));
    }
    if (open && (event.revents & POLLOUT) != 0) {
      open = ::send(socket, zeros.data(), zeros.size(), MSG_NOSIGNAL) > 0 || errno == EAGAIN;
    }
  }
  const linger at_once{1, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  return bytes / std::chrono::duration<double>(steady_clock::now() - begun).count();
}

}  // namespace

ProbeNetwork::ProbeNetwork() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_ < 0) fail(Fault::internal, "eventfd: {}", std::strerror(errno));
  thread_ = std::jthread([this] { accept_loop(); });
}

ProbeNetwork::~ProbeNetwork() {
  ending_ = true;
  ::eventfd_write(wake_, 1);
  thread_.join();
  for (const int listener : listeners_) ::close(listener);
  ::close(wake_);
}

ProbeEndpoint ProbeNetwork::listen(const std::string& address, std::uint16_t first,
                                   std::uint16_t last) {
  int error = 0;
  for (unsigned port = first; port <= last; ++port) {
    Socket socket = new_socket();
    const int yes = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in name = to_sockaddr(address, static_cast<std::uint16_t>(port));
    if (::bind(socket.get(), generic(name), sizeof name) != 0 ||
        ::listen(socket.get(), SOMAXCONN) != 0) {
      error = errno;
      continue;
    }
    const ProbeEndpoint endpoint = local_endpoint(socket.get());
    const std::lock_guard lock(mutex_);
    listeners_.push_back(socket.release());
    ::eventfd_write(wake_, 1);
    return endpoint;
  }
  fail(Fault::network, "cannot listen on {} port {}-{}: {}", address, first, last,
       std::strerror(error));
}

double ProbeNetwork::received() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kEnd, [this] { return received_.has_value(); })) {
    fail(Fault::network, "no exchange has come in");
  }
  return *std::exchange(received_, std::nullopt);
}

void ProbeNetwork::accept_loop() {
  while (!ending_) {
    std::vector<pollfd> events{{wake_, POLLIN, 0}};
    {
      const std::lock_guard lock(mutex_);
      for (const int listener : listeners_) events.push_back({listener, POLLIN, 0});
    }
    ::poll(events.data(), events.size(), -1);
    eventfd_t news = 0;
    ::eventfd_read(wake_, &news);
    for (std::size_t i = 1; i < events.size() && !ending_; ++i) {
      if (events[i].revents == 0) continue;
      const Socket socket(::accept4(events[i].fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (socket.get() >= 0) serve(socket.get());
    }
  }
}

void ProbeNetwork::serve(int socket) {
  const milliseconds patience = ending_ ? milliseconds(0) : kGreeting;
  pollfd event{socket, POLLIN, 0};
  Order order = 0;
  if (::poll(&event, 1, static_cast<int>(patience.count())) <= 0) return;
  if (::recv(socket, &order, sizeof order, 0) != sizeof order || order == 0) return;
  const double rate = exchange_over(socket, milliseconds(std::min<Order>(order, 10'000)));
  const std::lock_guard lock(mutex_);
  received_ = rate;
  changed_.notify_all();
}

std::vector<std::string> reach(const std::vector<ProbeEndpoint>& endpoints, milliseconds limit) {
  const auto end = steady_clock::now() + limit;
  std::vector<Socket> sockets;
  std::vector<std::string> reasons(endpoints.size(), no_answer(limit));
  std::vector<pollfd> events;
  std::size_t waiting = 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    sockets.push_back(new_socket());
    const int error = begin(sockets[i].get(), endpoints[i]);
    if (error != 0) reasons[i] = std::strerror(error);
    events.push_back({error == 0 ? sockets[i].get() : -1, POLLOUT, 0});  // poll skips -1
    waiting += error == 0 ? 1 : 0;
  }
  while (waiting > 0 && ::poll(events.data(), events.size(), left_until(end)) > 0) {
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (events[i].fd < 0 || events[i].revents == 0) continue;
      const int error = outcome(events[i].fd);
      reasons[i] = error == 0 ? "" : std::strerror(error);
      events[i].fd = -1;
      --waiting;
    }
  }
  return reasons;
}

double exchange(const ProbeEndpoint& endpoint, milliseconds duration) {
  const Socket socket = connect(endpoint, kGreeting);
  const auto order = static_cast<Order>(duration.count());
  if (::send(socket.get(), &order, sizeof order, MSG_NOSIGNAL) != sizeof order) {
    fail(Fault::network, "{}:{}: {}", endpoint.address, endpoint.port, std::strerror(errno));
  }
  return exchange_over(socket.get(), duration);
}

std::string address_towards(const ProbeEndpoint& endpoint, milliseconds limit) {
  return local_endpoint(connect(endpoint, limit).get()).address;
}

}  // namespace sheaf::launcher
