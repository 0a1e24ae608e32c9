// A loss compares a model's outputs with the targets. Const and thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/base/mode.h"
#include "common/metrics/task.h"
#include "worker/data/batch.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::worker {

// What is being predicted; decides which metrics an evaluation reports.
using metrics::Task;

// Why a model and its data do not fit a loss, in the words of a config fault.
struct Mismatch {
  std::string found, expected, attempt;
};

class Loss {
 public:
  using Make = std::unique_ptr<Loss>(const config::Section& section);

  virtual ~Loss() = default;
  virtual Task task() const = 0;

  // Why a model with `outputs` outputs cannot be trained on `schema`, or nothing.
  virtual std::optional<Mismatch> mismatch(std::size_t outputs, const Schema& schema) const = 0;

  // Why one example's targets are impossible ("label 11, expected 0..9"), or nothing.
  virtual std::optional<std::string> bad_target(std::span<const float> targets,
                                                std::size_t outputs) const = 0;

  // Sum over `examples` of the example losses. Writes d(sum)/d(outputs) to `gradient` unless empty.
  // REQUIRES: outputs and targets that mismatch() and bad_target() accept.
  virtual double sum(std::size_t examples, std::span<const float> outputs,
                     std::span<const float> targets, std::span<float> gradient) const = 0;
};

ModeTable<Loss> losses();

}  // namespace sheaf::worker
