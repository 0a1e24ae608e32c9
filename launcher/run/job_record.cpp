#include "launcher/run/job_record.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "common/base/error.h"
#include "launcher/run/model_file.h"
#include "launcher/run/privacy_statement.h"
#include "launcher/system/build_identity.h"
#include "launcher/system/median.h"
#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

// "validation 938" or "validation 938 scores"
struct Tag {
  std::string part;
  Step step = 0;
};
Tag parse(const std::string& tag) {
  const std::size_t space = tag.find(' ');
  return {tag.substr(0, space),
          space == std::string::npos ? 0 : std::strtoull(tag.c_str() + space, nullptr, 10)};
}

bool is_evaluation(const std::string& part) {
  return part == "train" || part == "validation" || part == "test";
}

// What may happen in each step is said the first, second, fourth time …
bool is_worth_saying(std::size_t times) { return (times & (times - 1)) == 0; }

std::string log_line(bool warning, std::string_view text) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t time = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z {} {}", date, milliseconds, warning ? "W" : "I", text);
}

}  // namespace

ProcessState process_state(cluster::MemberState state) {
  switch (state) {
    case cluster::MemberState::absent:
    case cluster::MemberState::starting: return ProcessState::starting;
    case cluster::MemberState::running: return ProcessState::running;
    case cluster::MemberState::suspected: return ProcessState::suspected;
    case cluster::MemberState::dead: return ProcessState::dead;
    case cluster::MemberState::finished: return ProcessState::finished;
  }
  return ProcessState::dead;
}

JobRecord::JobRecord(const RunConfig& config, Output output, std::optional<Step> resumed)
    : JobRecord(config, std::move(output), resumed ? Beginning::resumed : Beginning::anew,
                resumed) {}

JobRecord::JobRecord(const RunConfig& config, Output output, Attached)
    : JobRecord(config, std::move(output), Beginning::attached, std::nullopt) {}

JobRecord::JobRecord(const RunConfig& config, Output output, Beginning beginning,
                     std::optional<Step> resumed)
    : config_(config),
      output_(std::move(output)),
      resumed_(resumed),
      goes_back_(resumed),
      certain_(beginning != Beginning::resumed) {
  const auto warn = [this](std::string_view text) {
    if (progress_) progress_->note(text);
  };
  directory_ = std::make_unique<RunDirectory>(config.run().dir, warn, beginning);
  if (certain_) write_config();
  // Steps are not known before a worker has seen the data; until then there is only text to show.
  progress_ = std::make_unique<Progress>(Progress::Options{.style = output_.style}, output_.show,
                                         std::chrono::steady_clock::now());
}

void JobRecord::write_control(const net::Endpoint& coordinator, const wire::JobKey& key,
                              ProcessIdentity launcher) {
  directory_->write_control({config_.run().name, coordinator.address, coordinator.port,
                             config_.config_sha256(), config_.network().encryption, key.bytes(),
                             launcher.pid, launcher.start_ticks});
}

void JobRecord::note(std::string_view text) { progress_->note(text); }

void JobRecord::on_members(const std::vector<cluster::Member>& members) {
  members_ = members;
  std::vector<ProcessRow> rows;
  for (const cluster::Member& m : members) {
    rows.push_back({m.info.process,
                    m.info.pid,
                    m.info.started,
                    m.info.host,
                    m.info.incarnation,
                    m.info.address,
                    m.info.ports,
                    process_state(m.state),
                    {m.follows.pid, m.follows.started, m.follows.host}});
  }
  directory_->update_processes(rows);
}

void JobRecord::on_start(const wire::Registration& first, bool bit_exact, TimePoint now) {
  job_ = first;
  job_->layout = first.layout.parameters();
  model_.resize(job_->layout.size());
  schedule_ = config_.make_schedule();
  exact_ = exact_ && bit_exact;
  result_.bit_exact = exact_;
  rows_ = std::make_unique<MetricRows>(MetricRows::Options{.partitions = config_.run().partitions,
                                                           .every = config_.steps_per_row(),
                                                           .steps_per_epoch = first.steps_per_epoch,
                                                           .first_step = resumed_.value_or(0),
                                                           .hides_losses = config_.privacy().on},
                                       now);
  const std::uint64_t epochs = (first.steps + first.steps_per_epoch - 1) / first.steps_per_epoch;
  progress_ = std::make_unique<Progress>(
      Progress::Options{.style = output_.style, .epochs = epochs, .steps = first.steps},
      output_.show, now);
}

void JobRecord::on_taken_over(const wire::Registration& first, bool bit_exact, Step begun,
                              TimePoint now) {
  known_ = directory_->known_metrics();
  taken_over_ = trained_ = now;
  resumed_ = std::max<Step>(known_.trained, begun);
  on_start(first, bit_exact, now);
}

void JobRecord::on_returned(PartitionRange partitions, Step known_from, TimePoint now) {
  for (const MetricRow& row : rows_->give_up(partitions, known_from, now)) show_row(row, now);
}

void JobRecord::on_agreed() {
  if (!std::exchange(certain_, true)) write_config();
  if (std::exchange(goes_back_, false)) directory_->go_back_to(*resumed_);
}

void JobRecord::open_ledger(const Releases::Options& options) {
  // One that is refused leaves the one before, which knows what was released.
  releases_ = Releases(disk_, options);
  if (releases_->was_torn()) {
    note("warning: the last line of the ledger was torn: it is charged as a step");
  }
}

void JobRecord::on_budget_spent(Step step) {
  budget_spent_ = true;
  note(fmt::format("the privacy budget is spent: the job ends after {} steps", step));
}

void JobRecord::go_back(Step step, TimePoint noticed) {
  FaultCounts& faults = result_.faults;
  ++faults.restarts;
  if (rows_ && rows_->steps() > step) faults.rolled_back_steps += rows_->steps() - step;
  if (!lost_) lost_ = noticed;
  start_again(step);
}

void JobRecord::change_size(Step step) {
  const auto now = std::chrono::steady_clock::now();
  if (rows_) {
    if (const auto row = rows_->flush(now); row && row->step <= step) show_row(*row, now);
  }
  start_again(step);
}

void JobRecord::start_again(Step step) {
  resumed_ = step;
  goes_back_ = true;
  failed_before_ = result_.faults.failed_checkpoints;
  all_steps_ = false;
  saved_ = false;
  // What goes is taken again, and may be left out again.
  skipped_.erase(skipped_.lower_bound(step), skipped_.end());
  rejected_.erase(rejected_.lower_bound({step, 0}), rejected_.end());
  // What is counted since all ranks have arrived.
  rows_.reset();
  job_.reset();
  known_ = {};
  taken_over_.reset();
  traffic_.clear();
  cpu_seconds_.clear();
  of_the_lost_ = {};
  lost_ranks_.clear();
  finished_.clear();
  sums_.clear();
  scores_.clear();
  latest_.clear();
  epoch_loss_.reset();
  model_known_ = 0;
}

// What the lost one has not reported nobody knows.
void JobRecord::on_successor(PartitionRange partitions, Step first, TimePoint now) {
  for (const MetricRow& row : rows_->give_up(partitions, first, now)) show_row(row, now);
}

void JobRecord::on_successor(ProcessId server, TimePoint now) {
  if (const auto lost = lost_ranks_.extract(server)) {
    result_.faults.recovery_seconds += seconds(now - lost.mapped());
  }
}

void JobRecord::on_lost(ProcessId process, TimePoint noticed) {
  ++result_.faults.replacements;
  lost_ranks_.try_emplace(process, noticed);
  // Its successor counts anew.
  of_the_lost_.traffic += std::exchange(traffic_[process], {});
  of_the_lost_.cpu_seconds += std::exchange(cpu_seconds_[process], 0);
}

void JobRecord::on_residuals_lost(PartitionRange partitions, Step step) {
  result_.bit_exact = exact_ = false;
  for (std::uint32_t p = partitions.first; p < partitions.end(); ++p) {
    result_.faults.lost_residuals.insert(p);
  }
  note(fmt::format("warning: what the pushes of {} had left out before step {} is lost",
                   readable_partitions(partitions), step));
}

wire::Traffic JobRecord::exchanged() const {
  wire::Traffic all = of_the_lost_.traffic;
  for (const auto& [worker, traffic] : traffic_) all += traffic;
  return all;
}

void JobRecord::on_log(ProcessId process, const std::string& host, const wire::Log& log) {
  directory_->append_log(process, log_line(log.warning, log.text));
  if (log.warning) progress_->warning(process, host, log.text);
}

void JobRecord::on_losses(ProcessId worker, const wire::Losses& losses, TimePoint now) {
  traffic_[worker] = losses.traffic;
  trained_ = now;
  if (rows_->examples() == 0) rows_->resume(now);  // loading data was no training
  if (lost_) result_.faults.recovery_seconds += seconds(now - *std::exchange(lost_, {}));
  if (const auto lost = lost_ranks_.extract(worker)) {
    result_.faults.recovery_seconds += seconds(now - lost.mapped());
  }
  const wire::Traffic traffic = exchanged();
  rows_->set_traffic(traffic.push_bytes, traffic.pull_bytes);
  for (const wire::StepLoss& loss : losses.rows) {
    if (loss.partition >= config_.run().partitions) {
      fail(Fault::network, "loss of partition {}, expected 0..{}", loss.partition,
           config_.run().partitions - 1);
    }
    if (loss.rejected && rejected_.emplace(loss.step, loss.partition).second &&
        is_worth_saying(rejected_.size())) {
      note(
          fmt::format("warning: step {} goes without partition {}, whose gradient is not finite "
                      "(x{})",
                      loss.step, loss.partition, rejected_.size()));
    }
    for (const MetricRow& row :
         rows_->add(loss.step, loss.partition, loss.loss_sum, loss.examples, now)) {
      show_row(row, now);
    }
  }
}

void JobRecord::show_row(const MetricRow& row, TimePoint now) {
  MetricRow full = row;
  if (row.step > 0) full.rate = schedule_->rate(row.step - 1);
  if (releases_) {
    full.epsilon = privacy::spent(releases_->ledger(), privacy::Method::tight).epsilon.value;
  }
  directory_->append_metrics(full, std::chrono::system_clock::now());
  progress_->update(full, now);
  if (!row.epoch_loss) return;
  epoch_loss_ = releases_ ? std::nullopt : row.epoch_loss;  // under privacy it is for nobody
  if (config_.data().validation == 0) progress_->epoch(row.epoch, epoch_loss_, {});
}

void JobRecord::on_sum(const std::string& tag, const std::vector<double>& values, TimePoint now) {
  const Tag which = parse(tag);
  if (!is_evaluation(which.part)) return;
  sums_[tag] = values;
  try_evaluate(which.part, which.step, now);
}

void JobRecord::on_list(const std::string& tag, std::vector<double> values, TimePoint now) {
  const Tag which = parse(tag);
  scores_[fmt::format("{} {}", which.part, which.step)] = std::move(values);
  try_evaluate(which.part, which.step, now);
}

void JobRecord::try_evaluate(const std::string& part, Step step, TimePoint now) {
  const metrics::Shape shape{static_cast<metrics::Task>(job_->task), job_->outputs, job_->targets};
  const std::string tag = fmt::format("{} {}", part, step);
  if (!sums_.contains(tag) || (shape.has_scores() && !scores_.contains(tag))) return;
  if (sums_[tag].size() != shape.sum_count()) {
    fail(Fault::network, "evaluation \"{}\": found {} sums, expected {}", tag, sums_[tag].size(),
         shape.sum_count());
  }
  on_evaluation(part, step, metrics::evaluate(shape, sums_[tag], scores_[tag]), now);
  sums_.erase(tag);
  scores_.erase(tag);
}

void JobRecord::on_evaluation(const std::string& part, Step step, metrics::Evaluation evaluation,
                              TimePoint now) {
  MetricRow row;
  row.step = step;
  row.epoch = (step + job_->steps_per_epoch - 1) / job_->steps_per_epoch;
  row.split = part;
  row.loss = evaluation.loss;
  for (const auto& [name, value] : evaluation.pairs()) {
    if (name != "loss") row.metrics.emplace_back(name, value);
  }
  const wire::Traffic traffic = exchanged();
  row.push_bytes = traffic.push_bytes;
  row.pull_bytes = traffic.pull_bytes;
  if (!known_.evaluated.contains({part, step})) {
    directory_->append_metrics(row, std::chrono::system_clock::now());
  }
  if (part == "validation") {
    if (step > 0 && step % job_->steps_per_epoch == 0) {
      progress_->epoch(row.epoch, std::exchange(epoch_loss_, {}), evaluation.pairs());
    }
    rows_->resume(now);
  }
  latest_[part] = std::move(evaluation);
}

void JobRecord::on_model(std::size_t offset, std::span<const std::byte> floats) {
  const std::size_t count = floats.size() / sizeof(float);
  if (floats.size() % sizeof(float) != 0 || offset > model_.size() ||
      count > model_.size() - offset) {
    fail(Fault::network, "model part of {} bytes at {}, but the model has {} parameters",
         floats.size(), offset, model_.size());
  }
  std::memcpy(model_.data() + offset, floats.data(), floats.size());
  if (offset == 0) model_known_ = 0;  // whoever sends it may have been lost, and another one begins
  model_known_ += count;
}

void JobRecord::on_skipped(Step step) {
  if (!skipped_.insert(step).second || !is_worth_saying(skipped_.size())) return;
  note(fmt::format("warning: step {} is skipped: its gradient is not finite (x{})", step,
                   skipped_.size()));
}

void JobRecord::on_finished(ProcessId process, const wire::Finished& report) {
  finished_[process] = report;
}

void JobRecord::on_checkpoint(std::optional<Step> newest, const CheckpointBytes& bytes,
                              std::uint64_t failed) {
  result_.checkpoint = newest;
  result_.checkpoint_bytes = bytes;
  result_.faults.failed_checkpoints = failed_before_ + failed;
}

void JobRecord::on_end(bool all_steps, bool saved) {
  all_steps_ = all_steps;
  saved_ = saved;
}

const RunResult& JobRecord::close(const std::optional<wire::Failure>& failure, int exit) {
  const auto now = std::chrono::steady_clock::now();
  if (rows_) {
    if (const auto row = rows_->flush(now)) show_row(*row, now);
  }
  progress_->finish();

  RunResult& r = result_;
  const RunSection& run = config_.run();
  r.job = run.name;
  r.exit = exit;
  r.seed = run.seed;
  r.config_sha256 = config_.config_sha256();
  r.build = build_text();
  r.servers = run.servers;
  r.workers = run.workers;
  r.partitions = run.partitions;
  r.steps = rows_ ? rows_->steps() : resumed_.value_or(0);
  std::uint64_t lanes = 0;
  std::uint64_t shared = 0;
  std::vector<double> lane_pauses;
  r.cpu_seconds = of_the_lost_.cpu_seconds;
  r.traffic += of_the_lost_.traffic;
  for (const auto& [process, report] : finished_) {
    lanes += report.lanes;
    shared += report.shared_lanes;
    r.cpu_seconds += report.cpu_seconds;
    r.peak_rss_bytes += report.peak_rss_bytes;
    r.traffic += report.traffic;
    r.faults.duplicates_dropped += report.duplicates;
    r.faults.dropped_pushes += report.dropped;
    r.faults.stood_in += report.stood_in;
    lane_pauses.insert(lane_pauses.end(), report.lane_pauses.begin(), report.lane_pauses.end());
    if (process.role == Role::worker) {
      r.steps = report.steps;
      r.seconds = std::max(r.seconds, report.training_seconds);
      r.traffic.seconds = std::max(r.traffic.seconds, report.exchange_seconds);
    } else {
      r.survives = std::min(r.survives.value_or(report.survives), report.survives);
    }
  }
  if (!lane_pauses.empty()) {
    r.lane_pause =
        LanePause{quantile(lane_pauses, 0.5), quantile(lane_pauses, 0.99), lane_pauses.size()};
  }
  r.transport = shared == 0 ? "tcp" : shared == lanes ? "shm" : "shm+tcp";
  if (job_) {
    r.parameters = job_->layout.size();
    r.epochs = r.steps / job_->steps_per_epoch;
  }
  // Of what was done before it was taken over nobody has counted the examples.
  const double counted = taken_over_ ? seconds(trained_ - *taken_over_) : r.seconds;
  if (counted > 0 && rows_) r.examples_per_s = static_cast<double>(rows_->examples()) / counted;
  const auto figure = [&](const char* part) -> std::optional<metrics::Evaluation> {
    const auto found = latest_.find(part);
    return found == latest_.end() ? std::nullopt : std::optional(found->second);
  };
  if (releases_) {
    const privacy::Clip clip = *config_.make_mechanism()->clip();
    r.privacy = statement_of(releases_->ledger(), clip);
    if (clip.adapts() && job_ && model_known_ == model_.size()) {
      r.privacy->bound = clip.norm * clip.at(model_.back()).bound;
    }
  }
  r.train = figure("train");
  r.validation = figure("validation");
  r.test = figure("test");
  r.faults.dropped_rows = directory_->dropped_rows();
  r.faults.skipped_steps = skipped_.size();
  r.faults.rejected_pushes = rejected_.size();

  if (failure) {
    RunError error;
    if (failure->process.role != Role::coordinator) {
      const bool server = failure->process.role == Role::server;
      error.rank = (server ? 0 : run.servers) + failure->process.id;
      error.process = to_string(failure->process);
      for (const cluster::Member& m : members_) {
        if (m.info.process == failure->process) error.host = m.info.host;
      }
    }
    error.phase = failure->phase;
    error.text = failure->text;
    r.error = error;
  } else if (job_ && model_known_ == model_.size()) {
    try {
      r.model_sha256 = write_model(directory_->model_path(), job_->layout, model_,
                                   {{"job", run.name}, {"steps", std::to_string(r.steps)}});
    } catch (const Error& error) {
      r.exit = static_cast<int>(error.fault());
      r.error = RunError{{}, "", "", "writing the model", error.message()};
    }
  }
  if (certain_) directory_->write_result(r);  // else the directory stays as it was
  return r;
}

}  // namespace sheaf::launcher
