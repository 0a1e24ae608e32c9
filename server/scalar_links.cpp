#include "server/scalar_links.h"

#include <algorithm>
#include <bit>
#include <deque>

#include "common/base/error.h"

namespace sheaf::server {

class ScalarLinks::Link final : public net::FrameHandler {
 public:
  Link(ScalarLinks& owner, ProcessId peer) : owner_(owner), peer_(peer) {}

  ProcessId peer() const { return peer_; }

  void attach(net::Connection connection) {
    if (channel_) return;  // a second one is refused: its destructor closes it
    channel_ = std::make_unique<net::FrameChannel>(std::move(connection), *this,
                                                   [this](std::exception_ptr error) {
                                                     if (error && !owner_.closing_)
                                                       owner_.shutdown_.fail(error);
                                                   });
    channel_->start();
  }

  void send(const wire::Header& header) {
    outbox_.push_back({header, {}, {}, false});
    if (channel_) channel_->wake();
  }

  void close() {
    if (channel_) channel_->close();
  }

  std::span<std::byte> receive_into(const wire::Header& header) override {
    if (header.type != wire::FrameType::scalars || header.payload_bytes != 0) {
      fail(Fault::network, "{} of {} bytes from {}, expected scalars without payload",
           to_string(header.type), header.payload_bytes, to_string(peer_));
    }
    return {};
  }

  void on_frame(const wire::Header& header) override {
    owner_.deliver_(header.step, header.chunk, std::bit_cast<double>(header.value));
  }

  std::optional<wire::OutFrame> next_frame() override {
    if (outbox_.empty()) return std::nullopt;
    wire::OutFrame frame = std::move(outbox_.front());
    outbox_.pop_front();
    return frame;
  }

 private:
  ScalarLinks& owner_;
  ProcessId peer_;
  std::deque<wire::OutFrame> outbox_;
  std::unique_ptr<net::FrameChannel> channel_;
};

ScalarLinks::ScalarLinks(net::asio::io_context& context, net::Credentials credentials,
                         Duration limit, Deliver deliver, cluster::Shutdown& shutdown)
    : context_(context),
      credentials_(std::move(credentials)),
      limit_(limit),
      deliver_(std::move(deliver)),
      shutdown_(shutdown) {}

ScalarLinks::~ScalarLinks() = default;

void ScalarLinks::open(const std::vector<wire::ProcessInfo>& servers) {
  const ProcessId self = credentials_.self.process;
  for (const wire::ProcessInfo& info : servers) {
    if (info.process == self) continue;
    links_.push_back(std::make_unique<Link>(*this, info.process));
    if (info.process.id > self.id) continue;
    net::asio::co_spawn(context_, connect(*links_.back(), {info.address, info.ports.at(0)}),
                        [this](std::exception_ptr error) {
                          if (error && !closing_) shutdown_.fail(error);
                        });
  }
}

net::Task<void> ScalarLinks::connect(Link& link, net::Endpoint endpoint) {
  net::Connection connection =
      co_await net::connect(context_, endpoint, to_string(link.peer()), limit_);
  net::Credentials credentials = credentials_;
  credentials.self.lane = 0;
  co_await net::greet(connection, credentials, link.peer(), limit_);
  if (!closing_) link.attach(std::move(connection));
}

void ScalarLinks::accept(net::Connection connection, ProcessId peer) {
  const auto link = std::ranges::find_if(links_, [&](const auto& l) { return l->peer() == peer; });
  if (link != links_.end() && !closing_) (*link)->attach(std::move(connection));
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
