// What a rank does without a coordinator: it waits for another one, and comes back to it.
#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/cluster/control_link.h"

namespace sheaf::cluster {

using wire::ControlKind;

namespace {

// Between two looks, and for a coordinator that is there to answer.
constexpr Duration kPause = std::chrono::milliseconds(200), kAnswer = std::chrono::seconds(2);
// Behind the grace: whoever takes over then has to come to be, and to be found.
constexpr Duration kAfterGrace = std::chrono::seconds(5);

// Who is killed may reset its connections instead of closing them; it has left all the same.
bool has_left(const std::exception_ptr& error) {
  if (!error) return true;
  try {
    std::rethrow_exception(error);
  } catch (const net::ConnectionLost&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::exception_ptr departure(const std::exception_ptr& error) {
  if (!has_left(error)) return error;
  const std::string how = error ? fmt::format(" ({})", describe(error).second) : "";
  return std::make_exception_ptr(
      Error(Fault::network, "the coordinator has left" + how, std::source_location::current()));
}

}  // namespace

void ControlLink::wait_for_another(Search search) {
  const std::lock_guard lock(mutex_);
  search_ = std::move(search);
}

void ControlLink::on_disconnected(const std::exception_ptr& error) {
  {
    const std::lock_guard lock(mutex_);
    if (closing_ || !search_ || shutdown_.ended() || !has_left(error)) return end(departure(error));
    orphaned_ = true;
    // What was on its way is told again, or asked again.
    outbox_.clear();
    taken_ = 0;
    changed_.notify_all();
  }
  if (std::exchange(searching_, true)) return;  // one that had been found has left again
  net::asio::co_spawn(context_, search_loop(), [this](std::exception_ptr failure) {
    searching_ = false;
    const std::lock_guard lock(mutex_);
    if (failure) end(failure);
  });
}

// REQUIRES: mutex_ is held.
void ControlLink::end(std::exception_ptr error) {
  closing_ = true;
  beat_timer_.cancel();
  closed_ = true;
  changed_.notify_all();
  net::asio::post(context_, [this, error] { shutdown_.fail(error); });
}

net::Task<void> ControlLink::search_loop() {
  const Search search = *search_;  // set once
  const auto since = std::chrono::steady_clock::now();
  bool over = false;
  while (!closing_ && !shutdown_.ended()) {
    const Duration waited = std::chrono::steady_clock::now() - since;
    if (waited > search.grace && !std::exchange(over, true) && search.on_grace_over) {
      search.on_grace_over();
    }
    if (waited > search.grace + options_.dead + kAfterGrace) {
      sheaf::fail(Fault::preempted, "the coordinator has left, and nobody has come for {:.0f} s",
                  seconds(waited));
    }
    const Search::Found found = search.look();
    if (found.other_job) {
      sheaf::fail(Fault::preempted,
                  "the coordinator has left, and another job goes on in its place");
    }
    if (found.endpoint) {
      const bool there = co_await reach(*found.endpoint);
      if (there) co_return;
    }
    net::ErrorCode cancelled;
    search_timer_.expires_after(kPause);
    co_await search_timer_.async_wait(
        net::asio::redirect_error(net::asio::use_awaitable, cancelled));
  }
}

// Nobody may be there any more, or somebody else: that is no news. A coordinator of this job that
// refuses us has given our place to another process.
net::Task<bool> ControlLink::reach(net::Endpoint coordinator) {
  const ProcessId whom{Role::coordinator, 0};
  try {
    net::Connection made = co_await net::connect(context_, coordinator, "the coordinator", kAnswer);
    co_await net::greet(made, options_.credentials, whom, kAnswer);
    if (closing_) co_return true;
    options_.coordinator = coordinator;
    adopt(std::move(made));
    come_back();
    co_return true;
  } catch (const net::Refused& refused) {
    // Our last connection may not have ended there yet.
    if (refused.verdict() != wire::Verdict::not_expected) throw;
    co_return false;
  } catch (const Error&) {
    co_return false;
  }
}

// Nothing but this goes out before it has taken over.
void ControlLink::come_back() {
  const std::lock_guard lock(mutex_);
  wire::Return message;
  message.registration = registration_;
  message.first_step = start_->first_step;
  message.begun = begun();
  message.known_from = memory_.known_from(start_->first_step);
  message.draining = draining_;
  message.ends = last_step_.has_value();
  message.last_step = last_step_.value_or(0);
  message.ordered = memory_.ordered();
  message.bases = memory_.bases();
  message.backups = start_->backups;
  outbox_.push_back(frame_of(ControlKind::returned, wire::to_bytes(message)));
  net::asio::post(context_, [this] { wake(); });
}

void ControlLink::on_resumed() {
  const std::lock_guard lock(mutex_);
  if (!std::exchange(orphaned_, false)) return;
  const std::vector<wire::StepLoss> known = memory_.losses();
  losses_.rows.insert(losses_.rows.begin(), known.begin(), known.end());
  memory_.forget_losses();
  if (auto losses = take_losses()) outbox_.push_back(std::move(*losses));
  for (ControlFrame& frame : memory_.frames()) outbox_.push_back(std::move(frame));
  for (ControlFrame& frame : held_) outbox_.push_back(std::move(frame));
  held_.clear();
  changed_.notify_all();
  net::asio::post(context_, [this] { wake(); });
}

}  // namespace sheaf::cluster
