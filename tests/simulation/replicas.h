// The two ends of what keeps a replica of a simulated lane on another server: the real BackupTalk
// and Replica over a Channel, and of ServerLink as much as says when there is one.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>

#include "server/backup_talk.h"
#include "server/replica/replica.h"
#include "tests/simulation/channel.h"

namespace sheaf::simulation {

// Of a lane, to the one that keeps its replica.
class ToBackup final : public Talker {
 public:
  // `backup`: the process that is that server now; null: it is being replaced.
  ToBackup(Cluster& cluster, LaneServer& lane, ServerProcess* backup,
           server::BackupTalk::Options options);

  void start() { look(); }
  bool adopts() const { return talk_.adopts(); }
  // Another process has taken the place of a server.
  void moved(ServerProcess& server);
  void wake();
  void cut();  // the connection breaks

  // Talker
  std::span<std::byte> receive_into(const wire::Header& header) override;
  void on_frame(const wire::Header& header) override;
  std::optional<wire::OutFrame> next_frame() override;
  void on_written() override;
  void on_closed() override;

 private:
  void look();
  void knock(ServerProcess& there, std::uint64_t attempt);
  void on_admitted(Channel& channel, std::uint64_t attempt);
  void on_failed(std::uint64_t attempt);
  void answer_early(const wire::Header& sent);  // see Mutant::early_replica

  Cluster& cluster_;
  LaneServer& lane_;
  Process& process_;
  const ProcessId whom_;
  ServerProcess* backup_;
  server::BackupTalk talk_;
  Channel* channel_ = nullptr;
  std::uint64_t attempt_ = 0;  // to connect; answers to those before count for nothing
  Milliseconds since_ = 0;     // there is no connection
};

// Of the lane that keeps a replica.
class KeptReplica final : public Talker {
 public:
  // `whole`: nothing has happened yet that it should know of.
  KeptReplica(Cluster& cluster, Process& process, const server::Replica::Parts& parts, bool whole);

  // Whoever was connected before is not any more.
  Channel& connect(Process& caller, Talker& calling);

  // Talker
  std::span<std::byte> receive_into(const wire::Header& header) override;
  void on_frame(const wire::Header& header) override;
  std::optional<wire::OutFrame> next_frame() override;
  void on_closed() override { channel_ = nullptr; }

 private:
  // See Mutant::stale_replica.
  bool is_stale() const { return cluster_.options.mutant == Mutant::stale_replica; }
  void take_held();

  Cluster& cluster_;
  Process& process_;
  server::Replica replica_;
  bool whole_;
  Channel* channel_ = nullptr;
  std::optional<std::pair<wire::Header, Bytes>> held_;  // a sum that was answered, but not taken
  std::deque<wire::OutFrame> answers_;
};

}  // namespace sheaf::simulation
