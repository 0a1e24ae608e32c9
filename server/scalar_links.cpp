#include "server/scalar_links.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <map>
#include <optional>

#include "common/base/error.h"
#include "common/net/frame_channel.h"
#include "server/door.h"
#include "server/server_link.h"

namespace sheaf::server {

// One of the two is used: a link of our own, or connections that the peer has made.
class ScalarLinks::Link final : public net::FrameHandler {
 public:
  Link(ScalarLinks& owner, const wire::ProcessInfo& peer) : owner_(owner), peer_(peer.process) {
    if (peer.process.id > owner.options_.credentials.self.process.id) return;
    net::Credentials credentials = owner.options_.credentials;
    credentials.self.lane = kScalarLane;
    own_.emplace(
        ServerLink::Options{.server = peer,
                            .lane = 0,
                            .credentials = credentials,
                            .limit = owner.options_.limit,
                            .patience = owner.options_.patience,
                            .on_attached = [this] { on_connected(); },
                            .on_lost = [this] { connected_ = false; },
                            .on_found =
                                [this](const std::string& why, Duration without) {
                                  owner_.options_.warn(fmt::format(
                                      "step scalars: {}: lost ({}) and found again after {:.1f} s",
                                      to_string(peer_), why, seconds(without)));
                                }},
        owner.context_, *this, owner.shutdown_);
    own_->start();
  }

  ProcessId peer() const { return peer_; }

  void accept(net::Connection connection) {
    for (const auto& [number, channel] : accepted_) channel->close();
    const std::uint64_t number = ++accepted_count_;
    auto& channel = accepted_[number];
    channel = std::make_unique<net::FrameChannel>(
        std::move(connection), *this,
        [this, number](std::exception_ptr error) { on_closed(number, error); });
    on_connected();
    channel->start();
  }

  void move_to(const wire::ProcessInfo& server) {
    if (own_) own_->move_to(server);
  }

  void send(const wire::Header& header) {
    if (!connected_) return;
    outbox_.push_back({header, {}, {}, false});
    if (own_) own_->wake();
    if (!accepted_.empty()) accepted_.rbegin()->second->wake();
  }

  void close() {
    if (own_) own_->close();
    for (const auto& [number, channel] : accepted_) channel->close();
  }

  // net::FrameHandler
  std::span<std::byte> receive_into(const wire::Header& header) override {
    if (header.type != wire::FrameType::scalars || header.payload_bytes != 0) {
      fail(Fault::network, "{} of {} bytes from {}, expected scalars without payload",
           to_string(header.type), header.payload_bytes, to_string(peer_));
    }
    return {};
  }
  void on_frame(const wire::Header& header) override {
    owner_.options_.deliver(header.step, header.chunk, std::bit_cast<double>(header.value));
  }
  std::optional<wire::OutFrame> next_frame() override {
    if (outbox_.empty()) return std::nullopt;
    wire::OutFrame frame = std::move(outbox_.front());
    outbox_.pop_front();
    return frame;
  }

 private:
  void on_connected() {
    outbox_.clear();
    connected_ = true;
    owner_.options_.on_connected();
  }

  // Called by the channel, which therefore lives until the next turn. A peer that is gone is the
  // coordinator's to judge, and comes back.
  void on_closed(std::uint64_t number, std::exception_ptr error) {
    if (number == accepted_count_) connected_ = false;
    try {
      if (error && !owner_.closing_) std::rethrow_exception(error);
    } catch (const net::ConnectionLost& lost) {
      owner_.options_.warn(fmt::format("step scalars: {}", lost.message()));
    } catch (...) {
      owner_.shutdown_.fail(error);
    }
    net::asio::post(owner_.context_, [this, number] { accepted_.erase(number); });
  }

  ScalarLinks& owner_;
  const ProcessId peer_;
  bool connected_ = false;
  std::deque<wire::OutFrame> outbox_;
  std::optional<ServerLink> own_;
  // All but the newest are about to end.
  std::map<std::uint64_t, std::unique_ptr<net::FrameChannel>> accepted_;
  std::uint64_t accepted_count_ = 0;
};

ScalarLinks::ScalarLinks(Options options, net::asio::io_context& context,
                         cluster::Shutdown& shutdown)
    : options_(std::move(options)), context_(context), shutdown_(shutdown) {}

ScalarLinks::~ScalarLinks() = default;

void ScalarLinks::open(const std::vector<wire::ProcessInfo>& servers) {
  for (const wire::ProcessInfo& info : servers) {
    if (info.process == options_.credentials.self.process) continue;
    links_.push_back(std::make_unique<Link>(*this, info));
  }
}

ScalarLinks::Link* ScalarLinks::find(ProcessId peer) {
  const auto link = std::ranges::find_if(links_, [&](const auto& l) { return l->peer() == peer; });
  return link == links_.end() ? nullptr : link->get();
}

void ScalarLinks::accept(net::Connection connection, ProcessId peer) {
  Link* const link = find(peer);
  if (link != nullptr && !closing_) link->accept(std::move(connection));
}

void ScalarLinks::move_to(const wire::ProcessInfo& server) {
  Link* const link = find(server.process);
  if (link != nullptr && !closing_) link->move_to(server);
}

void ScalarLinks::share(Step step, std::uint32_t chunk, double value) {
  wire::Header header;
  header.type = wire::FrameType::scalars;
  header.step = step;
  header.chunk = chunk;
  header.value = std::bit_cast<std::uint64_t>(value);
  net::asio::post(context_, [this, header] {
    for (const auto& link : links_) link->send(header);
  });
}

void ScalarLinks::close() {
  closing_ = true;
  for (const auto& link : links_) link->close();
}

}  // namespace sheaf::server
