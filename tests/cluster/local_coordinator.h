// The coordinator's part in a job whose ranks are threads, in memory: sums over partitions, losses
// and the final model, and who may begin a step.
// Thread-safe; each worker asks through a Link of its own.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/cluster/coordination.h"
#include "tests/cluster/threaded_job.h"

namespace sheaf::threads {

class LocalCoordinator {
 public:
  using Values = cluster::Coordination::Values;
  // The options outlive the object.
  explicit LocalCoordinator(const JobOptions& options) : options_(options) {}

  // Blocks until every partition is there; throws if the job ends first.
  std::vector<double> sum(std::string_view tag, const Values& mine);
  // Ends all waits.
  void close();
  // After all ranks have ended.
  Result result();

  class Link final : public cluster::Coordination {
   public:
    Link(LocalCoordinator& owner, std::uint32_t worker) : owner_(owner), worker_(worker) {}
    std::vector<double> sum(std::string_view tag, const Values& mine) override {
      return owner_.sum(tag, mine);
    }
    void submit(std::string_view tag, const Values& mine) override { owner_.submit(tag, mine); }
    void collect(std::string_view, const Values&) override {}
    void report_loss(const wire::StepLoss& loss, const wire::Traffic&) override {
      owner_.report_loss(loss);
    }
    bool may_begin(Step step) override {
      owner_.begin(worker_, step);
      return true;
    }
    void offer_help(Step step) override { help_ = owner_.help_in(step, worker_); }
    std::optional<wire::PartitionClock> take_help() override {
      return std::exchange(help_, std::nullopt);
    }
    void send_model(std::size_t offset, std::span<const float> values) override {
      owner_.send_model(offset, values);
    }

   private:
    LocalCoordinator& owner_;
    std::uint32_t worker_;
    std::optional<wire::PartitionClock> help_;
  };

 private:
  void submit(std::string_view tag, const Values& mine);
  void report_loss(const wire::StepLoss& loss);
  void begin(std::uint32_t worker, Step step);
  std::optional<wire::PartitionClock> help_in(Step step, std::uint32_t worker) const;
  PartitionRange late_share() const;
  void send_model(std::size_t offset, std::span<const float> values);
  void add(std::string_view tag, const Values& mine);

  const JobOptions& options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  std::map<std::string, Values> gathered_;
  std::map<Step, std::pair<double, std::uint64_t>> losses_;
  std::set<std::pair<Step, std::uint32_t>> reported_;
  Step begun_ = 0;  // by worker 1
  Result result_;
};

}  // namespace sheaf::threads
