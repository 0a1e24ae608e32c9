// From the loss sums that workers report to the training rows of metrics.jsonl and the progress
// line.
//
// The sum of a step is taken over the fixed tree of its partitions and those of a row in the order
// of the steps, all in fp64: a row's loss has the same bits for any number of workers and any order
// of arrival. Not thread-safe; time arrives as an argument.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"

namespace sheaf::launcher {

// One row of metrics.jsonl.
struct MetricRow {
  std::uint64_t step = 0;       // optimizer steps done
  std::uint64_t epoch = 0;      // the epoch that step belongs to, from 1
  std::string split = "train";  // or "validation", "test"
  double loss = 0;  // mean over the examples: of the steps since the last row, or the part
  std::vector<std::pair<std::string, double>> metrics;  // beside the loss
  std::optional<double> rate;                           // learning rate
  double examples_per_s = 0;     // over the last second or more, pauses excluded
  std::uint64_t push_bytes = 0;  // of the whole job so far
  std::uint64_t pull_bytes = 0;
  std::optional<double> epsilon;  // privacy spent

  // For the progress line; not in the file.
  double push_bytes_per_s = 0;  // over the same time
  double pull_bytes_per_s = 0;
  std::optional<double> epoch_loss;  // mean over the whole epoch, in the row that ends one
};

class MetricRows {
 public:
  struct Options {
    std::uint32_t partitions = 1;
    std::uint64_t every = 20;           // steps between rows; one more ends each epoch
    std::uint64_t steps_per_epoch = 1;  // of the partition with the most
    Step first_step = 0;                // the first that will be reported
    bool hides_losses = false;          // none is told (nan): the examples count all the same
  };

  // REQUIRES: partitions, every and steps_per_epoch are at least 1.
  MetricRows(Options options, TimePoint start);

  // What `partition` computed in `step` (from 0): the sum of its example losses, and how many. A
  // report that is already known is ignored. Returns the rows that it completes: at most one,
  // unless later steps were complete before. REQUIRES: partition < partitions.
  std::vector<MetricRow> add(Step step, std::uint32_t partition, double loss_sum,
                             std::uint64_t examples, TimePoint now);

  // These partitions report nothing more of the steps before `first`: what is not known of those is
  // left out of the means. Returns the rows that this completes.
  std::vector<MetricRow> give_up(PartitionRange partitions, Step first, TimePoint now);

  // Bytes pushed and pulled by all workers since the job began, never fewer than before; shown by
  // the next row.
  void set_traffic(std::uint64_t push_bytes, std::uint64_t pull_bytes);

  // Training goes on after a pause (an evaluation), which then counts in no rate.
  void resume(TimePoint now);

  // The row of the steps since the last one, if there are any: at an early end.
  std::optional<MetricRow> flush(TimePoint now);

  std::uint64_t steps() const { return next_; }         // complete without a gap
  std::uint64_t examples() const { return examples_; }  // in all reports, each once

 private:
  struct Mean {
    double loss_sum = 0;
    std::uint64_t examples = 0;
    void add(double sum, std::uint64_t count);
    double value() const;
  };
  struct Pending {
    std::vector<std::vector<double>> loss_sums;  // one value per partition, for the tree
    std::vector<bool> reported;
    std::uint32_t missing = 0;
    std::uint64_t examples = 0;
  };
  struct Rates {
    double examples_per_s = 0;
    double push_bytes_per_s = 0;
    double pull_bytes_per_s = 0;
  };

  Pending& pending(Step step);
  std::vector<MetricRow> fold_complete(TimePoint now);
  void fold(const Pending& step);
  MetricRow finish_row(TimePoint now);
  void measure_rates(TimePoint now);

  const Options options_;
  Step next_;  // the first step that is not folded
  std::map<Step, Pending> pending_;
  std::uint64_t examples_ = 0;
  Mean row_;
  Mean epoch_;
  // The window of the rates.
  TimePoint last_;      // when training was last known to go on
  Duration active_{0};  // of training in the window
  std::uint64_t window_examples_ = 0;
  std::uint64_t push_bytes_ = 0;
  std::uint64_t pull_bytes_ = 0;
  std::uint64_t push_bytes_before_ = 0;
  std::uint64_t pull_bytes_before_ = 0;
  Rates rates_;
};

}  // namespace sheaf::launcher
