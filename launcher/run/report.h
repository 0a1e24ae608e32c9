// The last words of a job to a person: what the model is worth, what it cost, where everything is;
// or why it failed and where to look. Pure functions; plain text of at most 100 columns, except for
// names and paths that are longer by themselves.
#pragma once

#include <filesystem>
#include <string>

#include "launcher/run/run_result.h"

namespace sheaf::launcher {

inline constexpr std::size_t kReportColumns = 100;

// What an exit code of Sheaf means, in a few words.
std::string exit_code_meaning(int code);

// The closing table, ending with where the run directory is. Figures of up to kMaxListedClasses
// classes and a confusion matrix of up to kMaxPrintedConfusion are shown; result.json has all.
// REQUIRES: !result.error.
std::string closing_report(const RunResult& result, const std::filesystem::path& run);

// One paragraph: which rank, in which phase, what happened, where the logs are, what the exit code
// means. REQUIRES: result.error.
std::string failure_report(const RunResult& result, const std::filesystem::path& run);

inline constexpr std::size_t kMaxListedClasses = 30;
inline constexpr std::size_t kMaxPrintedConfusion = 12;

}  // namespace sheaf::launcher
