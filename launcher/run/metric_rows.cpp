#include "launcher/run/metric_rows.h"

#include <cmath>
#include <limits>

#include "common/base/error.h"
#include "common/params/partition_tree.h"

namespace sheaf::launcher {

void MetricRows::Mean::add(double sum, std::uint64_t count) {
  loss_sum += sum;
  examples += count;
}

double MetricRows::Mean::value() const {
  if (examples == 0) return std::numeric_limits<double>::quiet_NaN();
  return loss_sum / static_cast<double>(examples);
}

MetricRows::MetricRows(Options options, TimePoint start)
    : options_(options), next_(options.first_step), last_(start) {
  check(options.partitions >= 1 && options.every >= 1 && options.steps_per_epoch >= 1,
        "metric rows of at least one partition, step and step per epoch");
}

std::vector<MetricRow> MetricRows::add(Step step, std::uint32_t partition, double loss_sum,
                                       std::uint64_t examples, TimePoint now) {
  check(partition < options_.partitions, "a loss is reported for a partition of the job");
  if (step < next_) return {};
  Pending& report = pending(step);
  if (report.reported[partition]) return {};
  report.reported[partition] = true;
  report.loss_sums[partition] = {loss_sum};
  report.examples += examples;
  examples_ += examples;
  --report.missing;
  return fold_complete(now);
}

std::vector<MetricRow> MetricRows::give_up(PartitionRange partitions, Step first, TimePoint now) {
  for (Step step = next_; step < first; ++step) {
    Pending& report = pending(step);
    for (std::uint32_t p = partitions.first; p < partitions.end(); ++p) {
      if (report.reported[p]) continue;
      report.reported[p] = true;
      --report.missing;
    }
  }
  return fold_complete(now);
}

std::vector<MetricRow> MetricRows::fold_complete(TimePoint now) {
  std::vector<MetricRow> rows;
  while (!pending_.empty() && pending_.begin()->first == next_ &&
         pending_.begin()->second.missing == 0) {
    fold(pending_.begin()->second);
    pending_.erase(pending_.begin());
    ++next_;
    const bool ends_epoch = next_ % options_.steps_per_epoch == 0;
    if (next_ % options_.every != 0 && !ends_epoch) continue;
    if (row_.examples != 0) {
      rows.push_back(finish_row(now));
    } else if (ends_epoch) {  // nobody knows any loss of the row
      epoch_ = {};
    }
  }
  return rows;
}

MetricRows::Pending& MetricRows::pending(Step step) {
  const auto [place, is_new] = pending_.try_emplace(step);
  if (is_new) {
    place->second.loss_sums.assign(options_.partitions, {0.0});
    place->second.reported.assign(options_.partitions, false);
    place->second.missing = options_.partitions;
  }
  return place->second;
}

void MetricRows::fold(const Pending& step) {
  const double loss_sum = params::tree_sum(step.loss_sums).front();
  if (!std::isfinite(loss_sum) && !options_.hides_losses) return;  // of a step that was left out
  row_.add(loss_sum, step.examples);
  epoch_.add(loss_sum, step.examples);
}

MetricRow MetricRows::finish_row(TimePoint now) {
  measure_rates(now);
  MetricRow row;
  row.step = next_;
  row.epoch = (next_ - 1) / options_.steps_per_epoch + 1;
  row.loss = row_.value();
  row.examples_per_s = rates_.examples_per_s;
  row.push_bytes = push_bytes_;
  row.pull_bytes = pull_bytes_;
  row.push_bytes_per_s = rates_.push_bytes_per_s;
  row.pull_bytes_per_s = rates_.pull_bytes_per_s;
  row_ = {};
  if (next_ % options_.steps_per_epoch == 0) {
    row.epoch_loss = epoch_.value();
    epoch_ = {};
  }
  return row;
}

// Reports arrive in bursts: rates over less than a second would show the bursts, not the job. A
// window may span pauses; their time is left out.
void MetricRows::measure_rates(TimePoint now) {
  active_ += now - last_;
  last_ = now;
  window_examples_ += row_.examples;
  const double elapsed = seconds(active_);
  if (elapsed <= 0 || (rates_.examples_per_s > 0 && elapsed < 1)) return;
  rates_ = {static_cast<double>(window_examples_) / elapsed,
            static_cast<double>(push_bytes_ - push_bytes_before_) / elapsed,
            static_cast<double>(pull_bytes_ - pull_bytes_before_) / elapsed};
  active_ = Duration{0};
  window_examples_ = 0;
  push_bytes_before_ = push_bytes_;
  pull_bytes_before_ = pull_bytes_;
}

void MetricRows::set_traffic(std::uint64_t push_bytes, std::uint64_t pull_bytes) {
  push_bytes_ = push_bytes;
  pull_bytes_ = pull_bytes;
}

void MetricRows::resume(TimePoint now) { last_ = now; }

std::optional<MetricRow> MetricRows::flush(TimePoint now) {
  if (row_.examples == 0) return std::nullopt;
  return finish_row(now);
}

}  // namespace sheaf::launcher
