#include "common/cluster/control_link.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/wire/bytes.h"

namespace sheaf::cluster {

using wire::ControlKind;
using wire::FrameType;
using wire::Header;

namespace {

std::vector<std::uint64_t> words_of(const wire::Digest& digest) {
  std::vector<std::uint64_t> words;
  for (std::size_t i = 0; i < digest.size(); i += 8) {
    words.push_back(wire::get<std::uint64_t>(digest, i));
  }
  return words;
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
  adopt(std::move(*connection));
  net::asio::co_spawn(context_, beat_loop(), [this](std::exception_ptr error) {
    if (error) shutdown_.fail(error);
  });
  on_end_ = std::make_unique<Shutdown::Subscription>(shutdown_, [this] {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  });
  thread_ = std::jthread([this] { context_.run(); });
}

void ControlLink::adopt(net::Connection connection) {
  connection.set_peer("the coordinator");
  channel_ = std::make_unique<net::FrameChannel>(
      std::move(connection), *this, [this](std::exception_ptr e) { on_disconnected(e); });
  channel_->start();
  heard_ = std::chrono::steady_clock::now();
}

wire::Start ControlLink::enroll(const wire::Registration& registration) {
  send(ControlKind::registration, registration);
  std::unique_lock lock(mutex_);
  registration_ = registration;
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

void ControlLink::enqueue(ControlFrame frame, Fate fate) {
  {
    const std::lock_guard lock(mutex_);
    if (orphaned_ && fate != Fate::urgent) {
      if (fate == Fate::held) held_.push_back(std::move(frame));
      return;
    }
    outbox_.push_back(std::move(frame));
  }
  net::asio::post(context_, [this] { wake(); });
}

void ControlLink::wake() {
  if (channel_ && !closing_) channel_->wake();
}

ControlFrame ControlLink::frame_of(ControlKind kind, std::vector<std::byte> body) {
  ControlFrame frame;
  frame.body = std::move(body);
  frame.header.type = FrameType::control;
  frame.header.value = static_cast<std::uint64_t>(kind);
  frame.header.payload_bytes = static_cast<std::uint32_t>(frame.body.size());
  if (frame.body.size() > wire::kControlBytes) {
    sheaf::fail(Fault::internal, "control message of {} bytes, at most {} are allowed",
                frame.body.size(), wire::kControlBytes);
  }
  return frame;
}

void ControlLink::on_base(std::function<void(const wire::CheckpointBase&)> handler) {
  const std::lock_guard lock(handler_mutex_);
  on_base_ = std::move(handler);
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
void ControlLink::on_help(std::function<void()> handler) {
  const std::lock_guard lock(handler_mutex_);
  on_help_ = std::move(handler);
}
void ControlLink::on_guest(std::function<void(const wire::ProcessInfo&)> handler) {
  const std::lock_guard lock(handler_mutex_);
  on_guest_ = std::move(handler);
}
std::optional<wire::PartitionClock> ControlLink::take_help() {
  const std::lock_guard lock(mutex_);
  if (helps_.empty()) return std::nullopt;
  const wire::PartitionClock help = helps_.front();
  helps_.pop_front();
  return help;
}
// Another coordinator sees it in what this server tells of itself.
void ControlLink::moved(const wire::ProcessInfo& self) {
  send(ControlKind::moved, self, Fate::dropped);
}
void ControlLink::answer(const wire::CheckpointAnswer& answer) {
  {
    const std::lock_guard lock(mutex_);
    memory_.on_answer(answer);
  }
  send(ControlKind::checkpoint, answer, Fate::dropped);
}
void ControlLink::answer(const wire::PartitionClock& answer) {
  send(ControlKind::clock, answer, Fate::dropped);
}
void ControlLink::saved(const wire::Saved& saved) {
  {
    const std::lock_guard lock(mutex_);
    memory_.on_saved(saved);
  }
  send(ControlKind::saved, saved, Fate::dropped);
}
void ControlLink::log(const std::string& text, bool warning) {
  send(ControlKind::log, wire::Log{warning, text});
}
void ControlLink::fail(const wire::Failure& failure) { send(ControlKind::failure, failure); }
void ControlLink::finished(const wire::Finished& report) {
  flush_losses();
  ControlFrame frame = frame_of(ControlKind::finished, wire::to_bytes(report));
  {
    const std::lock_guard lock(mutex_);
    memory_.on_end(frame);
  }
  enqueue(std::move(frame), Fate::kept);
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
    search_timer_.cancel();
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
  ControlFrame frame = frame_of(ControlKind::contribution, wire::to_bytes(message));
  {
    const std::lock_guard lock(mutex_);
    memory_.on_contribution(tag, begun(), frame);
  }
  enqueue(std::move(frame), Fate::kept);
}

void ControlLink::submit(std::string_view tag, const Values& mine) { contribute(tag, mine, true); }
void ControlLink::collect(std::string_view tag, const Values& mine) {
  contribute(tag, mine, false);
}

std::vector<double> ControlLink::sum(std::string_view tag, const Values& mine) {
  const std::string name(tag);
  {
    const std::lock_guard lock(mutex_);
    totals_.emplace(name, std::nullopt);
  }
  contribute(tag, mine, true);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return totals_.at(name) || shutdown_.ended(); });
  const std::optional<std::vector<double>> total = std::move(totals_.extract(name).mapped());
  if (total) return *total;
  lock.unlock();
  shutdown_.throw_if_failed();
  sheaf::fail(Fault::network, "the job ended while waiting for the sum \"{}\"", tag);
}

void ControlLink::report_loss(const wire::StepLoss& loss, const wire::Traffic& traffic) {
  const std::lock_guard lock(mutex_);
  losses_.rows.push_back(loss);
  losses_.traffic = traffic;
}

std::optional<ControlFrame> ControlLink::take_losses() {
  if (orphaned_ || losses_.rows.empty()) return std::nullopt;
  ControlFrame frame = frame_of(ControlKind::losses, wire::to_bytes(losses_));
  memory_.on_losses(losses_.rows);
  losses_.rows.clear();  // keeps its memory
  return frame;
}

void ControlLink::flush_losses() {
  std::optional<ControlFrame> frame;
  {
    const std::lock_guard lock(mutex_);
    frame = take_losses();
  }
  if (frame) enqueue(std::move(*frame), Fate::kept);
}

bool ControlLink::may_begin(Step step) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return shutdown_.ended() || (!orphaned_ && (!draining_ || last_step_.has_value()));
  });
  if (shutdown_.ended()) {
    lock.unlock();
    shutdown_.throw_if_failed();
    return false;
  }
  if (last_step_ && step >= *last_step_) return false;
  begun_.store(step + 1, std::memory_order_relaxed);
  return true;
}

void ControlLink::await_release(Step step) {
  std::unique_lock lock(mutex_);
  if (!start_ || start_->secret.empty()) return;  // nothing is protected
  changed_.wait(lock, [&] { return granted_ > step || shutdown_.ended(); });
  if (granted_ > step) return;
  lock.unlock();
  shutdown_.throw_if_failed();
  sheaf::fail(Fault::network, "the job ended before step {} could be released", step);
}

void ControlLink::released(Step step, std::uint32_t partition, std::uint32_t chunks,
                           const wire::Digest& digest) {
  send(ControlKind::released, wire::Released{step, partition, 0, chunks, words_of(digest)});
}

void ControlLink::lane_released(Step step, std::uint32_t lane, std::uint32_t chunks,
                                const wire::Digest& digest) {
  send(ControlKind::released, wire::Released{step, 0, lane, chunks, words_of(digest)});
}

void ControlLink::send_model(std::size_t offset, std::span<const float> values) {
  for (std::size_t at = 0; at < values.size(); at += kModelPart) {
    const auto part = std::as_bytes(values.subspan(at, std::min(kModelPart, values.size() - at)));
    ControlFrame frame;
    frame.header.type = FrameType::tensor;
    frame.header.value = offset + at;
    frame.header.payload_bytes = static_cast<std::uint32_t>(part.size());
    frame.body.assign(part.begin(), part.end());
    {
      const std::lock_guard lock(mutex_);
      if (search_) memory_.on_end(frame);
    }
    enqueue(std::move(frame), Fate::kept);
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
    if (searching_) continue;
    ControlFrame beat;
    beat.header.type = FrameType::beat;
    beat.header.step = begun();
    if (options_.cpu_seconds) {
      beat.header.value = static_cast<std::uint64_t>(1e6 * options_.cpu_seconds());
    }
    enqueue(std::move(beat), Fate::urgent);
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
      memory_.on_total(total.tag);
      const auto awaited = totals_.find(total.tag);
      if (awaited != totals_.end()) awaited->second = std::move(total.values);
      break;
    }
    case ControlKind::drain: {
      draining_ = true;
      lock.unlock();
      return send(ControlKind::drain, wire::Drain{begun()});
    }
    case ControlKind::resumed: lock.unlock(); return on_resumed();
    case ControlKind::checkpoint: {
      lock.unlock();
      return on_checkpoint_order(wire::from_bytes<wire::CheckpointAt>(body_));
    }
    case ControlKind::base: {
      lock.unlock();
      return on_checkpoint_base(wire::from_bytes<wire::CheckpointBase>(body_));
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
      return on_moved_server(wire::from_bytes<wire::ProcessInfo>(body_));
    }
    case ControlKind::help: {
      helps_.push_back(wire::from_bytes<wire::PartitionClock>(body_));
      lock.unlock();
      const std::lock_guard handler_lock(handler_mutex_);
      if (on_help_) on_help_();
      return;
    }
    case ControlKind::guest: {
      lock.unlock();
      const std::lock_guard handler_lock(handler_mutex_);
      if (on_guest_) on_guest_(wire::from_bytes<wire::ProcessInfo>(body_));
      return;
    }
    case ControlKind::granted: granted_ = wire::from_bytes<wire::Drain>(body_).step; break;
    case ControlKind::last_step: last_step_ = wire::from_bytes<wire::Drain>(body_).step; break;
    default:
      sheaf::fail(Fault::network,
                  "control message {} from the coordinator, which is not for a rank", header.value);
  }
  changed_.notify_all();
}

// A server is asked for each version once; to another coordinator it says again what came of it.
void ControlLink::on_checkpoint_order(const wire::CheckpointAt& order) {
  std::optional<TakeoverMemory::Given> given;
  {
    const std::lock_guard lock(mutex_);
    given = memory_.on_order(order);
  }
  if (given && given->answer) {
    send(ControlKind::checkpoint, *given->answer, Fate::dropped);
  } else {
    const std::lock_guard handler_lock(handler_mutex_);
    if (on_checkpoint_) on_checkpoint_(order);  // a rank that has nothing to save left it empty
  }
  if (given && given->saved) send(ControlKind::saved, *given->saved, Fate::dropped);
}

void ControlLink::on_checkpoint_base(const wire::CheckpointBase& base) {
  {
    const std::lock_guard lock(mutex_);
    memory_.on_base(base);
  }
  const std::lock_guard handler_lock(handler_mutex_);
  if (on_base_) on_base_(base);
}

// It may be told again, by another coordinator.
void ControlLink::on_moved_server(wire::ProcessInfo server) {
  const std::lock_guard handler_lock(handler_mutex_);
  std::uint32_t known = 0;
  for (const wire::ProcessInfo& before : moved_) {
    if (before.process == server.process) known = std::max(known, before.incarnation);
  }
  {
    const std::lock_guard lock(mutex_);
    // A successor may be told before it is told to start; and a roster names a server that is being
    // replaced without its ports.
    const auto roster = start_ ? start_->roster : std::vector<wire::ProcessInfo>{};
    for (const wire::ProcessInfo& first : roster) {
      if (first.process == server.process && !first.ports.empty()) {
        known = std::max(known, first.incarnation);
      }
    }
  }
  if (server.incarnation <= known) return;
  moved_.push_back(std::move(server));
  if (on_moved_) on_moved_(moved_.back());
}

std::optional<wire::OutFrame> ControlLink::next_frame() {
  const std::lock_guard lock(mutex_);
  if (taken_ == outbox_.size()) return std::nullopt;
  const ControlFrame& o = outbox_[taken_++];
  return wire::OutFrame{o.header, o.body, {}, false};
}

void ControlLink::on_written(std::size_t count) {
  const std::lock_guard lock(mutex_);
  outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(count));
  taken_ -= count;
  if (outbox_.empty()) changed_.notify_all();
}

}  // namespace sheaf::cluster
