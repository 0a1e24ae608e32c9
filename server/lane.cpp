#include "server/lane.h"

#include <future>
#include <memory>

#include "common/base/error.h"
#include "server/session.h"

namespace sheaf::server {
namespace {

// Strangers that may be in their handshake at once; each costs a few hundred bytes and a socket.
constexpr std::size_t kStrangers = 64;

}  // namespace

Lane::Lane(Options options, cluster::Shutdown& shutdown)
    : options_(std::move(options)),
      shutdown_(shutdown),
      incarnations_(options_.workers, 0),
      watch_(context_) {
  options_.credentials.self.lane = options_.id;
}

Lane::~Lane() = default;

net::Endpoint Lane::bind(const std::string& address, net::PortRange ports) {
  listener_ = std::make_unique<net::Listener>(context_, address, ports);
  return listener_->endpoint();
}

void Lane::open(const ShardParts& parts) { shard_ = std::make_unique<Shard>(parts, *this); }

void Lane::run() {
  auto work = net::asio::make_work_guard(context_);
  const cluster::Shutdown::Subscription on_end(shutdown_, [&] {
    net::asio::post(context_, [&] {
      close_all();
      work.reset();
    });
  });
  if (listener_) {
    net::asio::co_spawn(context_, accept_loop(), [this](std::exception_ptr error) {
      if (error && !closing_) shutdown_.fail(error);
    });
  }
  if (options_.scalar_limit > Duration{0}) {
    net::asio::co_spawn(context_, watch_scalars(), [this](std::exception_ptr error) {
      if (error) shutdown_.fail(error);
    });
  }
  context_.run();
}

net::Task<void> Lane::accept_loop() {
  while (!closing_) {
    net::Connection connection = co_await listener_->accept(options_.silence_limit);
    if (strangers_ == kStrangers) continue;  // dropped: its destructor closes it
    net::asio::co_spawn(context_, receive(std::move(connection)), [this](std::exception_ptr error) {
      if (error) shutdown_.fail(error);
    });
  }
}

net::Task<void> Lane::receive(net::Connection connection) {
  ++strangers_;
  try {
    const wire::Identity peer = co_await net::receive_greeting(
        connection, options_.credentials,
        [this](const wire::Identity& client) { return admit(client); }, options_.handshake_limit);
    --strangers_;
    if (closing_) co_return;
    connection.set_peer(to_string(peer.process));
    if (peer.process.role == Role::server) {
      options_.on_server(std::move(connection), peer.process);
    } else {
      adopt(std::move(connection), peer.process);
    }
  } catch (const Error& error) {
    --strangers_;
    ++refused_;
    // A port scan must not fill the log: powers of two only.
    if (!closing_ && (refused_ & (refused_ - 1)) == 0) {
      options_.warn(fmt::format("refused a connection to lane {}: {} (x{})", options_.id,
                                error.message(), refused_));
    }
  }
}

wire::Verdict Lane::admit(const wire::Identity& client) {
  const std::uint32_t id = client.process.id;
  if (client.epoch != options_.credentials.self.epoch) return wire::Verdict::stale;
  if (client.lane != options_.id) return wire::Verdict::not_expected;
  if (client.process.role == Role::server) {
    const bool expected = options_.on_server && id < options_.servers;
    return expected ? wire::Verdict::welcome : wire::Verdict::not_expected;
  }
  if (client.process.role != Role::worker || id >= options_.workers) {
    return wire::Verdict::not_expected;
  }
  if (client.incarnation < incarnations_[id]) return wire::Verdict::stale;
  incarnations_[id] = client.incarnation;
  return wire::Verdict::welcome;
}

void Lane::adopt(net::Connection connection, ProcessId worker) {
  for (const auto& session : sessions_) {
    if (session && session->peer() == worker) session->close();  // its newer self has come
  }
  std::size_t id = 0;
  while (id < sessions_.size() && sessions_[id]) ++id;
  if (id == sessions_.size()) sessions_.emplace_back();
  sessions_[id] = std::make_unique<Session>(
      static_cast<SessionId>(id), worker, std::move(connection), *shard_,
      [this](Session& session, std::exception_ptr error) { on_closed(session, error); });
  sessions_[id]->start();
}

void Lane::on_closed(Session& session, std::exception_ptr error) {
  shard_->on_closed(session.id());
  if (error && !closing_) {
    // A worker that is gone is the coordinator's to judge; one that breaks the rules ends the job,
    // as does a sum that is not finite, to which every worker has added.
    try {
      std::rethrow_exception(error);
    } catch (const net::ConnectionLost& lost) {
      options_.warn(fmt::format("lane {}: {}", options_.id, lost.message()));
    } catch (...) {
      const auto [fault, text] = describe(error);
      if (fault != Fault::network) return shutdown_.fail(error);
      shutdown_.fail(std::make_exception_ptr(cluster::PeerFault(
          session.peer(), fault,
          fmt::format("{}, noticed by {}", text, to_string(options_.credentials.self.process)),
          std::source_location::current())));
    }
  }
  // The channel that calls us is a member of the session: let it return first.
  net::asio::post(context_, [this, id = session.id()] { sessions_[id].reset(); });
}

void Lane::close_all() {
  closing_ = true;
  watch_.cancel();
  if (listener_) listener_->close();
  for (const auto& session : sessions_) {
    if (session) session->close();
  }
}

net::Task<void> Lane::watch_scalars() {
  std::optional<Step> waiting;
  while (!closing_) {
    net::ErrorCode cancelled;
    watch_.expires_after(options_.scalar_limit);
    co_await watch_.async_wait(net::asio::redirect_error(net::asio::use_awaitable, cancelled));
    if (closing_) break;
    const auto now = shard_->scalar_wait();
    if (now && waiting == now->step) {
      fail(Fault::network,
           "step {} has waited {:.1f} s for the step scalars of server {} (chunk {})", now->step,
           seconds(options_.scalar_limit), now->server, now->chunk);
    }
    waiting = now ? std::optional(now->step) : std::nullopt;
  }
}

void Lane::reply(SessionId session, wire::OutFrame frame) {
  if (session < sessions_.size() && sessions_[session]) sessions_[session]->send(std::move(frame));
}

void Lane::share_scalar(Step step, std::uint32_t chunk, double value) {
  options_.share_scalar(step, chunk, value);
}

void Lane::add_scalar(Step step, std::uint32_t chunk, double value) {
  net::asio::post(context_, [this, step, chunk, value] {
    if (closing_) return;
    try {
      shard_->on_scalar(step, chunk, value);
    } catch (...) {
      shutdown_.fail(std::current_exception());
    }
  });
}

std::string Lane::waiting_for(Duration limit) {
  auto answer = std::make_shared<std::promise<std::string>>();
  auto future = answer->get_future();
  net::asio::post(context_, [this, answer] { answer->set_value(shard_->waiting_for()); });
  if (future.wait_for(limit) != std::future_status::ready) return {};
  return future.get();
}

}  // namespace sheaf::server
