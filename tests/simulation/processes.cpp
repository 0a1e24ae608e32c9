// How simulated processes begin, find each other and are gone.
#include "tests/simulation/channel.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/coordinator.h"
#include "tests/simulation/server_process.h"
#include "tests/simulation/worker.h"

namespace sheaf::simulation {

using server::SessionId;

// ---- connections --------------------------------------------------------------------------------

LaneServer* Cluster::lane(std::size_t index) {
  ServerProcess* const server = newest_server(static_cast<std::uint32_t>(index) / options.lanes);
  return server == nullptr ? nullptr : server->lanes[index % options.lanes].get();
}

ServerProcess* Cluster::newest_server(std::uint32_t id) const {
  const auto found = server_at_.find(id);
  return found == server_at_.end() ? nullptr : found->second;
}

Channel& Cluster::new_channel(Process& caller, Talker& calling, Process& called,
                              Talker& answering) {
  return *channels_.emplace_back(
      std::make_unique<Channel>(*this, caller, calling, called, answering));
}

SessionId Cluster::new_session(Worker& worker, std::size_t index, LaneServer* server) {
  // The newer self of a worker ends the connections of the one before.
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    const Session& before = sessions[i];
    if (before.closed || before.server != server) continue;
    if (before.worker->which() == worker.which()) close(static_cast<SessionId>(i));
  }
  sessions.push_back({&worker, index, server});
  return static_cast<SessionId>(sessions.size() - 1);
}

void Cluster::close(SessionId id) {
  Session& session = sessions[id];
  if (std::exchange(session.closed, true)) return;
  if (session.server->process().alive) session.server->shard->on_closed(id);
  if (!options.coordinated) return;
  later(random_delay(), *session.worker,
        [worker = session.worker, lane = session.lane, id] { worker->on_closed(lane, id); });
}

void Cluster::share_scalars() {
  if (options.mutant == Mutant::silent_scalars) return;
  for (const auto& [id, server] : server_at_) {
    for (const auto& lane : server->lanes) {
      later(random_delay(), *server, [&lane = *lane] {
        if (lane.shard) lane.shard->share_scalars();
      });
    }
  }
}

// A server that takes another one's place has its address.
void Cluster::connect(Worker& worker, std::size_t index, std::uint64_t knock) {
  events.schedule(random_delay(), [this, &worker, index, knock] {
    LaneServer* const server = lane(index);
    if (server == nullptr || server->process().attempt != attempt) return;
    in(server->process(), [this, &worker, index, knock, server] {
      if (!server->serves()) return;  // it listens, but does not accept yet
      wire::Identity identity;
      identity.process = worker.id;
      identity.incarnation = worker.incarnation;
      identity.lane = static_cast<std::uint32_t>(index) % options.lanes;
      const bool key = worker.attempt == attempt;
      const bool open = options.mutant == Mutant::no_fence;
      const auto verdict = open ? wire::Verdict::welcome : server->door.admit(identity);
      if (!key || verdict != wire::Verdict::welcome) {
        ++outcome.turned_away;
        return later(random_delay(), worker, [&worker] { worker.kill(); });
      }
      const SessionId session = new_session(worker, index, server);
      later(random_delay(), worker,
            [&worker, index, knock, session] { worker.on_connected(index, session, knock); });
    });
  });
}

void Cluster::on_added(const server::TraceEvent& event) {
  for (std::uint32_t p = event.partitions.first; p < event.partitions.end(); ++p) {
    added[event.chunk].emplace(event.step, p);
  }
}

// ---- processes ----------------------------------------------------------------------------------

void Cluster::start_worker(std::uint32_t id, std::uint32_t incarnation) {
  std::set<std::uint32_t> hosted;
  const PartitionRange share = params::hosted_partitions(options.partitions, options.workers, id);
  for (std::uint32_t p = share.first; p < share.end(); ++p) hosted.insert(p);
  workers.push_back(std::make_unique<Worker>(*this, id, incarnation, std::move(hosted)));
  Worker& worker = *workers.back();
  if (!options.coordinated) return;
  Coordinator& coordinator = *coordinators.back();
  later(200 + chance(800), worker, [this, &worker, &coordinator] {
    control(coordinator, [&coordinator, &worker] {
      if (worker.alive) coordinator.on_registered(worker);
    });
  });
}

void Cluster::start_server(std::uint32_t id, std::uint32_t incarnation) {
  servers.push_back(std::make_unique<ServerProcess>(*this, id, incarnation));
  ServerProcess& server = *servers.back();
  if (!options.coordinated) {
    server_at_[id] = &server;
    return server.open({});
  }
  Coordinator& coordinator = *coordinators.back();
  later(200 + chance(800), server, [this, &server, &coordinator] {
    server_at_[server.id.id] = &server;
    control(coordinator, [&coordinator, &server] {
      if (server.alive) coordinator.on_registered(server);
    });
  });
}

// Whoever was connected sees it; so does the coordinator, unless it is cut off from it.
void Cluster::on_killed(Process& process) {
  note(now() * 37 + process.id.id);
  ++outcome.kills;
  if (process.id.role == Role::coordinator) {
    return events.schedule(1, [this, attempt = process.attempt] {
      if (attempt == this->attempt) restart();
    });
  }
  const bool server = process.id.role == Role::server;
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    const Session& session = sessions[i];
    if (session.closed) continue;
    if (server ? &session.server->process() == &process : session.worker == &process) {
      if (server) {
        close(static_cast<SessionId>(i));
      } else {
        later(random_delay(), session.server->process(),
              [this, i] { close(static_cast<SessionId>(i)); });
      }
    }
  }
  for (const auto& channel : channels_) channel->on_killed(process);
  if (server && options.mutant == Mutant::torn_commit && options.snapshot) {
    for (const auto& lane : static_cast<ServerProcess&>(process).lanes) {
      if (lane->shard) lane->commit_torn();
    }
  }
  if (process.cut_off || coordinators.empty()) return;
  Coordinator& coordinator = *coordinators.back();
  if (process.attempt != coordinator.attempt) return;
  later(random_delay(), coordinator,
        [&coordinator, id = process.id, n = process.incarnation] { coordinator.on_closed(id, n); });
}

}  // namespace sheaf::simulation
