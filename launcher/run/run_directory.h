// The run directory of one job: configuration, metrics, logs, model and result, in the form that
// docs and tools rely on. Reads no clock: wall times arrive as arguments.
// Belongs to the one process that supervises the job; not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "launcher/run/metric_rows.h"
#include "launcher/run/run_result.h"
#include "launcher/system/file_output.h"

namespace sheaf::launcher {

using WallTime = std::chrono::system_clock::time_point;

// How other commands find a running job. Only its owner may read it: who has the key can join.
struct Control {
  std::string job;  // the id of this run
  std::string address;
  std::uint16_t port = 0;
  std::string config_sha256;
  std::string encryption;  // network.encryption
  std::span<const std::byte> key;
  std::int64_t launcher_pid = 0;  // of mpirun, on the host of the supervisor; 0: not started by it
  std::uint64_t launcher_started = 0;  // clock ticks since boot
};

enum class ProcessState { starting, running, suspected, dead, finished };
std::string_view to_string(ProcessState state);

struct ProcessRow {
  ProcessId process;
  std::int64_t pid = 0;
  std::uint64_t started = 0;  // clock ticks since its host has booted: with it the pid is its own
  std::string host;
  std::uint64_t incarnation = 0;
  std::string address;
  std::vector<std::uint16_t> ports;
  ProcessState state = ProcessState::starting;
  // Of one that is awaited in the place of a lost one: that one, which may be stopped.
  struct Lost {
    std::int64_t pid = 0;  // 0: there is none
    std::uint64_t started = 0;
    std::string host;
  };
  Lost follows = {};
};

// What metrics.jsonl says already.
struct KnownMetrics {
  std::uint64_t trained = 0;  // the step of its last row of training
  std::set<std::pair<std::string, std::uint64_t>> evaluated;  // parts, at steps
};

// Who finds what in the directory.
enum class Beginning { anew, resumed, attached };

class RunDirectory {
 public:
  // Told once, when the first line of metrics or log (or the list of processes) cannot be written.
  using Warn = std::function<void(std::string_view text)>;

  // Creates the directory, or takes an empty one, with logs/ and checkpoints/ inside. Throws
  // Fault::config if it is not empty, no directory, or cannot be written. A job that is `resumed`
  // takes the directory as it is; go_back_to() follows when it is sure to go on. So does one whose
  // processes are there, to which another supervisor is `attached`.
  RunDirectory(std::filesystem::path path, Warn warn, Beginning beginning = Beginning::anew);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path log_path(ProcessId process) const;  // logs/<role>-<id>.log
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path model_path() const { return path_ / "model.safetensors"; }

  // At the start; failures are Fault::config, lack of space Fault::data.
  void write_config(std::string_view resolved);
  void write_control(const Control& control);  // 0600

  // While it runs. None of these throws for a failing disk: a job does not end because its
  // diagnostics do not fit. What was lost is counted, and said once.
  // Notes each row unless more is known of its process (a newer incarnation, or the pid of this
  // one), then replaces processes.json.
  void update_processes(std::span<const ProcessRow> rows);
  void append_metrics(const MetricRow& row, WallTime now);
  KnownMetrics known_metrics() const;
  void append_log(ProcessId process, std::string_view line);
  std::uint64_t dropped_rows() const { return dropped_rows_; }  // of metrics and logs

  // The job goes on from that step: what metrics.jsonl says of later ones goes, and of the parts
  // that are evaluated there again; so does an old result. Failures are Fault::config.
  void go_back_to(std::uint64_t step);

  // At the end, once, also after a failure. Throws Fault::data if it cannot be written.
  void write_result(const RunResult& result);

 private:
  void append(AppendedFile& file, std::string_view line);
  void warn_once(std::string_view text);

  std::filesystem::path path_;
  Warn warn_;
  bool warned_ = false;
  bool has_result_ = false;
  std::uint64_t dropped_rows_ = 0;
  std::map<ProcessId, ProcessRow> processes_;
  AppendedFile metrics_;
};

}  // namespace sheaf::launcher
