// One lane of a simulated server: the real Shard and Door, and what is said between them and the
// workers.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "server/consistency/trace.h"
#include "server/door.h"
#include "server/shard/shard.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/replicas.h"

namespace sheaf::simulation {

class ServerProcess;
struct Beginning;

class LaneServer final : public server::ShardOutput {
 public:
  LaneServer(Cluster& cluster, ServerProcess& process, std::size_t index);

  // Goes on with what another process has left, or with nothing. False if that is not there.
  bool open(const Beginning& beginning);
  // Whether it goes on with a replica that it has yet to get.
  bool adopts() const { return backup_ && backup_->adopts(); }
  bool serves() const {
    const bool early = cluster_.options.mutant == Mutant::early_service;
    return shard && begun_ && ((!adopts() && whole_) || early);
  }
  void begin();  // when all lanes are open
  void on_restored() { whole_ = true; }

  void note(const server::TraceEvent& event) override;
  void reply(server::SessionId session, wire::OutFrame frame) override;
  void share_scalar(Step step, std::uint32_t chunk, double value) override;
  void skipped(Step step) override { cluster_.outcome.skipped.insert(step); }
  void backup_waits() override {
    if (backup_) backup_->wake();
  }
  std::span<float> checkpoint_room(std::size_t floats) override;
  void checkpoint(Version version, std::uint32_t chunk, std::span<float> room) override;

  void receive(server::SessionId session, const Bytes& bytes);
  void on_scalar(Step step, std::uint32_t chunk, double value);
  // Nothing more comes in of older selves of a worker.
  void expect(std::uint32_t worker, std::uint32_t incarnation);
  // ---- replicas: another process has a server's place; the connection to the backup breaks; what
  // it keeps of a server
  void moved(ServerProcess& server);
  void cut_backup();
  KeptReplica& kept(std::uint32_t server) { return kept_.at(server); }

  // Puts what it holds where the vector has it.
  void read(std::span<float> vector);
  // As if a process that is killed had named what it was writing: see Mutant::torn_commit.
  void commit_torn();

  ServerProcess& process() { return process_; }
  std::uint32_t number() const {
    return static_cast<std::uint32_t>(index_) % cluster_.options.lanes;
  }
  server::Door door;
  std::unique_ptr<server::Shard> shard;  // null before open()
  std::unique_ptr<server::TraceChecker> checker;

 private:
  // Dies in the middle of a step, if its process does.
  class MortalDescent final : public optimization::Optimizer {
   public:
    MortalDescent(Process& process, const Options& options)
        : process_(process), options_(options) {}
    std::size_t state_per_parameter() const override { return 1; }
    bool step(const optimization::OptimizerStep& step, std::span<const float> in,
              std::span<const float> gradient, std::span<float> state,
              std::span<float> out) const override;

   private:
    Process& process_;
    const Options& options_;
  };
  server::ShardParts parts();
  bool open_snapshot(const Beginning& beginning, server::ShardParts& parts);
  void open_replicas(const Beginning& beginning, bool adopt);

  Cluster& cluster_;
  ServerProcess& process_;
  std::size_t index_;
  MortalDescent optimizer_;
  server::Snapshot snapshot_;
  bool begun_ = false;
  bool whole_ = true;                          // else the rest of a replica is being restored
  std::unique_ptr<ToBackup> backup_;           // null: nobody keeps a replica
  std::map<std::uint32_t, KeptReplica> kept_;  // by server
  std::vector<std::uint32_t> fences_;          // by worker: nothing of an older self may be used
  std::span<float> reading_;                   // answers go here, while read() runs
  // What is being received, for note().
  const wire::Header* header_ = nullptr;
  std::span<const std::byte> payload_;
};

}  // namespace sheaf::simulation
