#include "launcher/coordinator/coordinator.h"

#include <algorithm>

#include "common/base/error.h"
#include "launcher/run/resume.h"
#include "launcher/run/seat.h"
#include "launcher/system/host.h"

namespace sheaf::launcher {

using cluster::Membership;
using wire::ControlKind;
using wire::FrameType;
using wire::Header;

namespace {

constexpr std::size_t kStrangers = 64;  // connections in their handshake at once

// What a rank may say before the job has begun.
bool comes_early(const Header& header) {
  if (header.type == FrameType::beat) return true;
  if (header.type != FrameType::control) return false;
  switch (static_cast<ControlKind>(header.value)) {
    case ControlKind::registration:
    case ControlKind::returned:
    case ControlKind::log:
    case ControlKind::failure: return true;
    default: return false;
  }
}

}  // namespace

Coordinator::Coordinator(Options options, JobRecord& record)
    : options_(std::move(options)),
      record_(record),
      listener_(context_, options_.address, options_.ports),
      membership_({.servers = options_.servers,
                   .workers = options_.workers,
                   .incarnation = options_.takeover ? 0 : options_.incarnation,
                   // Those that come back have a limit of their own.
                   .start = options_.takeover ? std::chrono::hours(24) : options_.start,
                   .suspect = options_.suspect,
                   .dead = options_.dead},
                  std::chrono::steady_clock::now()),
      gathering_(options_.partitions),
      first_ranks_(options_.servers + options_.workers),
      incarnation_(options_.incarnation) {}

Coordinator::~Coordinator() {
  if (!thread_.joinable()) return;
  net::asio::post(context_, [this] {
    closing_ = true;
    listener_.close();
    tick_.cancel();
    for (const auto& peer : peers_) peer->close();
  });
  thread_.join();
}

void Coordinator::start() {
  if (options_.takeover) expect_returns();
  record_.on_members(membership_.members());
  const auto guard = [this](std::exception_ptr error) {
    if (!error || closing_) return;
    const auto [fault, text] = describe(error);
    end_job(wire::Failure{{Role::coordinator, 0}, static_cast<int>(fault), phase(), text});
  };
  net::asio::co_spawn(context_, accept_loop(), guard);
  net::asio::co_spawn(context_, tick_loop(), guard);
  thread_ = std::jthread([this] { context_.run(); });
}

// ---- connections --------------------------------------------------------------------------------

net::Task<void> Coordinator::accept_loop() {
  while (!closing_) {
    net::Connection connection = co_await listener_.accept(options_.dead);
    if (strangers_ == kStrangers) continue;  // dropped: its destructor closes it
    ++strangers_;
    net::asio::co_spawn(context_, receive(std::move(connection)),
                        [this](std::exception_ptr) { --strangers_; });
  }
}

net::Task<void> Coordinator::receive(net::Connection connection) {
  const auto admit = [this](const wire::Identity& client) {
    if (client.process.role == Role::client) return wire::Verdict::welcome;
    if (client.epoch != options_.credentials.self.epoch) return wire::Verdict::stale;
    const wire::Verdict verdict = membership_.admit(client.process, client.incarnation);
    if (verdict != wire::Verdict::welcome) return verdict;
    return find(client.process) == nullptr ? wire::Verdict::welcome : wire::Verdict::not_expected;
  };
  try {
    wire::Identity peer =
        co_await net::receive_greeting(connection, options_.credentials, admit, options_.suspect);
    if (closing_) co_return;
    connection.set_peer(to_string(peer.process));
    if (peer.process.role == Role::client) {
      peer.process.id = clients_++;  // to tell them apart
    } else {
      spans_hosts_ = spans_hosts_ || !connection.within_host();
      membership_.on_heard(peer.process, std::chrono::steady_clock::now());
    }
    peers_.push_back(std::make_unique<ControlPeer>(
        peer.process, peer.incarnation, std::move(connection),
        [this](ControlPeer& from, const Header& header, std::span<const std::byte> body) {
          on_frame(from, header, body);
        },
        [this](ControlPeer& closed, std::exception_ptr error) { on_closed(closed, error); }));
    if (ending_) peers_.back()->send(ControlKind::stop, stop_);  // it came too late
  } catch (const net::Refused& refused) {
    on_refused(refused, &refused.peer(), refused.verdict());
  } catch (const Error& error) {
    on_refused(error, nullptr, wire::Verdict::bad_key);
  }
}

// Strangers must not end a job. A rank that proved the key and is of another build or job file is
// none: waiting for it would be in vain.
void Coordinator::on_refused(const Error& refusal, const wire::Identity* peer,
                             wire::Verdict verdict) {
  if (closing_) return;
  const bool unfit = verdict == wire::Verdict::other_build ||
                     verdict == wire::Verdict::other_config ||
                     verdict == wire::Verdict::other_security;
  if (unfit && !running_ && membership_.expects(peer->process) &&
      membership_.member(peer->process).state == cluster::MemberState::absent) {
    return end_job(wire::Failure{
        peer->process, static_cast<int>(refusal.fault()), phase(),
        refusal.message() +
            " than the coordinator; start every rank with the same program and job file"});
  }
  if (const auto warning = refusals_.add(refusal.message())) record_.note(*warning);
}

ControlPeer* Coordinator::find(ProcessId process) {
  const auto found =
      std::ranges::find_if(peers_, [&](const auto& p) { return p->process() == process; });
  return found == peers_.end() ? nullptr : found->get();
}

void Coordinator::on_closed(ControlPeer& peer, std::exception_ptr error) {
  const ProcessId process = peer.process();
  net::asio::post(context_, [this, &peer] {
    std::erase_if(peers_, [&](const auto& p) { return p.get() == &peer; });
    finish_if_all_gone();
  });
  if (closing_ || process.role == Role::client) return;
  if (peer.incarnation() != membership_.member(process).info.incarnation) return;  // replaced
  if (options_.takeover && !running_ && !ending_) {
    returns_.erase(process);
    return expect(process);
  }
  const std::string why = error ? describe(error).second : "its connection was closed";
  const auto event = membership_.on_closed(process, why);
  if (event && !failed_.contains(process)) handle({*event});
  record_.on_members(membership_.members());
}

// ---- time ---------------------------------------------------------------------------------------

net::Task<void> Coordinator::tick_loop() {
  while (!closing_) {
    net::ErrorCode cancelled;
    tick_.expires_after(std::min<Duration>(options_.beat, std::chrono::milliseconds(200)));
    co_await tick_.async_wait(net::asio::redirect_error(net::asio::use_awaitable, cancelled));
    if (closing_) break;
    const auto now = std::chrono::steady_clock::now();
    if (ending_) {
      // Ranks that do not leave after the end are the supervisor's to kill.
      if (now - ending_since_ > std::chrono::seconds(2)) {
        for (const auto& peer : peers_) peer->close();
      }
      continue;
    }
    if (options_.takeover && !running_) take_over_if_all_here();
    judge_witnesses(now);
    const auto events = membership_.on_tick(now);
    handle(events);
    if (!events.empty()) record_.on_members(membership_.members());
    for (const auto& peer : peers_) peer->beat();
    if (checkpoints_) checkpoints_->on_tick(now, newest_step_);
    if (replacements_) replacements_->on_tick(now);
    if (waits_) waits_->on_tick(now, newest_step_);
  }
}

std::string Coordinator::phase() const {
  if (!running_) return "starting";
  return newest_step_ == 0 ? "loading data" : fmt::format("training step {}", newest_step_ - 1);
}

// ---- frames -------------------------------------------------------------------------------------

void Coordinator::on_frame(ControlPeer& peer, const Header& header,
                           std::span<const std::byte> body) {
  if (peer.process().role == Role::client) {
    return on_question(peer, static_cast<ControlKind>(header.value), body);
  }
  membership_.on_heard(peer.process(), std::chrono::steady_clock::now());
  if (!running_ && !comes_early(header)) {
    fail(Fault::network, "{} {} from {} comes before the job has begun", to_string(header.type),
         header.value, to_string(peer.process()));
  }
  switch (header.type) {
    case FrameType::beat:
      newest_step_ = std::max(newest_step_, header.step);
      record_.on_cpu_time(peer.process(), 1e-6 * static_cast<double>(header.value));
      break;
    case FrameType::tensor: record_.on_model(header.value, body); break;
    default: on_control(peer, static_cast<ControlKind>(header.value), body); break;
  }
}

void Coordinator::on_control(ControlPeer& peer, ControlKind kind, std::span<const std::byte> body) {
  const auto now = std::chrono::steady_clock::now();
  switch (kind) {
    case ControlKind::registration:
      return on_registration(peer, wire::from_bytes<wire::Registration>(body));
    case ControlKind::returned: return on_returned(peer, wire::from_bytes<wire::Return>(body));
    case ControlKind::losses:
      return record_.on_losses(peer.process(), wire::from_bytes<wire::Losses>(body), now);
    case ControlKind::contribution:
      return on_contribution(peer, wire::from_bytes<wire::Contribution>(body));
    case ControlKind::log:
      return record_.on_log(peer.process(), membership_.member(peer.process()).info.host,
                            wire::from_bytes<wire::Log>(body));
    case ControlKind::drain: return on_drain_answer(peer, wire::from_bytes<wire::Drain>(body).step);
    case ControlKind::failure: return on_failure(peer, wire::from_bytes<wire::Failure>(body));
    case ControlKind::finished: return on_finished(peer, wire::from_bytes<wire::Finished>(body));
    case ControlKind::checkpoint:
      return checkpoints_->on_answer(peer.process(),
                                     wire::from_bytes<wire::CheckpointAnswer>(body));
    case ControlKind::clock:
      if (!replacements_) break;
      return replacements_->on_clock(peer.process().id,
                                     wire::from_bytes<wire::PartitionClock>(body));
    case ControlKind::moved:
      if (!replacements_) break;
      return on_moved(peer);
    case ControlKind::waiting:
      return waits_->on_answer(peer.process().id, wire::from_bytes<wire::Waiting>(body));
    case ControlKind::help:
      if (!speculation_) break;
      return on_offer(peer.process().id, wire::from_bytes<wire::Drain>(body).step);
    case ControlKind::released: return on_released(peer, wire::from_bytes<wire::Released>(body));
    case ControlKind::skipped: return record_.on_skipped(wire::from_bytes<wire::Drain>(body).step);
    case ControlKind::saved:
      return checkpoints_->on_saved(peer.process(), wire::from_bytes<wire::Saved>(body));
    default: break;
  }
  fail(Fault::network, "control message {} is not for the coordinator",
       static_cast<std::uint64_t>(kind));
}

void Coordinator::on_contribution(ControlPeer& peer, wire::Contribution contribution) {
  if (const std::vector<double>* sum = gathering_.sum_of(contribution.tag)) {
    if (!contribution.sum) return;  // nobody waits for lists
    return peer.send(ControlKind::total, wire::Total{contribution.tag, *sum});
  }
  auto whole = gathering_.add(peer.process(), std::move(contribution));
  if (!whole) return;
  const auto now = std::chrono::steady_clock::now();
  if (!whole->sum) return record_.on_list(whole->tag, std::move(whole->values), now);
  record_.on_sum(whole->tag, whole->values, now);
  send_all(Role::worker, ControlKind::total,
           wire::Total{std::move(whole->tag), std::move(whole->values)});
}

void Coordinator::on_offer(std::uint32_t worker, Step step) {
  speculation_->on_offer(worker, step);
  waits_->ask(std::chrono::steady_clock::now(), [this](const auto&) {
    for (const auto& [server, waiting] : waits_->answers()) {
      speculation_->on_missing(waiting.step, waiting.partitions);
    }
  });
}

// ---- the end ------------------------------------------------------------------------------------

void Coordinator::drain() {
  net::asio::post(context_, [this] {
    if (draining_ || ending_) return;
    draining_ = true;
    if (!running_) {
      return end_job(wire::Failure{{Role::coordinator, 0},
                                   static_cast<int>(Fault::interrupted),
                                   phase(),
                                   "interrupted before training began"});
    }
    send_all(Role::worker, ControlKind::drain, wire::Drain{});
  });
}

void Coordinator::on_drain_answer(ControlPeer& peer, Step begun) {
  // A successor that has not begun knows nothing of its partitions; it is asked when it has.
  if (replacements_ && replacements_->awaits(peer.process())) return;
  Step& answer = drain_answers_[peer.process()];
  answer = std::max({answer, begun, least_begun_[peer.process()]});
  if (drain_answers_.size() != options_.workers || drained_to_) return;
  Step last = 0;
  for (const auto& [process, step] : drain_answers_) last = std::max(last, step);
  // What is opened in the ledger is charged: then it is taken, too.
  Releases* const releases = record_.releases();
  if (releases != nullptr) last = std::max(last, releases->granted());
  while (last < steps_ && checkpoints_->was_due(last)) ++last;
  last_ = std::min(std::max(last, start_step()), steps_);
  if (releases != nullptr) releases->end_at(last_);
  checkpoints_->take(last_, true);
  drained_to_ = last;
  send_all(Role::worker, ControlKind::last_step, wire::Drain{last});
}

// ---- privacy ------------------------------------------------------------------------------------

void Coordinator::on_released(ControlPeer& peer, const wire::Released& released) {
  Releases* const releases = record_.releases();
  if (releases == nullptr) fail(Fault::network, "nothing is released with noise in this job");
  if (ending_) return;
  try {
    if (releases->on_released(peer.process(), released)) grant();
  } catch (const std::exception&) {  // the ledger's fault, not that of who has released something
    const auto [fault, text] = describe(std::current_exception());
    end_job(wire::Failure{{Role::coordinator, 0}, static_cast<int>(fault), phase(), text});
  }
}

// Workers hear where the job ends before they are granted the step that comes last: else they would
// begin another one, and wait for ever.
void Coordinator::grant() {
  const Releases& releases = *record_.releases();
  if (releases.end() < last_) {
    record_.on_budget_spent(releases.end());
    draining_ = true;
    last_ = releases.end();
    drained_to_ = last_;
    checkpoints_->take(last_, true);
    send_all(Role::worker, ControlKind::last_step, wire::Drain{last_});
  }
  send_all(Role::worker, ControlKind::granted, wire::Drain{releases.granted()});
}

void Coordinator::on_finished(ControlPeer& peer, const wire::Finished& report) {
  record_.on_finished(peer.process(), report);
  membership_.on_finished(peer.process());
  record_.on_members(membership_.members());
  if (membership_.all_finished(Role::worker)) complete_if_saved();
}

// Workers are done; servers may still be writing what the job ends with.
void Coordinator::complete_if_saved() {
  if (ending_ || !checkpoints_->settled(last_)) return;
  if (options_.takeover && options_.takeover->ends && last_ != steps_) {
    record_.on_end(false, checkpoints_->newest() == last_);
    return end_job(wire::Failure{{Role::coordinator, 0},
                                 static_cast<int>(Fault::preempted),
                                 phase(),
                                 "nobody has taken the job over: it has ended after its step"});
  }
  record_.on_end(last_ == steps_, checkpoints_->newest() == last_);
  end_job(std::nullopt);
}

void Coordinator::abort(wire::Failure failure) {
  net::asio::post(context_, [this, failure = std::move(failure)]() mutable {
    if (failure.phase.empty()) failure.phase = phase();
    end_job(std::move(failure));
  });
}

void Coordinator::end_job(Outcome outcome) {
  if (ending_) return;
  ending_ = outcome;
  ending_since_ = std::chrono::steady_clock::now();
  if (outcome) {
    stop_ = *outcome;
    const std::string who = to_string(outcome->process);
    stop_.text =
        fmt::format("stopped by the coordinator: {} ({}): {}", who, outcome->phase, outcome->text);
  }
  send_all(Role::server, ControlKind::stop, stop_);
  send_all(Role::worker, ControlKind::stop, stop_);
  finish_if_all_gone();
}

void Coordinator::finish_if_all_gone() {
  if (!ending_ || !peers_.empty()) return;
  const std::lock_guard lock(mutex_);
  over_ = *ending_;
  changed_.notify_all();
}

std::vector<ProcessIdentity> Coordinator::local_ranks() {
  const std::lock_guard lock(mutex_);
  return local_ranks_;
}

std::optional<Coordinator::Outcome> Coordinator::wait(Duration limit) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, std::chrono::steady_clock::now() + limit,
                      [&] { return over_.has_value(); });
  return over_;
}

Coordinator::Options coordinator_options(const RunConfig& config, const wire::JobKey& key,
                                         std::string address, net::PortRange ports) {
  const RunSection& run = config.run();
  return {.credentials = make_credentials(config, key, {Role::coordinator, 0}, 0),
          .address = std::move(address),
          .ports = ports,
          .servers = run.servers,
          .workers = run.workers,
          .partitions = run.partitions,
          .deterministic = run.deterministic,
          .keeps_residuals = config.error_feedback(),
          .promises_bits = config.exact(),
          .beat = config.timeouts().beat,
          .suspect = config.timeouts().suspect,
          .dead = config.timeouts().dead,
          .start = config.timeouts().start,
          .job = run.name,
          .host = host_name(),
          .checkpoint = config.checkpoint(),
          .checkpoints = std::filesystem::absolute(config.run().dir) / "checkpoints",
          .manifest = manifest_of(config),
          .stands_in = config.stand_in_after().has_value(),
          .privacy = open_private_run(config),
          .chunk_bytes = config.network().chunk_bytes};
}

}  // namespace sheaf::launcher
