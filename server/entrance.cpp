#include "server/entrance.h"

#include <utility>

#include "common/base/error.h"

namespace sheaf::server {
namespace {

// Strangers that may be in their handshake at once; each costs a few hundred bytes and a socket.
constexpr std::size_t kStrangers = 64;

// One more for as long as it lives.
class Counted {
 public:
  explicit Counted(std::size_t& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::size_t& count_;
};

}  // namespace

Entrance::Entrance(Options options, net::asio::io_context& context, Door& door,
                   cluster::Shutdown& shutdown)
    : options_(std::move(options)), context_(context), door_(door), shutdown_(shutdown) {}

net::Endpoint Entrance::bind(const std::string& address, net::PortRange ports) {
  listener_ = std::make_unique<net::Listener>(context_, address, ports);
  return listener_->endpoint();
}

void Entrance::open() {
  if (!listener_ || closing_) return;
  net::asio::co_spawn(context_, accept_loop(), [this](std::exception_ptr error) {
    if (error && !closing_) shutdown_.fail(error);
  });
}

void Entrance::close() {
  closing_ = true;
  if (listener_) listener_->close();
}

net::Task<void> Entrance::accept_loop() {
  while (!closing_) {
    net::Connection connection = co_await listener_->accept(options_.silence_limit);
    if (strangers_ == kStrangers) continue;  // dropped: its destructor closes it
    net::asio::co_spawn(context_, receive(std::move(connection)), [this](std::exception_ptr error) {
      if (error) shutdown_.fail(error);
    });
  }
}

net::Task<void> Entrance::receive(net::Connection connection) {
  try {
    const wire::Identity peer = co_await greet(connection);
    if (closing_) co_return;
    connection.set_peer(to_string(peer.process));
    options_.enter(std::move(connection), peer);
  } catch (const Error& error) {
    ++refused_;
    // A port scan must not fill the log: powers of two only.
    if (!closing_ && (refused_ & (refused_ - 1)) == 0) {
      options_.warn(fmt::format("refused a connection to lane {}: {} (x{})",
                                options_.credentials.self.lane, error.message(), refused_));
    }
  }
}

net::Task<wire::Identity> Entrance::greet(net::Connection& connection) {
  const Counted stranger(strangers_);
  const wire::Identity peer = co_await net::receive_greeting(
      connection, options_.credentials,
      [this](const wire::Identity& client) { return door_.admit(client); },
      options_.handshake_limit);
  if (door_.admit(peer) != wire::Verdict::welcome) {
    fail(Fault::network, "{} has a newer self, which has come meanwhile", to_string(peer.process));
  }
  co_return peer;
}

}  // namespace sheaf::server
