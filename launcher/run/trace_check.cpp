#include "launcher/run/trace_check.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "common/base/error.h"

namespace sheaf::launcher {

std::vector<CheckedTrace> check_traces(const std::filesystem::path& folder) {
  std::error_code unreadable;
  std::vector<CheckedTrace> traces;
  for (const auto& entry : std::filesystem::directory_iterator(folder, unreadable)) {
    if (entry.path().extension() != ".trace") continue;
    std::ifstream in(entry.path());
    if (!in) {
      fail(Fault::data, "{}: cannot be read: {}", entry.path().string(), std::strerror(errno));
    }
    traces.push_back({entry.path().filename().string(), server::check_trace(in)});
  }
  std::ranges::sort(traces, {}, &CheckedTrace::file);
  return traces;
}

std::string check_ends(const std::vector<CheckedTrace>& traces, Step steps) {
  std::set<std::string> lanes;
  std::size_t expected = 1;
  for (const auto& [file, findings] : traces) {
    if (!findings.end || findings.end->step != steps) continue;
    lanes.insert(file.substr(0, file.find("-step-")));
    expected = findings.end->traces;
  }
  if (lanes.size() >= expected) return {};
  return fmt::format(
      "found {} that end at step {}, at which the job ended, expected {}: one was cut",
      lanes.size(), steps, expected);
}

}  // namespace sheaf::launcher
