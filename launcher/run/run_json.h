// The JSON texts of a run directory. Pure functions. Their keys are a contract with tools and docs:
// all of them are always there, null where nothing is known; a figure that is not finite is null.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/run/run_directory.h"

namespace sheaf::launcher {

std::string result_json(const RunResult& result);  // indented
std::string control_json(const Control& control);  // indented
// What control.json says, read back. `file` is for messages; a text that is none throws
// Fault::config.
struct ControlFile {
  std::string address;
  std::uint16_t port = 0;
  std::string config_sha256;
  std::string encryption;
  std::string key_hex;
  std::int64_t launcher_pid = 0;
  std::uint64_t launcher_started = 0;
};
ControlFile parse_control(const std::string& text, const std::string& file);
std::string processes_json(const std::map<ProcessId, ProcessRow>& processes);  // indented
// What processes.json says, read back, each as running; a text that is none has no rows.
std::vector<ProcessRow> parse_processes(const std::string& text);
// `time` is in seconds since 1970, to the millisecond.
std::string metric_json(const MetricRow& row, WallTime now);  // one line, with newline
// Which row such a line is; nothing if it is none.
struct MetricPlace {
  std::string split;
  std::uint64_t step = 0;
  bool evaluation = false;  // of the whole part; else the loss of steps
};
std::optional<MetricPlace> metric_place(const std::string& line);
// Whether such a line still holds in a job that goes on from that step: it is whole, of no later
// step, and of no part that is evaluated there again.
bool metric_stays(const std::string& line, std::uint64_t from);

}  // namespace sheaf::launcher
