#include "launcher/run/run_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "launcher/run/run_json.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

void create_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    fail(Fault::config, "run.dir: {} cannot be created: {}; choose another run.dir", path.string(),
         error.message());
  }
}

void create_run_folder(const fs::path& path) {
  create_folder(path);
  std::error_code error;
  const bool empty = fs::is_empty(path, error);
  if (error) {
    fail(Fault::config, "run.dir: {} cannot be read: {}", path.string(), error.message());
  }
  if (!empty) {
    fail(
        Fault::config,
        "run.dir: {} exists and is not empty, expected a new or an empty directory; choose another "
        "run.dir or remove it",
        path.string());
  }
  create_folder(path / "logs");
  create_folder(path / "checkpoints");
}

}  // namespace

std::string_view to_string(ProcessState state) {
  switch (state) {
    case ProcessState::starting: return "starting";
    case ProcessState::running: return "running";
    case ProcessState::suspected: return "suspected";
    case ProcessState::dead: return "dead";
    case ProcessState::finished: return "finished";
  }
  return "unknown";
}

RunDirectory::RunDirectory(fs::path path, Warn warn, Beginning beginning)
    : path_(std::move(path)), warn_(std::move(warn)), metrics_(path_ / "metrics.jsonl") {
  if (beginning == Beginning::anew) create_run_folder(path_);
  if (beginning == Beginning::attached) {
    std::ifstream file(path_ / "processes.json");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    for (ProcessRow& row : parse_processes(text)) processes_[row.process] = std::move(row);
  }
  if (beginning == Beginning::resumed) update_processes({});  // those of the job before are gone
}

KnownMetrics RunDirectory::known_metrics() const {
  KnownMetrics known;
  std::ifstream rows(metrics_.path());
  for (std::string line; std::getline(rows, line);) {
    const auto place = metric_place(line);
    if (!place) continue;
    if (place->evaluation) {
      known.evaluated.emplace(place->split, place->step);
    } else {
      known.trained = std::max(known.trained, place->step);
    }
  }
  return known;
}

void RunDirectory::go_back_to(std::uint64_t step) {
  std::ifstream old(metrics_.path());
  std::string kept;
  for (std::string line; std::getline(old, line);) {
    if (metric_stays(line, step)) kept += line + '\n';
  }
  if (old.is_open()) replace_file(metrics_.path(), kept, {.fault = Fault::config});
  std::error_code none;  // there may be no old result
  fs::remove(path_ / "result.json", none);
}

fs::path RunDirectory::log_path(ProcessId process) const {
  return path_ / "logs" / fmt::format("{}-{}.log", to_string(process.role), process.id);
}

void RunDirectory::write_config(std::string_view resolved) {
  replace_file(path_ / "config.toml", resolved, {.fault = Fault::config});
}

void RunDirectory::write_control(const Control& control) {
  replace_file(path_ / "control.json", control_json(control),
               {.permissions = 0600, .fault = Fault::config});
}

void RunDirectory::update_processes(std::span<const ProcessRow> rows) {
  for (const ProcessRow& row : rows) {
    const auto known = processes_.find(row.process);
    if (known != processes_.end() && known->second.incarnation > row.incarnation) continue;
    if (known != processes_.end() && known->second.incarnation == row.incarnation) {
      const bool has_arrived = known->second.pid != 0;
      const bool follows = known->second.follows.pid != 0 && row.follows.pid == 0;
      if (row.pid == 0 && (has_arrived || follows)) continue;  // it says less
    }
    processes_[row.process] = row;
  }
  try {
    // Of use only while the job runs, so it need not outlive the machine.
    replace_file(path_ / "processes.json", processes_json(processes_), {.durable = false});
  } catch (const Error& error) {
    warn_once(fmt::format("{}; the job goes on", error.message()));
  }
}

void RunDirectory::append_metrics(const MetricRow& row, WallTime now) {
  append(metrics_, metric_json(row, now));
}

void RunDirectory::append_log(ProcessId process, std::string_view line) {
  AppendedFile log(log_path(process));
  append(log, line);
}

void RunDirectory::append(AppendedFile& file, std::string_view line) {
  if (file.append(line)) return;
  ++dropped_rows_;
  warn_once(
      fmt::format("{}: cannot be written: {}; the job goes on, lines that do not fit are lost",
                  file.path().string(), file.reason()));
}

void RunDirectory::warn_once(std::string_view text) {
  if (warned_) return;
  warned_ = true;
  if (warn_) warn_(text);
}

void RunDirectory::write_result(const RunResult& result) {
  check(!has_result_, "result.json is written once");
  replace_file(path_ / "result.json", result_json(result));
  has_result_ = true;
}

}  // namespace sheaf::launcher
