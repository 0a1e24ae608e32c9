#include "launcher/trace_check.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

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

}  // namespace sheaf::launcher
