#include "launcher/run/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "common/base/error.h"
#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

using metrics::ClassificationFigures;
using metrics::Evaluation;

std::string row(std::string_view name, std::string_view value) {
  return fmt::format("  {:<12}{}\n", name, value);
}

std::string class_table(const ClassificationFigures& figures, std::uint64_t examples) {
  const auto line = [](std::string_view name, double precision, double recall, double f1,
                       std::uint64_t support) {
    return fmt::format("  {:<12}{:>10.4f}{:>10.4f}{:>10.4f}{:>11}\n", name, precision, recall, f1,
                       support);
  };
  std::string text = fmt::format("\n  {:<12}{:>10}{:>10}{:>10}{:>11}\n", "class", "precision",
                                 "recall", "F1", "examples");
  if (figures.classes.size() <= kMaxListedClasses) {
    for (std::size_t c = 0; c < figures.classes.size(); ++c) {
      const auto& one = figures.classes[c];
      text += line(fmt::to_string(c), one.precision, one.recall, one.f1, one.support);
    }
  } else {
    text += fmt::format("  ({} classes: see result.json)\n", figures.classes.size());
  }
  return text + line("macro mean", figures.macro_precision, figures.macro_recall, figures.macro_f1,
                     examples);
}

std::string confusion_table(const ClassificationFigures& figures) {
  const std::size_t classes = figures.classes.size();
  if (figures.confusion.empty() || classes > kMaxPrintedConfusion) return {};
  const std::uint64_t largest =
      *std::max_element(figures.confusion.begin(), figures.confusion.end());
  const std::size_t width = std::max<std::size_t>(fmt::formatted_size("{}", largest), 2) + 2;
  constexpr std::size_t kNames = 12;
  if (2 + kNames + classes * width > kReportColumns) return {};

  std::string text = fmt::format("\n  {:<{}}predicted\n  {:<{}}", "", kNames, "class", kNames);
  for (std::size_t c = 0; c < classes; ++c) text += fmt::format("{:>{}}", c, width);
  for (std::size_t c = 0; c < classes; ++c) {
    text += fmt::format("\n  {:<{}}", c, kNames);
    for (std::size_t p = 0; p < classes; ++p) {
      text += fmt::format("{:>{}}", figures.confusion[c * classes + p], width);
    }
  }
  return text + '\n';
}

std::string part_figures(std::string_view name, const Evaluation& part) {
  std::string text = fmt::format("{} part, {} examples\n", name, part.examples);
  text += row("loss", readable_figure(part.loss));
  if (part.classification) {
    text += row("accuracy", fmt::format("{:.4f}", part.classification->accuracy));
    if (part.classification->roc_auc) {
      text += row("ROC-AUC", fmt::format("{:.4f}", *part.classification->roc_auc));
    }
    text += class_table(*part.classification, part.examples);
    text += confusion_table(*part.classification);
  }
  if (part.regression) {
    text += row("RMSE", readable_figure(part.regression->rmse));
    text += row("MAE", readable_figure(part.regression->mae));
    text += row("R2", part.regression->r2 ? readable_figure(*part.regression->r2)
                                          : "undefined: the targets do not vary");
  }
  return text;
}

std::string counted(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string training_figures(const RunResult& result) {
  std::string text =
      fmt::format("Training of {} parameters by {} and {}\n", result.parameters,
                  counted(result.servers, "server"), counted(result.workers, "worker"));
  text += row("time", fmt::format("{} for {} in {}", readable_duration(result.seconds),
                                  counted(result.steps, "step"), counted(result.epochs, "epoch")));
  text += row("speed", fmt::format("{} examples/s", readable_count(result.examples_per_s)));
  text += row("traffic", fmt::format("{} pushed, {} pulled over {}{}",
                                     readable_bytes(result.traffic.push_bytes),
                                     readable_bytes(result.traffic.pull_bytes), result.transport,
                                     result.encrypted ? ", encrypted" : ""));
  if (result.privacy) {
    text += row(
        "epsilon",
        fmt::format("{} at delta {} ({}, {})", readable_figure(result.privacy->spent.epsilon.value),
                    result.privacy->terms.delta, to_string(result.privacy->terms.adjacency),
                    to_string(result.privacy->terms.sampling)));
  }
  text += row("model", result.model_sha256.empty() ? "none was written"
                                                   : "sha256 " + result.model_sha256.substr(0, 12));
  if (result.faults.restarts != 0) {
    text += row("restarts",
                fmt::format("{}: {} done again, {} until training went on", result.faults.restarts,
                            counted(result.faults.rolled_back_steps, "step"),
                            readable_duration(result.faults.recovery_seconds)));
  }
  if (result.faults.skipped_steps + result.faults.rejected_pushes != 0) {
    text +=
        row("not finite", fmt::format("left out: steps {}, pushes {}", result.faults.skipped_steps,
                                      result.faults.rejected_pushes));
  }
  if (result.faults.stood_in != 0) {
    text += row("stood in", fmt::format("{} times for a late worker", result.faults.stood_in));
  }
  if (result.faults.dropped_pushes != 0) {
    text += row("dropped", fmt::format("{} late pushes", result.faults.dropped_pushes));
  }
  if (!result.faults.lost_residuals.empty()) {
    text += row("residuals", fmt::format("lost those of partitions {}",
                                         fmt::join(result.faults.lost_residuals, ", ")));
  }
  text += row("bit-exact", result.bit_exact ? "yes" : "no");
  return text;
}

}  // namespace

std::string exit_code_meaning(int code) {
  if (code == 0) return "ok";
  if (code > 128 && code != static_cast<int>(Fault::interrupted)) {
    return fmt::format("ended by signal {}", code - 128);
  }
  return std::string(to_string(static_cast<Fault>(code)));
}

std::string closing_report(const RunResult& result, const std::filesystem::path& run) {
  check(!result.error, "a failed job has no closing table");
  std::string text;
  // The test part is the figure of merit; where there is none, the best there is.
  if (result.test) {
    text += part_figures("Test", *result.test) + '\n';
  } else if (result.validation) {
    text += part_figures("Validation", *result.validation) + '\n';
  } else if (result.train) {
    text += part_figures("Training", *result.train) + '\n';
  }
  text += training_figures(result);
  if (result.exit != 0) {
    text += row("ended early",
                fmt::format("exit code {}: {}", result.exit, exit_code_meaning(result.exit)));
  }
  return text + fmt::format("\nRun directory: {}\n", run.string());
}

std::string failure_report(const RunResult& result, const std::filesystem::path& run) {
  check(result.error.has_value(), "a failure report has an error to report");
  const RunError& error = *result.error;
  std::string who = error.process.empty() ? "the launcher" : error.process;
  if (!error.host.empty()) who += "@" + error.host;
  if (error.rank) who += fmt::format(" (rank {})", *error.rank);
  std::string reason = error.text;
  while (reason.ends_with('.') || reason.ends_with('\n')) reason.pop_back();
  std::string text =
      fmt::format("Job {} failed: {}{}{}: {}. Exit code {}: {}. Logs: {}", result.job, who,
                  error.phase.empty() ? "" : ", ", error.phase, reason, result.exit,
                  exit_code_meaning(result.exit), (run / "logs").string());
  return wrap(text, kReportColumns, 0);
}

}  // namespace sheaf::launcher
