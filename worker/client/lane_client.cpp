#include "worker/client/lane_client.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/error.h"

namespace sheaf::worker {

using wire::FrameType;
using wire::Header;

LaneClient::LaneClient(PushPull& owner, params::LaneId lane, net::asio::io_context& context,
                       std::string server)
    : owner_(owner),
      lane_(lane),
      context_(context),
      server_(std::move(server)),
      exchange_({.partitions = owner.options_.partitions,
                 // Where a push is acknowledged with its step, one that waits would hold up those
                 // that the step needs; and the server has room for all of a step.
                 .window = owner.options_.servers_return && owner.options_.synchronous
                               ? std::numeric_limits<std::uint32_t>::max()
                               : owner.options_.window,
                 .largest_reply = std::max(owner.chunks_.largest() * sizeof(float),
                                           owner.pull_.max_bytes(owner.chunks_.largest())),
                 .entries = 4 * owner.shards_.chunks_of(lane).size() + 64},
                *this),
      connection_(net::Socket(context), server_),
      pause_(context),
      wakeup_(context, [this] { drain_inbox(); }) {
  inbox_.reserve(2 * owner.shards_.chunks_of(lane).size() + 16);
  taken_.reserve(inbox_.capacity());
  if (!owner.pull_.identity()) staged_.resize(owner.chunks_.size());
}

LaneClient::~LaneClient() = default;

// ---- from the compute thread --------------------------------------------------------------------

void LaneClient::submit(const Request& request) {
  unsent_ = true;
  const std::lock_guard lock(mutex_);
  inbox_.push_back(request);
}

void LaneClient::flush() {
  if (std::exchange(unsent_, false)) wakeup_.notify();
}

std::span<std::byte> LaneClient::staging(std::uint32_t chunk, std::span<float> parameters,
                                         std::span<const float> before) {
  Staged& staged = staged_[chunk];
  std::size_t most = owner_.pull_.max_bytes(parameters.size());
  if (owner_.options_.pull_feedback) most = std::max(most, parameters.size_bytes());
  staged.bytes.resize(most);
  staged.into = parameters;
  staged.before = before;
  return staged.bytes;
}

wire::Traffic LaneClient::traffic() const {
  const std::lock_guard lock(mutex_);
  return traffic_;
}

std::optional<wire::Header> LaneClient::oldest() const {
  const std::lock_guard lock(mutex_);
  return oldest_;
}

// ---- the lane's thread --------------------------------------------------------------------------

void LaneClient::attach() {
  connection_.set_peer(server_);  // whoever made it, errors name the server
  channel_ = std::make_unique<net::FrameChannel>(
      std::move(connection_), *this, [this](std::exception_ptr error) {
        if (closing_) return;
        if (!error) {
          error = std::make_exception_ptr(net::ConnectionLost(
              Fault::network, fmt::format("connection to {}: closed by the server", server_),
              std::source_location::current()));
        }
        on_lost(error);
      });
  sent_again_ = exchange_.on_reconnected();
  if (exchange_.idle()) answered();  // it waits for nothing
  channel_->start();
}

// Called by the channel, which therefore lives until the next turn.
void LaneClient::on_lost(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const net::ConnectionLost&) {
    if (!owner_.can_rejoin(*this)) return owner_.shutdown_.fail(error);
  } catch (...) {
    return owner_.shutdown_.fail(error);
  }
  why_lost_ = describe(error).second;
  net::asio::post(context_, [this] {
    channel_.reset();
    if (closing_) return;
    connection_ = net::Connection(net::Socket(context_), server_);
    net::asio::co_spawn(context_, owner_.rejoin(*this), [this](std::exception_ptr failure) {
      if (failure && !closing_) owner_.shutdown_.fail(failure);
    });
  });
}

net::Task<void> LaneClient::pause() {
  net::ErrorCode cancelled;
  pause_.expires_after(std::chrono::milliseconds(100));
  co_await pause_.async_wait(net::asio::redirect_error(net::asio::use_awaitable, cancelled));
  connection_ = net::Connection(net::Socket(context_), server_);
}

// What it is connected to has ended; a host that is stopped would not say so.
void LaneClient::move_to(std::uint32_t incarnation) {
  if (closing_ || !joins_ || *joins_ >= incarnation) return;
  if (channel_) return channel_->close();  // and is rejoined
  connection_.close();                     // the next try goes there
}

void LaneClient::close() {
  closing_ = true;
  pause_.cancel();
  connection_.close();
  if (channel_) channel_->close();
}

void LaneClient::drain_inbox() {
  {
    const std::lock_guard lock(mutex_);
    std::swap(inbox_, taken_);
  }
  for (const Request& r : taken_) {
    switch (r.type) {
      case FrameType::init: exchange_.init(r.chunk, r.payload); break;
      case FrameType::push:
        exchange_.push(r.step, r.chunk, r.partitions, r.value, r.payload);
        break;
      case FrameType::end: exchange_.end(r.step, r.partitions, r.value); break;
      default: exchange_.pull(r.step, r.chunk, r.partitions, r.into, r.value); break;
    }
  }
  taken_.clear();
  if (channel_) channel_->wake();
}

std::span<std::byte> LaneClient::receive_into(const Header& header) {
  return exchange_.receive_into(header);
}

void LaneClient::on_frame(const Header& header) {
  answered();
  exchange_.on_frame(header);
  {
    const std::lock_guard lock(mutex_);
    oldest_ = exchange_.oldest();
  }
  channel_->wake();  // an answer may have given credit back
}

std::optional<wire::OutFrame> LaneClient::next_frame() {
  auto frame = exchange_.next(TimePoint{});
  if (frame && frame->header.type == FrameType::push) {
    const std::lock_guard lock(mutex_);
    traffic_.push_bytes += wire::kHeaderBytes + frame->payload.size();
    traffic_.push_bytes_raw += wire::kHeaderBytes + owner_.chunks_[frame->header.chunk].bytes();
  }
  return frame;
}

void LaneClient::on_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t bytes) {
  const std::size_t expected = owner_.chunks_[chunk].bytes();
  const bool floats = owner_.pull_.identity() || owner_.options_.pull_feedback;
  if (floats && bytes != expected) {
    fail(Fault::network, "pull_reply of chunk {}: found {} bytes, expected {}", chunk, bytes,
         expected);
  }
  if (!owner_.pull_.identity()) {
    const Staged& staged = staged_[chunk];
    if (floats) {
      std::ranges::copy(std::span(staged.bytes).first(bytes),
                        std::as_writable_bytes(staged.into).begin());
    } else {
      std::ranges::fill(staged.into, 0.0F);
      decode(chunk, version, bytes);
    }
  }
  count_arrived(chunk, clock, version, bytes);
}

// The very operations of the server, on the same values: it knows the bits that this gives.
void LaneClient::on_difference(std::uint32_t chunk, Step clock, Version version,
                               std::size_t bytes) {
  const Staged& staged = staged_[chunk];
  std::ranges::copy(staged.before, staged.into.begin());
  decode(chunk, version, bytes);
  count_arrived(chunk, clock, version, bytes);
}

void LaneClient::decode(std::uint32_t chunk, Version version, std::size_t bytes) {
  const Staged& staged = staged_[chunk];
  owner_.pull_.decode_add(std::span(staged.bytes).first(bytes),
                          {owner_.options_.seed, version, compression::kEveryPartition, chunk},
                          staged.into);
}

void LaneClient::count_arrived(std::uint32_t chunk, Step clock, Version version,
                               std::size_t bytes) {
  {  // before anybody can see that it has arrived: the figures of a run are complete
    const std::lock_guard lock(mutex_);
    traffic_.pull_bytes += wire::kHeaderBytes + bytes;
    traffic_.pull_bytes_raw += wire::kHeaderBytes + owner_.chunks_[chunk].bytes();
  }
  owner_.arrived(chunk, clock, version);
}

void LaneClient::on_superseded(std::uint32_t chunk) { owner_.superseded(chunk); }

void LaneClient::on_settled(const Header&) { owner_.settled(); }

void LaneClient::on_partial(const Header& request, std::span<const std::uint32_t> missing) {
  owner_.partial({request.step, request.chunk, {missing.begin(), missing.end()}});
}

}  // namespace sheaf::worker
