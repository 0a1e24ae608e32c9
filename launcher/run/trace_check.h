// The histories that servers leave in RUN/trace, held against what the job's consistency model
// promises.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "server/consistency/trace.h"

namespace sheaf::launcher {

struct CheckedTrace {
  std::string file;  // its name
  server::TraceFindings findings;
};

// By name; empty if the folder is not there. Throws Fault::data if one cannot be read.
std::vector<CheckedTrace> check_traces(const std::filesystem::path& folder);

// What is wrong with the traces of a job that ended as asked after `steps`: its last start has left
// one of each lane, and they are whole. Empty: nothing.
std::string check_ends(const std::vector<CheckedTrace>& traces, Step steps);

}  // namespace sheaf::launcher
