// What a person sees while a job runs: on a terminal one line that is redrawn in place, elsewhere
// plain lines now and then; epochs, notes and warnings stand above it and stay. Writes through a
// sink and takes the time as an argument. Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "launcher/run/metric_rows.h"

namespace sheaf::launcher {

struct ProgressStyle {
  bool in_place = false;     // redraw one line with carriage return and "erase to the end"
  bool colour = false;       // of warnings
  std::size_t columns = 80;  // of the terminal; the moving line stays narrower
};

// The style that suits a file descriptor: in place on a terminal that is not "dumb", in colour
// unless NO_COLOR is set and not empty. Reads the environment and the width of the terminal.
ProgressStyle style_of(int descriptor);

class Progress {
 public:
  using Sink = std::function<void(std::string_view text)>;

  struct Options {
    ProgressStyle style;
    std::uint64_t epochs = 1;
    std::uint64_t steps = 1;                                 // of the whole job
    std::uint64_t first_step = 0;                            // done before this run
    Duration plain_every = std::chrono::seconds(5);          // between plain lines
    Duration redraw_every = std::chrono::milliseconds(100);  // between redrawn ones
  };

  Progress(Options options, Sink sink, TimePoint start);

  // Training came to `row`. Shown now, or by a later call if the last line is too young.
  void update(const MetricRow& row, TimePoint now);

  // An epoch is over: its mean training loss and the validation figures, if there are any, loss
  // first. A line that stays.
  void epoch(std::uint64_t epoch, std::optional<double> train_loss,
             const std::vector<std::pair<std::string, double>>& validation);

  // Lines that stay: of the launcher itself, and of a rank ("worker 1@host2: text").
  void note(std::string_view text);
  void warning(ProcessId process, std::string_view host, std::string_view text);

  // Leaves the moving line as it ended; later lines start below it.
  void finish();

  void set_columns(std::size_t columns) { options_.style.columns = columns; }

 private:
  std::string line() const;
  std::string fitting_line() const;
  void redraw();
  void print(std::string_view text);  // a line that stays, above the moving one

  Options options_;
  Sink sink_;
  TimePoint start_;
  TimePoint shown_;
  bool drawn_ = false;  // the moving line stands at the cursor
  std::optional<MetricRow> row_;
  double remaining_s_;
};

}  // namespace sheaf::launcher
