#include "launcher/coordinator.h"

#include <algorithm>

#include "common/base/error.h"
#include "launcher/agreement.h"
#include "launcher/host.h"
#include "launcher/rank.h"
#include "launcher/resume.h"

namespace sheaf::launcher {

using cluster::Membership;
using wire::ControlKind;
using wire::FrameType;
using wire::Header;

namespace {

constexpr std::size_t kStrangers = 64;  // connections in their handshake at once

}  // namespace

Coordinator::Coordinator(Options options, JobRecord& record)
    : options_(std::move(options)),
      record_(record),
      listener_(context_, options_.address, options_.ports),
      membership_({.servers = options_.servers,
                   .workers = options_.workers,
                   .incarnation = options_.incarnation,
                   .start = options_.start,
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
    if (!membership_.expects(client.process)) return wire::Verdict::not_expected;
    if (client.epoch != options_.credentials.self.epoch) return wire::Verdict::stale;
    if (client.incarnation < membership_.member(client.process).info.incarnation) {
      return wire::Verdict::stale;
    }
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
  switch (header.type) {
    case FrameType::beat: newest_step_ = std::max(newest_step_, header.step); break;
    case FrameType::tensor: record_.on_model(header.value, body); break;
    default: on_control(peer, static_cast<ControlKind>(header.value), body); break;
  }
}

void Coordinator::on_control(ControlPeer& peer, ControlKind kind, std::span<const std::byte> body) {
  const auto now = std::chrono::steady_clock::now();
  switch (kind) {
    case ControlKind::registration:
      return on_registration(peer, wire::from_bytes<wire::Registration>(body));
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
      if (!checkpoints_) break;
      return checkpoints_->on_answer(peer.process().id,
                                     wire::from_bytes<wire::CheckpointAnswer>(body));
    case ControlKind::clock:
      if (!replacements_) break;
      return replacements_->on_clock(peer.process().id,
                                     wire::from_bytes<wire::PartitionClock>(body));
    case ControlKind::moved:
      if (!replacements_) break;
      return on_moved(peer);
    case ControlKind::waiting:
      if (!waits_) break;
      return waits_->on_answer(peer.process().id, wire::from_bytes<wire::Waiting>(body));
    case ControlKind::skipped: return record_.on_skipped(wire::from_bytes<wire::Drain>(body).step);
    case ControlKind::saved:
      if (!checkpoints_) break;
      return checkpoints_->on_saved(peer.process().id, wire::from_bytes<wire::Saved>(body));
    default: break;
  }
  fail(Fault::network, "control message {} is not for the coordinator",
       static_cast<std::uint64_t>(kind));
}

void Coordinator::on_registration(ControlPeer& peer, wire::Registration registration) {
  registration.info.process = peer.process();  // what was proved, not what is claimed
  if (running_ && !(replacements_ && replacements_->awaits(peer.process()))) {
    fail(Fault::network, "{} registers, but nobody waits for it", to_string(peer.process()));
  }
  membership_.on_registered(registration.info, std::chrono::steady_clock::now());
  // The pid is worth something only if it names the same process here: another host's does not.
  const ProcessIdentity identity{static_cast<pid_t>(registration.info.pid),
                                 registration.info.started};
  const ProcessIdentity keeper{static_cast<pid_t>(registration.keeper_pid),
                               registration.keeper_started};
  for (const ProcessIdentity& process : {identity, keeper}) {
    if (process.pid == 0 || identify(process.pid) != process) continue;
    const std::lock_guard lock(mutex_);
    local_ranks_.push_back(process);
  }
  registrations_[peer.process()] = std::move(registration);
  record_.on_members(membership_.members());
  if (ending_) return;
  if (running_) return on_successor(peer);
  if (membership_.everybody_registered()) begin_job();
}

void Coordinator::begin_job() {
  const Agreement agreement = compare(registrations_, options_.deterministic);
  for (const std::string& warning : agreement.warnings) record_.note("warning: " + warning);
  if (agreement.misfit) {
    wire::Failure misfit = *agreement.misfit;
    misfit.phase = phase();
    return end_job(std::move(misfit));
  }
  const wire::Registration& first = registrations_.at({Role::worker, 0});
  if (options_.resumed && !same_layout(options_.resumed->layout, first.layout)) {
    return end_job(wire::Failure{
        {Role::coordinator, 0},
        static_cast<int>(Fault::config),
        phase(),
        fmt::format("the checkpoint of step {} is of another model than the job file says: {} "
                    "parameters in {} tensors, found {} in {}",
                    options_.resumed->step, options_.resumed->layout.size(),
                    options_.resumed->layout.tensors().size(), first.layout.size(),
                    first.layout.tensors().size())});
  }
  try {  // now that all agree: before a server writes anything
    record_.on_agreed();
    if (options_.resumed) {
      remove_newer(options_.checkpoints, start_step(),
                   [this](std::string_view text) { record_.note(text); });
    }
  } catch (const Error& error) {
    return end_job(wire::Failure{
        {Role::coordinator, 0}, static_cast<int>(error.fault()), phase(), error.message()});
  }
  running_ = true;
  began_.store(true, std::memory_order_relaxed);
  membership_.on_running();
  say_encryption();
  record_.on_start(first, agreement.warnings.empty() && options_.promises_bits,
                   std::chrono::steady_clock::now());
  record_.on_members(membership_.members());
  const wire::Start start = start_message();
  send_all(Role::server, ControlKind::start, start);
  send_all(Role::worker, ControlKind::start, start);
  begin_checkpoints(first);
}

wire::Start Coordinator::start_message() const {
  wire::Start start;
  for (const cluster::Member& member : membership_.members()) start.roster.push_back(member.info);
  start.layout = registrations_.at({Role::worker, 0}).layout;
  start.checkpoints = options_.checkpoints.string();
  if (options_.resumed) {
    start.first_step = options_.resumed->step;
    start.manifest = checkpoint::to_text(*options_.resumed);
  }
  return start;
}

// The first and the last version are always saved; those between as often as the job file says.
void Coordinator::begin_checkpoints(const wire::Registration& first) {
  last_ = steps_ = std::max(first.steps, start_step());
  newest_step_ = start_step();
  Checkpoints::Options o;
  o.folder = options_.checkpoints;
  o.host = options_.host;
  o.servers = options_.servers;
  o.every = options_.checkpoint.every;
  o.keep = options_.checkpoint.keep;
  o.last = last_;
  o.manifest = options_.manifest;
  o.manifest.layout = first.layout;
  o.order = [this](const wire::CheckpointAt& order) {
    send_all(Role::server, ControlKind::checkpoint, order);
  };
  o.post = [this](std::function<void()> task) {
    net::asio::post(context_, [this, task = std::move(task)] {
      if (!closing_) task();
    });
  };
  o.warn = [this](std::string_view text) { record_.note(text); };
  o.on_settled = [this] {
    record_.on_checkpoint(checkpoints_->newest(), checkpoints_->failed());
    if (membership_.all_finished(Role::worker)) complete_if_saved();
  };
  const std::optional<Version> newest =
      options_.resumed ? std::optional(options_.resumed->step) : std::nullopt;
  checkpoints_ =
      std::make_unique<Checkpoints>(std::move(o), newest, std::chrono::steady_clock::now());
  record_.on_checkpoint(newest, 0);
  waits_ = std::make_unique<Waits>(
      Waits::Options{.servers = options_.servers,
                     .workers = options_.workers,
                     .partitions = options_.partitions,
                     .still = options_.suspect,
                     .ask = [this] { send_all(Role::server, ControlKind::waiting, wire::Drain{}); },
                     .warn = [this](std::string_view text) { record_.note(text); }},
      newest_step_, std::chrono::steady_clock::now());
  checkpoints_->take(0, last_ == 0);
  checkpoints_->take(last_, true);
  if (!options_.replace) return;
  replacements_.emplace(Replacements::Options{
      .servers = options_.servers,
      .workers = options_.workers,
      .partitions = options_.partitions,
      .incarnation = options_.incarnation,
      .budget = options_.budget,
      .servers_return = options_.servers_return,
      .start = options_.replace,
      .ask =
          [this](const wire::PartitionClock& question) {
            send_all(Role::server, ControlKind::clock, question);
          },
      .begin = [this](ProcessId worker, Step step) { begin_successor(worker, step); },
      .adopt = [this](const wire::ProcessInfo& lost) { begin_server(lost); }});
}

// Once per job, and aloud where it matters: between hosts, and where somebody asked for it.
void Coordinator::say_encryption() {
  const net::Encryption encryption = options_.credentials.encryption;
  const bool always = encryption == net::Encryption::always;
  const bool encrypted = always || (spans_hosts_ && encryption != net::Encryption::never);
  record_.on_encryption(encrypted);
  if (encrypted) {
    record_.note(fmt::format("{} are encrypted ({})",
                             always ? "all connections" : "connections between hosts",
                             net::kTlsName));
  } else if (spans_hosts_) {
    record_.note(
        "warning: network.encryption = \"none\": whoever can reach the network between the hosts "
        "can read and change gradients, parameters and the model");
  }
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
  while (last < steps_ && checkpoints_->was_due(last)) ++last;
  last_ = std::min(std::max(last, start_step()), steps_);
  checkpoints_->take(last_, true);
  drained_to_ = last;
  send_all(Role::worker, ControlKind::last_step, wire::Drain{last});
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

template <typename Message>
void Coordinator::send_all(Role role, ControlKind kind, const Message& message) {
  for (const auto& peer : peers_) {
    if (peer->process().role == role) peer->send(kind, message);
  }
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
          .promises_bits = config.exact(),
          .beat = config.timeouts().beat,
          .suspect = config.timeouts().suspect,
          .dead = config.timeouts().dead,
          .start = config.timeouts().start,
          .job = run.name,
          .host = host_name(),
          .checkpoint = config.checkpoint(),
          .checkpoints = std::filesystem::absolute(config.run().dir) / "checkpoints",
          .manifest = manifest_of(config)};
}

}  // namespace sheaf::launcher
