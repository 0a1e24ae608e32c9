// How an exchange finds its servers, at the beginning and again when a connection is lost or
// another process has taken the place of a server.
#include <algorithm>
#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "worker/client/lane_client.h"
#include "worker/client/push_pull.h"
#include "worker/client/shared_lane.h"

namespace sheaf::worker {
namespace {

// Whether the first is the same server in a newer life, or in the same one and now with a place.
bool is_news(const wire::ProcessInfo& server, const wire::ProcessInfo& known) {
  if (server.incarnation == known.incarnation) return known.ports.empty();
  return server.incarnation > known.incarnation;
}

}  // namespace

wire::ProcessInfo PushPull::server_of(const LaneClient& client) const {
  const std::lock_guard lock(mutex_);
  return servers_.at(client.lane().server);
}

net::Task<void> PushPull::join(LaneClient& client) {
  const params::LaneId lane = client.lane();
  const wire::ProcessInfo server = server_of(client);
  const ProcessId whom{Role::server, lane.server};
  throw_if_ended("connecting to", to_string(whom));
  if (server.incarnation == client.offered()) {
    fail(Fault::network, "{} is lost, and nobody has taken its place", to_string(whom));
  }
  if (server.ports.empty()) {
    fail(Fault::network, "{} is lost, and nobody has taken its place yet", to_string(whom));
  }
  client.join_to(server.incarnation);
  net::Credentials credentials = options_.credentials;
  credentials.self.lane = lane.lane;
  const net::Endpoint endpoint{server.address, server.ports.at(lane.lane)};
  // From here on, closing the connection ends whatever waits for it.
  net::Connection& connection = client.connection();
  co_await connection.connect(endpoint, options_.dead_limit);
  co_await net::greet(connection, credentials, whom, options_.dead_limit);
  const bool may_share = memory_.shared() && server.host_id == options_.host_id;
  const bool shares = shared_[shards_.index(lane)] != nullptr;
  if (started_ ? shares : may_share) {
    client.offer_to(server.incarnation);
    co_await share(client);
  }
  if (!client.closing()) client.attach();
}

// Who has once shared memory with a lane goes on so: its requests are in that conversation. If that
// cannot be, since the keeper is gone, too, this worker has to be replaced.
net::Task<void> PushPull::share(LaneClient& client) {
  const params::LaneId lane = client.lane();
  std::unique_ptr<SharedLane>& shared = shared_[shards_.index(lane)];
  if (shared) memory_.clear_rings(lane);
  auto offered = co_await memory_.offer(client.connection(), lane, options_.share_limit);
  if (!offered) client.offer_to(std::nullopt);  // it has declined
  if (offered && shared) {
    shared->resume(std::move(*offered));
  } else if (offered) {
    shared = std::make_unique<SharedLane>(*this, lane, std::move(*offered));
  } else if (shared) {
    fail(Fault::network, "server {} shares no memory, as the one before it did", lane.server);
  }
}

void PushPull::moved(const wire::ProcessInfo& server) {
  {
    const std::lock_guard lock(mutex_);
    wire::ProcessInfo& known = servers_.at(server.process.id);
    if (!is_news(server, known)) return;  // of the roster that it began with
    known = server;
  }
  for (const auto& client : clients_) {
    if (client->lane().server != server.process.id) continue;
    net::asio::post(client->context(),
                    [c = client.get(), n = server.incarnation] { c->move_to(n); });
  }
}

bool PushPull::can_rejoin(const LaneClient& client) const {
  if (options_.rejoin_limit == Duration{0} || !connects_ || shutdown_.ended()) return false;
  if (!client.offered()) return shared_[shards_.index(client.lane())] == nullptr;  // see share()
  return options_.servers_return;
}

// Who shares memory with a server cannot go on with another one on another host.
void PushPull::require_same_host(const LaneClient& client) const {
  if (!shared_[shards_.index(client.lane())]) return;
  const wire::ProcessInfo server = server_of(client);
  if (server.host_id == options_.host_id) return;
  fail(Fault::network, "{} goes on on {}, without the memory that was shared with it",
       to_string(server.process), server.host);
}

// Until the lane is attached. Throws when there has been no connection for too long.
net::Task<void> PushPull::reach(LaneClient& client) {
  while (true) {
    require_same_host(client);
    std::exception_ptr failure;
    try {
      co_await join(client);
    } catch (const net::Refused& refused) {
      if (refused.verdict() != wire::Verdict::not_expected) throw;  // somebody else has our place
      failure = std::current_exception();  // another server may listen where that one was
    } catch (const Error& error) {
      if (error.fault() != Fault::network) throw;
      failure = std::current_exception();
    }
    if (client.closing() || !failure) co_return;
    if (!can_rejoin(client)) std::rethrow_exception(failure);
    if (!client.lost_at()) {
      options_.warn(fmt::format("{}; it is tried again for up to {:.0f} s",
                                describe(failure).second, seconds(options_.rejoin_limit)));
    }
    if (std::chrono::steady_clock::now() - client.lost() > options_.rejoin_limit) {
      std::rethrow_exception(failure);
    }
    co_await client.pause();
    if (client.closing()) co_return;
  }
}

// In the lane's thread, which has lost its connection.
net::Task<void> PushPull::rejoin(LaneClient& client) {
  const bool again = client.lost_at().has_value();  // without a word from the server in between
  const TimePoint lost = client.lost();
  const auto& shared = shared_[shards_.index(client.lane())];
  if (shared) shared->suspend();
  if (again) co_await client.pause();
  if (client.closing()) co_return;
  co_await reach(client);
  if (client.closing()) co_return;
  options_.warn(fmt::format(
      "server {}, lane {}: lost ({}) and made again after {:.1f} s; {} requests are sent again",
      client.lane().server, client.lane().lane, client.why_lost(),
      seconds(std::chrono::steady_clock::now() - lost),
      shared ? shared->sent_again() : client.sent_again()));
  if (shared) client.answered();  // its answers come another way
}

void PushPull::connect(const std::vector<wire::ProcessInfo>& servers) {
  {
    const std::lock_guard lock(mutex_);
    for (const wire::ProcessInfo& server : servers) {
      wire::ProcessInfo& known = servers_.at(server.process.id);
      if (is_news(server, known)) known = server;
    }
  }
  connects_ = true;
  const cluster::Shutdown::Subscription on_end(shutdown_, [this] {
    if (options_.keeper != nullptr) options_.keeper->interrupt();
    close_connections();
  });
  throw_if_ended("connecting to", "the servers");
  if (options_.keeper != nullptr && pull_.identity()) {
    memory_.share(*options_.keeper, options_.credentials.self);
  }
  for (const auto& client : clients_) {
    bool done = false;
    std::exception_ptr failure;
    net::asio::co_spawn(client->context(), reach(*client), [&](std::exception_ptr error) {
      failure = error;
      done = true;
    });
    // Run only until this connection stands; its channel goes on when the threads start.
    while (!done) client->context().run_one();
    client->context().restart();
    throw_if_ended("connecting to", fmt::format("server {}", client->lane().server));
    if (failure) std::rethrow_exception(failure);
  }
  // Those that were lost while others were made are being made again.
  const auto lost = [](const auto& client) { return !client->attached(); };
  for (auto client = std::ranges::find_if(clients_, lost); client != clients_.end();
       client = std::ranges::find_if(clients_, lost)) {
    throw_if_ended("connecting to", fmt::format("server {}", (*client)->lane().server));
    (*client)->context().run_one();
    (*client)->context().restart();
  }
}

}  // namespace sheaf::worker
