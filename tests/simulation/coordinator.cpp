#include "tests/simulation/coordinator.h"

#include "launcher/coordinator/replica_placement.h"
#include "tests/simulation/worker.h"

namespace sheaf::simulation {

using std::chrono::milliseconds;

namespace {

std::vector<std::uint32_t> place_backups(const Options& options) {
  if (!options.replicas) return {};
  std::vector<wire::ProcessInfo> servers(options.servers);
  for (std::uint32_t s = 0; s < options.servers; ++s) {
    servers[s].host_id = fmt::format("host {}", options.one_host ? 0 : s);
  }
  return launcher::place_replicas(servers).backups;
}

}  // namespace

Coordinator::Coordinator(Cluster& cluster, std::uint32_t first)
    : cluster_(cluster),
      backups_(place_backups(cluster.options)),
      membership_({.servers = cluster.options.servers,
                   .workers = cluster.options.workers,
                   .incarnation = first,
                   .start = milliseconds(kStart),
                   .suspect = milliseconds(kSuspect),
                   .dead = milliseconds(kDead)},
                  at(cluster.now())),
      replacements_({.servers = cluster.options.servers,
                     .workers = cluster.options.workers,
                     .partitions = cluster.options.partitions,
                     .incarnation = first,
                     .budget = &cluster.budget,
                     .servers_return = cluster.options.snapshot || cluster.options.replicas,
                     .backups = cluster.options.snapshot ? std::vector<std::uint32_t>() : backups_,
                     .start =
                         [this](const wire::ProcessInfo& lost, std::uint32_t number) {
                           const std::uint32_t which = lost.process.id;
                           if (lost.process.role == Role::server) {
                             return cluster_.start_server(which, number);
                           }
                           cluster_.start_worker(which, number);
                         },
                     .ask =
                         [this](const wire::PartitionClock& question) {
                           for (std::uint32_t s = 0; s < cluster_.options.servers; ++s) {
                             tell<ServerProcess>({Role::server, s}, [question](ServerProcess& p) {
                               p.say_clock(question);
                             });
                           }
                         },
                     .begin =
                         [this](ProcessId worker, Step step) {
                           membership_.on_running();
                           const Step late = cluster_.options.mutant == Mutant::late_start ? 1 : 0;
                           tell<Worker>(worker, [step, late](Worker& w) {
                             w.successor = true;
                             w.begin(step + late);
                           });
                         },
                     .adopt = [this](const wire::ProcessInfo& lost) { adopt(lost); }}),
      speculation_({cluster.options.workers, cluster.options.partitions,
                    [this](std::uint32_t worker, const wire::PartitionClock& help) {
                      tell<Worker>({Role::worker, worker}, [help](Worker& w) { w.stand_in(help); });
                    }}),
      disk_(cluster.disk, [this](const checkpoint::Operation& operation) {
        const bool last = alive && breaths && *breaths == 0;
        if (last && operation.half) operation.half();
        breathe();
      }) {
  id = {Role::coordinator, 0};
  incarnation = first;
  attempt = cluster.attempt;
  on_killed = [this] { cluster_.on_killed(*this); };
}

// What is said reaches only whom it is meant for.
template <typename P>
void Coordinator::tell(ProcessId to, std::function<void(P&)> what) {
  Process* const process = find(to);
  if (process == nullptr || process->cut_off) return;
  cluster_.control(*process,
                   [process, what = std::move(what)] { what(static_cast<P&>(*process)); });
}

bool Coordinator::knows(const Process& process) const {
  const auto found = peers_.find(process.id);
  return found != peers_.end() && found->second == &process;
}

Process* Coordinator::find(ProcessId process) const {
  const auto found = peers_.find(process);
  return found == peers_.end() ? nullptr : found->second;
}

Beginning Coordinator::beginning() const {
  Beginning beginning;
  beginning.backups = backups_;
  for (const cluster::Member& member : membership_.members()) {
    const bool server = member.info.process.role == Role::server;
    (server ? beginning.servers : beginning.workers).push_back(member.info.incarnation);
    if (server) {
      beginning.there.push_back(static_cast<ServerProcess*>(find(member.info.process)));
    }
  }
  return beginning;
}

// ---- who is there -------------------------------------------------------------------------------

void Coordinator::on_registered(Process& process) {
  if (membership_.admit(process.id, process.incarnation) != wire::Verdict::welcome) {
    ++cluster_.outcome.turned_away;
    return cluster_.control(process, [&process] { process.kill(); });
  }
  wire::ProcessInfo info;
  info.process = process.id;
  info.incarnation = process.incarnation;
  info.host = "its own";
  membership_.on_registered(info, at(cluster_.now()));
  peers_[process.id] = &process;
  if (running_) return replacements_.on_registered(process.id);
  if (membership_.everybody_registered()) begin_job();
}

void Coordinator::begin_job() {
  running_ = true;
  membership_.on_running();
  for (std::uint32_t s = 0; s < cluster_.options.servers; ++s) {
    tell<ServerProcess>({Role::server, s},
                        [beginning = beginning()](ServerProcess& p) { p.open(beginning); });
  }
  const Step first = cluster_.resumed ? cluster_.resumed->step : 0;
  for (std::uint32_t w = 0; w < cluster_.options.workers; ++w) {
    tell<Worker>({Role::worker, w}, [first](Worker& p) { p.begin(first); });
  }
  launcher::Checkpoints::Options o;
  o.folder = kCheckpoints;
  o.host = "host";
  o.servers = cluster_.options.servers;
  o.every = milliseconds(cluster_.options.save_every);
  o.keep = 2;
  o.last = cluster_.options.steps;
  o.manifest.job = "simulation";
  o.manifest.layout = cluster_.all;
  o.manifest.state_per_parameter = 1;
  o.order = [this](Role, const wire::CheckpointAt& order) {
    for (std::uint32_t s = 0; s < cluster_.options.servers; ++s) {
      tell<ServerProcess>({Role::server, s}, [order](ServerProcess& p) { p.checkpoint_at(order); });
    }
  };
  o.name_base = [this](const wire::CheckpointBase& base) {
    for (std::uint32_t s = 0; s < cluster_.options.servers; ++s) {
      tell<ServerProcess>({Role::server, s}, [base](ServerProcess& p) { p.name_base(base); });
    }
  };
  o.in_background = [this](std::function<void()> task) {
    tasks_.push_back(std::move(task));
    cluster_.later(1 + cluster_.chance(100), *this, [this] { run_next_task(); });
  };
  o.post = [this](std::function<void()> task) { cluster_.control(*this, std::move(task)); };
  o.warn = [](std::string_view) {};
  o.on_settled = [this] {
    const launcher::CheckpointBytes& bytes = checkpoints_->bytes();
    cluster_.outcome.kept_bytes = std::max(cluster_.outcome.kept_bytes, bytes.held - bytes.written);
    cluster_.announced = std::max(cluster_.announced, checkpoints_->newest());
    if (membership_.all_finished(Role::worker)) complete_if_saved();
  };
  const auto newest = cluster_.resumed ? std::optional(cluster_.resumed->step) : std::nullopt;
  checkpoints_ =
      std::make_unique<launcher::Checkpoints>(std::move(o), disk_, newest, at(cluster_.now()));
  checkpoints_->take(0, cluster_.options.steps == 0);
  checkpoints_->take(cluster_.options.steps, true);
}

void Coordinator::run_next_task() {
  const auto task = std::move(tasks_.front());
  tasks_.pop_front();
  task();
}

void Coordinator::on_heard(ProcessId process, std::uint32_t number) {
  if (membership_.member(process).info.incarnation != number) return;
  membership_.on_heard(process, at(cluster_.now()));
}

void Coordinator::on_closed(ProcessId process, std::uint32_t number) {
  const cluster::Member& member = membership_.member(process);
  if (member.info.incarnation != number) return;
  // A successor that ends before it is here ends the job, as Attempt would say.
  if (running_ && member.state == cluster::MemberState::absent) return cluster_.restart();
  if (const auto event = membership_.on_closed(process, "killed")) handle({*event});
}

void Coordinator::tick() {
  const TimePoint now = at(cluster_.now());
  handle(membership_.on_tick(now));
  if (!alive) return;
  replacements_.on_tick(now);
  if (checkpoints_) checkpoints_->on_tick(now, cluster_.newest_step);
}

// ---- losses -------------------------------------------------------------------------------------

void Coordinator::handle(const std::vector<Event>& events) {
  for (const Event& event : events) {
    const bool lost = event.kind == Event::Kind::dead || event.kind == Event::Kind::missing;
    if (!lost || (event.kind == Event::Kind::dead && replace(event))) continue;
    return cluster_.restart();
  }
}

bool Coordinator::replace(const Event& event) {
  if (!running_) return false;
  const Options& options = cluster_.options;
  wire::ProcessInfo lost = membership_.member(event.process).info;
  const bool server = lost.process.role == Role::server;
  // Its host may be gone, and what it has left there; if not, it is not known to have ended.
  if (event.silent && options.replicas && !options.one_host) lost.host.clear();
  const auto successor = replacements_.on_lost(lost, checkpoints_->newest(), at(cluster_.now()));
  if (!successor && server && options.replicas) ++cluster_.outcome.pairs_lost;
  if (!successor) return false;
  cluster_.newest_incarnation = std::max(cluster_.newest_incarnation, successor->incarnation);
  const Duration limit = milliseconds(std::max<Milliseconds>(kDead, 5000));
  membership_.await_successor(event.process, successor->incarnation,
                              at(cluster_.now()) + successor->pause, limit);
  if (!server) speculation_.on_lost(event.process.id);
  const auto peer = peers_.find(event.process);
  if (peer == peers_.end()) return true;
  // Its connection to us ends, which it sees when it goes on, and then it ends itself; unless it is
  // killed, because it is on our host.
  Process& process = *peer->second;
  peers_.erase(peer);
  if (server && options.mutant == Mutant::two_servers) return true;
  if (!server && options.one_host) {
    process.kill();
  } else if (!process.cut_off) {
    cluster_.control(process, [&process] { process.kill(); });
  }
  return true;
}

// On the same host it ends its predecessor, which may only be stopped.
void Coordinator::adopt(const wire::ProcessInfo& lost) {
  const ProcessId server = lost.process;
  checkpoints_->on_replaced(server, [&](const wire::CheckpointAt& order) {
    tell<ServerProcess>(server, [order](ServerProcess& p) { p.checkpoint_at(order); });
  });
  Beginning begin = beginning();
  begin.adopt = true;
  begin.same_host = !lost.host.empty();
  tell<ServerProcess>(server, [this, begin, number = lost.incarnation](ServerProcess& p) {
    if (begin.same_host && cluster_.options.mutant != Mutant::two_servers) {
      for (const auto& other : cluster_.servers) {
        if (other->id == p.id && other->incarnation == number) other->kill();
      }
    }
    p.open(begin);
  });
}

// ---- what they say ------------------------------------------------------------------------------

void Coordinator::on_moved(ProcessId server) {
  check(replacements_.on_adopted(server), "a server has taken somebody's place");
  membership_.on_running();
  auto* const moved = static_cast<ServerProcess*>(find(server));
  for (const auto& [other, process] : peers_) {
    if (other == server) continue;
    if (other.role == Role::worker) tell<Worker>(other, [moved](Worker& w) { w.moved(*moved); });
    if (other.role == Role::server) {
      tell<ServerProcess>(other, [moved](ServerProcess& p) { p.moved(*moved); });
    }
  }
}

void Coordinator::on_offer(std::uint32_t worker, Step step) {
  speculation_.on_offer(worker, step);
  for (std::uint32_t s = 0; s < cluster_.options.servers; ++s) {
    tell<ServerProcess>({Role::server, s}, [](ServerProcess& p) { p.say_waiting(); });
  }
}

void Coordinator::on_waiting(const wire::Waiting& waiting) {
  speculation_.on_missing(waiting.step, waiting.partitions);
}

void Coordinator::on_clock(std::uint32_t server, const wire::PartitionClock& clock) {
  replacements_.on_clock(server, clock);
}

void Coordinator::on_answer(std::uint32_t server, const wire::CheckpointAnswer& answer) {
  checkpoints_->on_answer({Role::server, server}, answer);
}

void Coordinator::on_saved(std::uint32_t server, const wire::Saved& saved) {
  checkpoints_->on_saved({Role::server, server}, saved);
}

void Coordinator::on_finished(ProcessId worker) {
  membership_.on_finished(worker);
  if (membership_.all_finished(Role::worker)) complete_if_saved();
}

void Coordinator::complete_if_saved() {
  if (checkpoints_->settled(cluster_.options.steps)) cluster_.complete();
}

std::string Coordinator::status() const {
  std::string text = "coordinator:";
  for (const cluster::Member& member : membership_.members()) {
    text += fmt::format(" {}#{} state {}", to_string(member.info.process), member.info.incarnation,
                        static_cast<int>(member.state));
  }
  return text + "\n";
}

}  // namespace sheaf::simulation
