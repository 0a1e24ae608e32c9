#include "common/cluster/control_link.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace sheaf::cluster {

using wire::ControlKind;
using wire::FrameType;
using wire::Header;

namespace {

// Who is killed may reset its connections instead of closing them; it has left all the same.
std::exception_ptr departure(const std::exception_ptr& error) {
  std::string how;
  try {
    if (error) std::rethrow_exception(error);
  } catch (const net::ConnectionLost& lost) {
    how = fmt::format(" ({})", lost.message());
  } catch (...) {
    return error;
  }
  return std::make_exception_ptr(
      Error(Fault::network, "the coordinator has left" + how, std::source_location::current()));
}

constexpr std::size_t kModelPart = 1U << 18;  // floats of one tensor frame

}  // namespace

ControlLink::ControlLink(Options options, Shutdown& shutdown)
    : options_(std::move(options)), shutdown_(shutdown) {
  losses_.rows.reserve(4096);
}

ControlLink::~ControlLink() {
  on_end_.reset();
  if (thread_.joinable()) close(Duration{0});
}

void ControlLink::connect() {
  std::exception_ptr failure;
  std::optional<net::Connection> connection;
  const auto join = [](net::asio::io_context& context, net::Endpoint endpoint,
                       net::Credentials credentials, Duration limit,
                       std::optional<net::Connection>* out) -> net::Task<void> {
    net::Connection made = co_await net::connect(context, endpoint, "the coordinator", limit);
    co_await net::greet(made, credentials, ProcessId{Role::coordinator, 0}, limit);
    *out = std::move(made);
  };
  net::asio::co_spawn(
      context_,
      join(context_, options_.coordinator, options_.credentials, options_.dead, &connection),
      [&](std::exception_ptr error) { failure = error; });
  context_.run();
  context_.restart();
  if (failure) std::rethrow_exception(failure);

  local_address_ = connection->local_address();
  connection->set_peer("the coordinator");
  channel_ = std::make_unique<net::FrameChannel>(std::move(*connection), *this,
                                                 [this](std::exception_ptr error) {
                                                   closing_ = true;
                                                   beat_timer_.cancel();
                                                   shutdown_.fail(departure(error));
                                                   const std::lock_guard lock(mutex_);
                                                   closed_ = true;
                                                   changed_.notify_all();
                                                 });
  channel_->start();
  heard_ = std::chrono::steady_clock::now();
  net::asio::co_spawn(context_, beat_loop(), [this](std::exception_ptr error) {
    if (error) shutdown_.fail(error);
  });
  on_end_ = std::make_unique<Shutdown::Subscription>(shutdown_, [this] {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  thread_ = std::jthread([this] { context_.run(); });
}

wire::Start ControlLink::enroll(const wire::Registration& registration) {
  send(ControlKind::registration, registration);
  std::unique_lock lock(mutex_);
  // The coordinator knows who is missing and says so before this deadline; this one is for the case
  // that it cannot.
  const auto deadline = std::chrono::steady_clock::now() + options_.start + options_.dead;
  const bool ready =
      changed_.wait_until(lock, deadline, [&] { return start_ || shutdown_.ended(); });
  if (start_) return *start_;
  lock.unlock();
  shutdown_.throw_if_failed();
  if (ready) sheaf::fail(Fault::network, "the job ended before it began");
  sheaf::fail(Fault::network, "the coordinator gave no start signal within {:.1f} s",
              seconds(options_.start + options_.dead));
}

// ---- requests, from any thread ------------------------------------------------------------------

void ControlLink::enqueue(Outgoing outgoing) {
  {
    const std::lock_guard lock(mutex_);
    outbox_.push_back(std::move(outgoing));
  }
  net::asio::post(context_, [this] {
    if (channel_ && !closing_) channel_->wake();
  });
}

template <typename Message>
void ControlLink::send(ControlKind kind, const Message& message) {
  Outgoing outgoing;
  outgoing.body = wire::to_bytes(message);
  outgoing.header.type = FrameType::control;
  outgoing.header.value = static_cast<std::uint64_t>(kind);
  outgoing.header.payload_bytes = static_cast<std::uint32_t>(outgoing.body.size());
  if (outgoing.body.size() > wire::kControlBytes) {
    sheaf::fail(Fault::internal, "control message of {} bytes, at most {} are allowed",
                outgoing.body.size(), wire::kControlBytes);
  }
  enqueue(std::move(outgoing));
}

void ControlLink::on_checkpoint(std::function<void(const wire::CheckpointAt&)> handler) {
  const std::lock_guard lock(handler_mutex_);
  on_checkpoint_ = std::move(handler);
}
void ControlLink::on_waiting(std::function<wire::Waiting()> handler) {
  const std::lock_guard lock(handler_mutex_);
  on_waiting_ = std::move(handler);
}
void ControlLink::on_clock(std::function<void(const wire::PartitionClock&)> handler) {
  const std::lock_guard lock(handler_mutex_);
  on_clock_ = std::move(handler);
}
void ControlLink::on_moved(std::function<void(const wire::ProcessInfo&)> handler) {
  const std::lock_guard lock(handler_mutex_);
  on_moved_ = std::move(handler);
  if (!on_moved_) return;
  for (const wire::ProcessInfo& server : moved_) on_moved_(server);
}
void ControlLink::moved(const wire::ProcessInfo& self) { send(ControlKind::moved, self); }
void ControlLink::answer(const wire::CheckpointAnswer& answer) {
  send(ControlKind::checkpoint, answer);
}
void ControlLink::answer(const wire::PartitionClock& answer) { send(ControlKind::clock, answer); }
void ControlLink::saved(const wire::Saved& saved) { send(ControlKind::saved, saved); }
void ControlLink::log(const std::string& text, bool warning) {
  send(ControlKind::log, wire::Log{warning, text});
}
void ControlLink::fail(const wire::Failure& failure) { send(ControlKind::failure, failure); }
void ControlLink::finished(const wire::Finished& report) {
  flush_losses();
  send(ControlKind::finished, report);
}

void ControlLink::wait_for_end() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return shutdown_.ended(); });
  lock.unlock();
  shutdown_.throw_if_failed();
}

void ControlLink::close(Duration limit) {
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, std::chrono::steady_clock::now() + limit,
                        [&] { return outbox_.empty() || closed_; });
  }
  if (!thread_.joinable()) return;  // it was never connected
  net::asio::post(context_, [this] {
    closing_ = true;
    beat_timer_.cancel();
    channel_->close();
  });
  thread_.join();
}

void ControlLink::contribute(std::string_view tag, const Values& mine, bool sum) {
  flush_losses();  // an evaluation never overtakes the losses of the steps before it
  wire::Contribution message;
  message.tag = tag;
  message.sum = sum;
  for (const auto& [partition, values] : mine) message.values.emplace_back(partition, values);
  send(ControlKind::contribution, message);
}

void ControlLink::submit(std::string_view tag, const Values& mine) { contribute(tag, mine, true); }
void ControlLink::collect(std::string_view tag, const Values& mine) {
  contribute(tag, mine, false);
}

std::vector<double> ControlLink::sum(std::string_view tag, const Values& mine) {
  contribute(tag, mine, true);
  std::unique_lock lock(mutex_);
  const std::string name(tag);
  changed_.wait(lock, [&] { return totals_.contains(name) || shutdown_.ended(); });
  const auto found = totals_.find(name);
  if (found != totals_.end()) {
    std::vector<double> total = std::move(found->second);
    totals_.erase(found);
    return total;
  }
  lock.unlock();
  shutdown_.throw_if_failed();
  sheaf::fail(Fault::network, "the job ended while waiting for the sum \"{}\"", tag);
}

void ControlLink::report_loss(const wire::StepLoss& loss, std::uint64_t push_bytes,
                              std::uint64_t pull_bytes) {
  const std::lock_guard lock(mutex_);
  losses_.rows.push_back(loss);
  losses_.push_bytes = push_bytes;
  losses_.pull_bytes = pull_bytes;
}

void ControlLink::flush_losses() {
  wire::Losses losses;
  {
    const std::lock_guard lock(mutex_);
    if (losses_.rows.empty()) return;
    losses = losses_;
    losses_.rows.clear();  // keeps its memory
  }
  send(ControlKind::losses, losses);
}

bool ControlLink::may_begin(Step step) {
  std::unique_lock lock(mutex_);
  if (draining_) changed_.wait(lock, [&] { return last_step_ || shutdown_.ended(); });
  if (shutdown_.ended()) {
    lock.unlock();
    shutdown_.throw_if_failed();
    return false;
  }
  if (last_step_ && step >= *last_step_) return false;
  begun_.store(step + 1, std::memory_order_relaxed);
  return true;
}

void ControlLink::send_model(std::size_t offset, std::span<const float> values) {
  for (std::size_t at = 0; at < values.size(); at += kModelPart) {
    const auto part = std::as_bytes(values.subspan(at, std::min(kModelPart, values.size() - at)));
    Outgoing outgoing;
    outgoing.header.type = FrameType::tensor;
    outgoing.header.value = offset + at;
    outgoing.header.payload_bytes = static_cast<std::uint32_t>(part.size());
    outgoing.body.assign(part.begin(), part.end());
    enqueue(std::move(outgoing));
  }
}

// ---- the link's thread --------------------------------------------------------------------------

net::Task<void> ControlLink::beat_loop() {
  while (!closing_) {
    net::ErrorCode cancelled;
    // Figures go out several times a beat, so that progress is lively.
    beat_timer_.expires_after(std::min<Duration>(options_.beat, std::chrono::milliseconds(200)));
    co_await beat_timer_.async_wait(net::asio::redirect_error(net::asio::use_awaitable, cancelled));
    if (closing_) break;
    flush_losses();
    Outgoing beat;
    beat.header.type = FrameType::beat;
    beat.header.step = begun();
    enqueue(std::move(beat));
    const Duration silent = std::chrono::steady_clock::now() - heard_;
    if (silent > options_.dead) {
      sheaf::fail(Fault::network, "the coordinator has been silent for {:.1f} s", seconds(silent));
    }
  }
}

std::span<std::byte> ControlLink::receive_into(const Header& header) {
  if (header.type == FrameType::beat && header.payload_bytes == 0) return {};
  if (header.type != FrameType::control || header.payload_bytes > wire::kControlBytes) {
    sheaf::fail(Fault::network, "{} of {} bytes from the coordinator", to_string(header.type),
                header.payload_bytes);
  }
  body_.resize(header.payload_bytes);
  return body_;
}

void ControlLink::on_frame(const Header& header) {
  heard_ = std::chrono::steady_clock::now();
  if (header.type == FrameType::control) on_control(header);
}

void ControlLink::on_control(const Header& header) {
  const auto kind = static_cast<ControlKind>(header.value);
  if (kind == ControlKind::stop) {
    const auto stop = wire::from_bytes<wire::Failure>(body_);
    stopped_.store(true);
    if (stop.fault == 0) return shutdown_.finish();
    return shutdown_.fail(std::make_exception_ptr(
        Error(static_cast<Fault>(stop.fault), stop.text, std::source_location::current())));
  }
  std::unique_lock lock(mutex_);
  switch (kind) {
    case ControlKind::start: start_ = wire::from_bytes<wire::Start>(body_); break;
    case ControlKind::total: {
      auto total = wire::from_bytes<wire::Total>(body_);
      totals_[total.tag] = std::move(total.values);
      break;
    }
    case ControlKind::drain: {
      draining_ = true;
      lock.unlock();
      return send(ControlKind::drain, wire::Drain{begun()});
    }
    case ControlKind::checkpoint: {
      lock.unlock();
      const auto order = wire::from_bytes<wire::CheckpointAt>(body_);
      const std::lock_guard handler_lock(handler_mutex_);
      if (on_checkpoint_) on_checkpoint_(order);  // a rank that has nothing to save left it empty
      return;
    }
    case ControlKind::waiting: {
      lock.unlock();
      const std::lock_guard handler_lock(handler_mutex_);
      return send(ControlKind::waiting, on_waiting_ ? on_waiting_() : wire::Waiting{});
    }
    case ControlKind::clock: {
      lock.unlock();
      const auto question = wire::from_bytes<wire::PartitionClock>(body_);
      const std::lock_guard handler_lock(handler_mutex_);
      if (on_clock_) on_clock_(question);
      return;
    }
    case ControlKind::moved: {
      lock.unlock();
      const std::lock_guard handler_lock(handler_mutex_);
      moved_.push_back(wire::from_bytes<wire::ProcessInfo>(body_));
      if (on_moved_) on_moved_(moved_.back());
      return;
    }
    case ControlKind::last_step: last_step_ = wire::from_bytes<wire::Drain>(body_).step; break;
    default:
      sheaf::fail(Fault::network,
                  "control message {} from the coordinator, which is not for a rank", header.value);
  }
  changed_.notify_all();
}

std::optional<wire::OutFrame> ControlLink::next_frame() {
  const std::lock_guard lock(mutex_);
  if (taken_ == outbox_.size()) return std::nullopt;
  const Outgoing& o = outbox_[taken_++];
  return wire::OutFrame{o.header, o.body, {}, false};
}

void ControlLink::on_written(std::size_t count) {
  const std::lock_guard lock(mutex_);
  outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(count));
  taken_ -= count;
  if (outbox_.empty()) changed_.notify_all();
}

}  // namespace sheaf::cluster
