// How a job begins: ranks register, agree or do not, and are told of each other; then checkpoints
// are ordered and losses can be replaced.
#include <algorithm>

#include "common/base/error.h"
#include "common/params/chunk_map.h"
#include "launcher/coordinator/agreement.h"
#include "launcher/coordinator/coordinator.h"
#include "launcher/coordinator/replica_placement.h"
#include "launcher/run/resume.h"

namespace sheaf::launcher {

using wire::ControlKind;

void Coordinator::on_registration(ControlPeer& peer, wire::Registration registration) {
  registration.info.process = peer.process();  // what was proved, not what is claimed
  registration.info.incarnation = peer.incarnation();
  const bool early = options_.takeover && !running_;  // started by a supervisor that has died
  if (early || (running_ && !(replacements_ && replacements_->awaits(peer.process())))) {
    fail(Fault::network, "{} registers, but nobody waits for it", to_string(peer.process()));
  }
  membership_.on_registered(registration.info, std::chrono::steady_clock::now());
  note_local(registration);
  registrations_[peer.process()] = std::move(registration);
  record_.on_members(membership_.members());
  if (ending_) return;
  if (running_) return on_successor(peer);
  if (membership_.everybody_registered()) begin_job();
}

// The pid is worth something only if it names the same process here: another host's does not.
void Coordinator::note_local(const wire::Registration& registration) {
  const ProcessIdentity identity{static_cast<pid_t>(registration.info.pid),
                                 registration.info.started};
  const ProcessIdentity keeper{static_cast<pid_t>(registration.keeper_pid),
                               registration.keeper_started};
  for (const ProcessIdentity& process : {identity, keeper}) {
    if (process.pid == 0 || identify(process.pid) != process) continue;
    const std::lock_guard lock(mutex_);
    local_ranks_.push_back(process);
  }
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
    return end_job(
        wire::Failure{{Role::coordinator, 0},
                      static_cast<int>(Fault::config),
                      phase(),
                      fmt::format("the checkpoint of step {} is of {}", options_.resumed->step,
                                  what_differs(options_.resumed->layout, first.layout))});
  }
  try {  // now that all agree: before anything is written
    if (options_.privacy) open_ledger(first);
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
  for (const auto& [process, r] : registrations_) residuals_of_[process] = r.info;
  say_encryption();
  const bool exact =
      agreement.warnings.empty() && options_.promises_bits && has_residuals() && !has_other_noise();
  record_.on_start(first, exact, std::chrono::steady_clock::now());
  record_.on_members(membership_.members());
  place_backups();
  for (const Role role : {Role::server, Role::worker}) {
    send_all(role, ControlKind::start, start_message(role));
  }
  begin_checkpoints(first);
  checkpoints_->take(0, last_ == 0);
  checkpoints_->take(last_, true);
  begin_replacements();
  if (options_.privacy) grant();
}

// What the pushes of the steps before had left out, if the job keeps that. A job that keeps it no
// more goes on without, which is said.
bool Coordinator::has_residuals() {
  if (!options_.resumed) return true;
  if (!options_.keeps_residuals) {
    if (!options_.resumed->residuals.empty()) {
      record_.note("warning: what pushes had left out before goes: compression.push.feedback");
    }
    return true;
  }
  if (!lacks_residuals(*options_.resumed)) return true;
  record_.note(
      fmt::format("warning: the checkpoint of step {} does not have what pushes had left out: they "
                  "begin with nothing",
                  start_step()));
  return false;
}

// Than without the stop before this step: a branch of shared noise begins.
bool Coordinator::has_other_noise() const {
  return options_.privacy && options_.privacy->terms.bands != 0 && start_step() != 0;
}

void Coordinator::place_backups() {
  if (!options_.replicas) return;
  std::vector<wire::ProcessInfo> servers;
  for (std::uint32_t id = 0; id < options_.servers; ++id) {
    servers.push_back(membership_.member({Role::server, id}).info);
  }
  ReplicaPlacement placement = place_replicas(servers);
  backups_ = std::move(placement.backups);
  if (!placement.warning.empty()) record_.note("warning: " + placement.warning);
}

// The first step is open on the disk before any rank trains.
void Coordinator::open_ledger(const wire::Registration& first) {
  if (spans_hosts_ && options_.credentials.encryption == net::Encryption::never) {
    fail(Fault::config,
         "network.encryption: found \"none\" in a private job over several hosts, expected "
         "\"auto\"");
  }
  if (options_.privacy->is_copy) {
    record_.note(
        "warning: another copy of this run has used its secrets since: what that one releases is "
        "not in this ledger; others are made, and steps that are taken again are charged anew");
  }
  privacy::LedgerTerms terms = options_.privacy->terms;
  if (terms.bands != 0) {
    terms.branch = {start_step(), privacy::digest_text(wire::random_bytes()).substr(0, 32)};
  }
  const params::ChunkMap chunks(first.layout, options_.chunk_bytes);
  record_.open_ledger({.ledger = options_.privacy->ledger,
                       .terms = terms,
                       .epsilon = options_.privacy->epsilon,
                       .chunks = static_cast<std::uint32_t>(chunks.size()),
                       .first = start_step(),
                       .last = std::max(first.steps, start_step())});
}

// Each role is told its own secret alone.
wire::Start Coordinator::start_message(Role role) const {
  wire::Start start;
  start.backups = backups_;
  for (const cluster::Member& member : membership_.members()) start.roster.push_back(member.info);
  start.layout = registrations_.at({Role::worker, 0}).layout;
  start.checkpoints = options_.checkpoints.string();
  if (options_.privacy) {
    const privacy::RunSecrets& secrets = options_.privacy->secrets;
    start.secret = (role == Role::server ? secrets.noise : secrets.sampling).hex();
    start.noise = options_.privacy->terms.noise;
    for (const privacy::NoiseBranch& branch : record_.releases()->ledger().branches()) {
      start.branch_steps.push_back(branch.first);
      start.branch_names.push_back(branch.name);
    }
  }
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
  o.workers = options_.keeps_residuals ? options_.workers : 0;
  o.order = [this](Role role, const wire::CheckpointAt& order) {
    send_all(role, ControlKind::checkpoint, order);
  };
  o.name_base = [this](const wire::CheckpointBase& base) {
    send_all(Role::server, ControlKind::base, base);
  };
  o.in_background = [this](std::function<void()> task) { files_->run(std::move(task)); };
  o.post = [this](std::function<void()> task) {
    net::asio::post(context_, [this, task = std::move(task)] {
      if (!closing_) task();
    });
  };
  o.warn = [this](std::string_view text) { record_.note(text); };
  o.on_settled = [this] {
    record_.on_checkpoint(checkpoints_->newest(), checkpoints_->bytes(), checkpoints_->failed());
    if (membership_.all_finished(Role::worker)) complete_if_saved();
  };
  const std::optional<Version> newest =
      options_.resumed ? std::optional(options_.resumed->step) : std::nullopt;
  files_.emplace();
  checkpoints_ =
      std::make_unique<Checkpoints>(std::move(o), disk_, newest, std::chrono::steady_clock::now());
  record_.on_checkpoint(newest, {}, 0);
  waits_ = std::make_unique<Waits>(
      Waits::Options{.servers = options_.servers,
                     .workers = options_.workers,
                     .partitions = options_.partitions,
                     .still = options_.suspect,
                     .ask = [this] { send_all(Role::server, ControlKind::waiting, wire::Drain{}); },
                     .warn = [this](std::string_view text) { record_.note(text); }},
      newest_step_, std::chrono::steady_clock::now());
  if (options_.stands_in) {
    speculation_.emplace(
        Speculation::Options{options_.workers, options_.partitions,
                             [this](std::uint32_t worker, const wire::PartitionClock& help) {
                               if (ControlPeer* peer = find({Role::worker, worker}))
                                 peer->send(ControlKind::help, help);
                             }});
  }
}

void Coordinator::begin_replacements() {
  if (!options_.replace) return;
  replacements_.emplace(Replacements::Options{
      .servers = options_.servers,
      .workers = options_.workers,
      .partitions = options_.partitions,
      .incarnation = options_.incarnation,
      .budget = options_.budget,
      .servers_return = options_.snapshots || options_.replicas,
      .backups = options_.snapshots ? std::vector<std::uint32_t>() : backups_,
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

}  // namespace sheaf::launcher
