// What a worker process does, without threads: TrainingStep and PushPull in miniature over real
// Exchanges.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/cluster.h"
#include "worker/client/exchange.h"
#include "worker/residuals/residual_slots.h"

namespace sheaf::simulation {

class Worker final : public Process {
 public:
  Worker(Cluster& cluster, std::uint32_t worker, std::uint32_t number,
         std::set<std::uint32_t> hosted);

  void begin(Step step);  // pulls version `step` of everything first
  void take_over(const std::set<std::uint32_t>& partitions);
  void give_away(std::uint32_t partition) { hosted_.erase(partition); }
  void receive(std::size_t lane, server::SessionId session, const Bytes& bytes);
  void tick();
  // Its frames that are under way still arrive.
  void die();

  // ---- connections
  void reconnect(std::size_t lane);   // at once
  void disconnect(std::size_t lane);  // and tries to make it again
  void on_connected(std::size_t lane, server::SessionId session, std::uint64_t knock);
  void on_closed(std::size_t lane, server::SessionId session);
  void moved(const ServerProcess& server);  // is at work in another one's place
  // Computes what partitions owe to the open step, too, if it is still at that one.
  void stand_in(const wire::PartitionClock& help);

  std::uint32_t which() const { return id.id; }
  bool finished() const { return finished_; }
  bool training() const { return alive && computed_; }
  Step step() const { return step_; }
  // With feedback: the step since which it knows all that was left out of a partition's pushes, and
  // what was left out of a chunk before another one.
  Step has_all_since(std::uint32_t partition) const { return kept_.at(partition).since; }
  std::span<const float> residual(std::uint32_t partition, std::uint32_t chunk, Step step) const {
    return kept_.at(partition).slots.before(chunk, step);
  }
  const std::set<std::uint32_t>& hosted() const { return hosted_; }
  std::span<const float> parameters(Version version) const { return parameters_[version % 2]; }
  std::string status() const;

  bool successor = false;

 private:
  struct Lane final : worker::ExchangeEvents {
    Lane(Worker& w, const worker::Exchange::Options& options)
        : owner(w), exchange(options, *this) {}
    void on_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t) override {
      owner.on_arrived(chunk, clock, version);
    }
    void on_superseded(std::uint32_t chunk) override { owner.superseded_[chunk] = true; }
    void on_settled(const wire::Header&) override { --owner.unsettled_; }
    void on_partial(const wire::Header& request, std::span<const std::uint32_t> missing) override {
      owner.on_partial(request, missing);
    }
    Worker& owner;
    std::optional<server::SessionId> session;  // nothing: there is no connection
    std::uint64_t knocks = 0;                  // tries to make one; only the newest counts
    Milliseconds asked = 0;                    // for one
    worker::Exchange exchange;
  };
  void on_arrived(std::uint32_t chunk, Step clock, Version version);
  void on_partial(const wire::Header& request, std::span<const std::uint32_t> missing);
  Lane& lane_of(std::uint32_t chunk);
  void open_residuals(Step step);
  PartitionRange whom() const;
  bool slow() const;
  void pull(Version version);
  Step first_open_step() const;
  void offer();
  void push_for(const std::set<std::uint32_t>& partitions);
  void push_node(Step step, std::uint32_t chunk, PartitionRange node);
  void end_node(Step step, PartitionRange node);
  void progress();
  void finish();
  void send();
  void connect(std::size_t lane);

  Cluster& cluster_;
  std::set<std::uint32_t> hosted_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<float> parameters_[2];
  std::vector<Step> arrived_;                     // 1 + clock, by chunk
  std::map<std::uint32_t, std::uint32_t> moved_;  // newest incarnation that was said, by server
  std::vector<Version> versions_;                 // that have arrived, by chunk
  std::vector<bool> superseded_;                  // there was a newer one then
  std::vector<std::unique_ptr<Bytes>> payloads_;
  struct Kept {
    worker::ResidualSlots slots;
    Step since = 0;
  };
  std::optional<compression::ErrorFeedback> feedback_;
  std::map<std::uint32_t, Kept> kept_;  // by partition, with feedback
  std::size_t unsettled_ = 0;
  std::optional<Step> began_;
  Step step_ = 0;
  bool computed_ = false;  // this step's gradients have been pushed
  Milliseconds slow_until_ = 0;
  Milliseconds offers_at_ = 0;  // to stand in for others
  bool finished_ = false;
};

}  // namespace sheaf::simulation
