#include "server/server_link.h"

#include <utility>

#include "common/base/error.h"

namespace sheaf::server {
namespace {

// A connection that is lost sooner has changed nothing: the other one takes us, but not what we
// send.
constexpr Duration kStands = std::chrono::seconds(1);
constexpr Duration kPause = std::chrono::milliseconds(50);  // between two tries

}  // namespace

ServerLink::ServerLink(Options options, net::asio::io_context& context, net::FrameHandler& handler,
                       cluster::Shutdown& shutdown)
    : options_(std::move(options)),
      context_(context),
      handler_(handler),
      shutdown_(shutdown),
      connection_(net::Socket(context), name()),
      pause_(context) {}

ServerLink::~ServerLink() = default;

void ServerLink::reconnect() {
  net::asio::co_spawn(context_, join(), [this](std::exception_ptr error) {
    if (error && !closing_) shutdown_.fail(error);
  });
}

// Until it stands. Throws when there has been none for too long, or when the other one knows a
// newer process in our place.
net::Task<void> ServerLink::join() {
  const TimePoint since = lost_at_.value_or(std::chrono::steady_clock::now());
  bool pauses = lost_at_ && *lost_at_ < attached_at_;  // it was made again, to no avail
  while (true) {
    if (pauses) {
      net::ErrorCode cancelled;
      pause_.expires_after(kPause);
      co_await pause_.async_wait(net::asio::redirect_error(net::asio::use_awaitable, cancelled));
      if (closing_) co_return;
    }
    pauses = true;
    const wire::ProcessInfo server = options_.server;
    std::exception_ptr failure;
    try {
      if (server.ports.empty()) fail(Fault::network, "{} is being replaced as well", name());
      // Named: g++ 12 frees a temporary of a co_await twice.
      const net::Endpoint endpoint{server.address, server.ports.at(options_.lane)};
      connection_ = net::Connection(net::Socket(context_), name());
      co_await connection_.connect(endpoint, options_.limit);
      co_await net::greet(connection_, options_.credentials, server.process, options_.limit);
    } catch (const net::Refused& refused) {
      if (refused.verdict() != wire::Verdict::not_expected) throw;
      failure = std::current_exception();  // another server may listen where that one was
    } catch (const Error& error) {
      if (error.fault() != Fault::network) throw;
      failure = std::current_exception();
    }
    if (closing_) co_return;
    if (!failure) co_return attach();
    const Duration tried = std::chrono::steady_clock::now() - since;
    if (tried > options_.patience) std::rethrow_exception(failure);
  }
}

void ServerLink::attach() {
  connection_.set_peer(name());
  channel_ = std::make_unique<net::FrameChannel>(
      std::move(connection_), handler_, [this](std::exception_ptr error) { on_closed(error); });
  options_.on_attached();
  channel_->start();
  attached_at_ = std::chrono::steady_clock::now();
  if (lost_at_ && options_.on_found) options_.on_found(why_lost_, attached_at_ - *lost_at_);
}

// Called by the channel, which therefore lives until the next turn.
void ServerLink::on_closed(std::exception_ptr error) {
  if (closing_) return;
  if (!error) {
    error = std::make_exception_ptr(
        net::ConnectionLost(Fault::network, fmt::format("connection to {}: closed by it", name()),
                            std::source_location::current()));
  }
  try {
    std::rethrow_exception(error);
  } catch (const net::ConnectionLost& lost) {
    if (options_.patience == Duration{0}) return shutdown_.fail(error);
    why_lost_ = lost.message();
  } catch (...) {
    return shutdown_.fail(error);
  }
  const TimePoint now = std::chrono::steady_clock::now();
  if (!lost_at_ || now - attached_at_ > kStands) lost_at_ = now;
  if (now - *lost_at_ > options_.patience) return shutdown_.fail(error);
  options_.on_lost();
  net::asio::post(context_, [this] {
    channel_.reset();
    if (!closing_) reconnect();
  });
}

void ServerLink::move_to(const wire::ProcessInfo& server) {
  const bool awaited = options_.server.ports.empty();  // then it is known by its number alone
  if (closing_ || server.incarnation < options_.server.incarnation) return;
  if (server.incarnation == options_.server.incarnation && !awaited) return;
  options_.server = server;
  lost_at_.reset();                        // nothing was lost of this one yet
  if (channel_) return channel_->close();  // what it is connected to has ended, or is stopped
  connection_.close();                     // the next try goes there
}

void ServerLink::wake() {
  if (channel_) channel_->wake();
}

void ServerLink::close() {
  closing_ = true;
  pause_.cancel();
  connection_.close();
  if (channel_) channel_->close();
}

}  // namespace sheaf::server
