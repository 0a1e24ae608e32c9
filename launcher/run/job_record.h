// Everything about a job that is written down or shown: run directory, metrics, progress, the final
// model and result. The coordinator tells it what happened; it knows neither sockets nor threads.
// Belongs to the coordinator's thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/checkpoint/posix_disk.h"
#include "common/cluster/membership.h"
#include "common/metrics/evaluation.h"
#include "common/net/connection.h"
#include "common/wire/handshake.h"
#include "common/wire/messages.h"
#include "launcher/config/run_config.h"
#include "launcher/run/metric_rows.h"
#include "launcher/run/progress.h"
#include "launcher/run/releases.h"
#include "launcher/run/run_directory.h"
#include "launcher/run/run_result.h"
#include "launcher/system/process_identity.h"

namespace sheaf::launcher {

// What a run directory calls it.
ProcessState process_state(cluster::MemberState state);

class JobRecord {
 public:
  struct Output {
    ProgressStyle style;
    Progress::Sink show;  // progress and warnings, for a person
  };
  // Creates the run directory, or goes on in it from a step. Throws Fault::config or Fault::data if
  // it cannot.
  JobRecord(const RunConfig& config, Output output, std::optional<Step> resumed = std::nullopt);
  // Goes on in that of a job whose processes are at work; on_taken_over() follows.
  struct Attached {};
  JobRecord(const RunConfig& config, Output output, Attached);

  const std::filesystem::path& path() const { return directory_->path(); }
  // Where the coordinator is. Whoever has the key can join, and ask.
  void write_control(const net::Endpoint& coordinator, const wire::JobKey& key,
                     ProcessIdentity launcher = {});

  void on_members(const std::vector<cluster::Member>& members);
  // Everybody is there and agrees: a job that goes on does so in earnest. Throws what
  // RunDirectory::go_back_to() throws.
  void on_agreed();
  // Under privacy, before anybody trains: every attempt goes on with the same ledger. Throws what
  // Releases throws.
  void open_ledger(const Releases::Options& options);
  Releases* releases() { return releases_ ? &*releases_ : nullptr; }
  // The job ends at that step, since another one would pass the budget.
  void on_budget_spent(Step step);
  bool budget_spent() const { return budget_spent_; }
  // Then; `first` is the registration of a worker.
  void on_start(const wire::Registration& first, bool bit_exact, TimePoint now);
  // Instead, of a job that `begun` at a step and goes on: what is written already is not again.
  void on_taken_over(const wire::Registration& first, bool bit_exact, Step begun, TimePoint now);
  // These partitions' losses are told again from that step on.
  void on_returned(PartitionRange partitions, Step known_from, TimePoint now);
  void on_encryption(bool encrypted) { result_.encrypted = encrypted; }
  void on_log(ProcessId process, const std::string& host, const wire::Log& log);
  void on_losses(ProcessId worker, const wire::Losses& losses, TimePoint now);
  // What the process of a rank has used so far; 0 if it is another rank's, too, that says so.
  void on_cpu_time(ProcessId process, double seconds) { cpu_seconds_[process] = seconds; }
  void on_sum(const std::string& tag, const std::vector<double>& values, TimePoint now);
  void on_list(const std::string& tag, std::vector<double> values, TimePoint now);
  // A process was lost, which was noticed at that time; another one is to take its place.
  void on_lost(ProcessId process, TimePoint noticed);
  // One whose floats may differ computes with the others: from here on no bits are promised.
  void on_other_numerics() { result_.bit_exact = exact_ = false; }
  // What pushes of these partitions had left out before that step is lost with their worker.
  void on_residuals_lost(PartitionRange partitions, Step step);
  // A server has taken its place.
  void on_successor(ProcessId server, TimePoint now);
  // A worker begins with the step `first` of its partitions.
  void on_successor(PartitionRange partitions, Step first, TimePoint now);
  void on_model(std::size_t offset, std::span<const std::byte> floats);
  // A step was left out, since its gradient is not finite.
  void on_skipped(Step step);
  void on_finished(ProcessId process, const wire::Finished& report);
  void on_checkpoint(std::optional<Step> newest, const CheckpointBytes& bytes,
                     std::uint64_t failed);
  // What was asked of an end: all steps, or a checkpoint of the last one.
  void on_end(bool all_steps, bool saved);
  bool all_steps() const { return all_steps_; }
  bool saved_at_end() const { return saved_; }
  void note(std::string_view text);

  bool saved() const { return result_.checkpoint.has_value(); }  // there is a checkpoint
  std::uint64_t failed_checkpoints() const { return result_.faults.failed_checkpoints; }
  // A process was lost, which was noticed at that time, and all ranks start again from a step.
  void go_back(Step step, TimePoint noticed);
  // All ranks start again, as others than before: the config that the record was made with says how
  // many there are now. write_config() comes first.
  void change_size(Step step);
  void write_config() { directory_->write_config(config_.resolved()); }

  // Writes model and result. `failure` as the coordinator saw it, `exit` the code of the job.
  // Returns what was written; throws Fault::data if the model or the result cannot be.
  const RunResult& close(const std::optional<wire::Failure>& failure, int exit);

 private:
  JobRecord(const RunConfig& config, Output output, Beginning beginning,
            std::optional<Step> resumed);
  struct Used {
    wire::Traffic traffic;
    double cpu_seconds = 0;
  };
  wire::Traffic exchanged() const;  // since all ranks have arrived
  void start_again(Step step);
  void show_row(const MetricRow& row, TimePoint now);
  void try_evaluate(const std::string& part, Step step, TimePoint now);
  void on_evaluation(const std::string& part, Step step, metrics::Evaluation evaluation,
                     TimePoint now);

  const RunConfig& config_;
  Output output_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<MetricRows> rows_;
  std::optional<optimization::Schedule> schedule_;  // once it has begun
  std::vector<cluster::Member> members_;
  std::optional<wire::Registration> job_;       // of a worker: layout of the model, shape, steps
  std::map<ProcessId, wire::Traffic> traffic_;  // that the workers that are here have reported
  std::map<ProcessId, double> cpu_seconds_;     // the same, of ranks
  Used of_the_lost_;                            // since all ranks have arrived, as reported
  std::map<ProcessId, wire::Finished> finished_;
  std::map<std::string, std::vector<double>> sums_;  // evaluations that wait for their scores
  std::map<std::string, std::vector<double>> scores_;
  std::map<std::string, metrics::Evaluation> latest_;  // by part
  std::optional<double> epoch_loss_;
  std::vector<float> model_;
  std::size_t model_known_ = 0;  // floats that have arrived
  KnownMetrics known_;           // of those that were at work before this record was
  std::optional<TimePoint> taken_over_;
  TimePoint trained_{};  // when a loss was last reported
  std::optional<Step> resumed_;
  bool goes_back_ = false;                     // to resumed_, once all ranks are there
  bool certain_;                               // that it begins, or goes on
  std::optional<TimePoint> lost_;              // since when nothing was trained
  std::map<ProcessId, TimePoint> lost_ranks_;  // whose successors have not trained yet
  bool exact_ = true;                          // all steps so far
  // Left out of the steps so far, since they are not finite: steps, and partitions of a step.
  std::set<Step> skipped_;
  std::set<std::pair<Step, std::uint32_t>> rejected_;
  std::uint64_t failed_before_ = 0;  // checkpoints, of attempts before
  checkpoint::PosixDisk disk_;
  std::optional<Releases> releases_;
  bool budget_spent_ = false;
  bool all_steps_ = false;
  bool saved_ = false;
  RunResult result_;
};

}  // namespace sheaf::launcher
