#include "launcher/commands/status.h"

#include <fmt/ostream.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/error.h"
#include "common/params/partition_tree.h"
#include "launcher/run/job_query.h"
#include "launcher/run/run_lock.h"
#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

using Json = nlohmann::ordered_json;

constexpr Duration kLimit = std::chrono::seconds(5);

// The job has ended; how, if it came to write that.
Json result_of(const std::filesystem::path& run) {
  std::ifstream file(run / "result.json");
  return Json::parse(file, nullptr, false);
}

[[noreturn]] void fail_without(const std::filesystem::path& run) {
  if (RunLock::is_held(run)) {
    fail(Fault::network, "{}: the job is starting again, or ending: ask again", run.string());
  }
  fail(Fault::network,
       "{}: the job does not run and has no result: its sheaf train is gone; sheaf train --resume "
       "{} goes on from its newest checkpoint",
       run.string(), run.string());
}

PartitionRange partitions_of(const wire::Status& status, ProcessId process) {
  if (process.role != Role::worker) return {};
  std::uint32_t workers = 0;
  for (const auto& m : status.members) workers += m.process.role == Role::worker ? 1 : 0;
  return params::hosted_partitions(status.partitions, workers, process.id);
}

Json json_of(const wire::Status& status) {
  Json members = Json::array();
  for (const wire::MemberStatus& m : status.members) {
    members.push_back({{"role", to_string(m.process.role)},
                       {"id", m.process.id},
                       {"host", m.host},
                       {"pid", m.pid},
                       {"state", m.state},
                       {"silent_seconds", m.silent_seconds}});
  }
  return {{"running", true},
          {"job", status.job},
          {"phase", status.phase},
          {"step", status.step},
          {"steps", status.steps},
          {"still_seconds", status.still_seconds},
          {"checkpoint", status.saved ? Json(status.checkpoint) : Json()},
          {"starts", status.incarnation + 1},
          {"acknowledged", status.survives.empty() ? Json() : Json(status.survives)},
          {"processes", members},
          {"waits", status.waits},
          {"set_aside", status.set_aside}};
}

void write_text(const wire::Status& status, std::ostream& out) {
  fmt::print(out, "{}: {}", status.job, status.phase);
  if (status.steps != 0) fmt::print(out, " of {}", status.steps);
  if (status.incarnation != 0) fmt::print(out, "; started {} times", status.incarnation + 1);
  fmt::print(out, "; {}",
             status.saved ? fmt::format("saved at step {}", status.checkpoint)
                          : std::string("nothing saved yet"));
  if (!status.survives.empty()) fmt::print(out, "; acknowledged in {}", status.survives);
  fmt::print(out, "\n");
  fmt::print(out, "  {:<12}{:<16}{:>9}  {:<11}{:>9}  {}\n", "process", "host", "pid", "state",
             "heard", "partitions");
  for (const wire::MemberStatus& m : status.members) {
    const PartitionRange hosted = partitions_of(status, m.process);
    const bool is_there = m.pid != 0;
    fmt::print(out, "  {:<12}{:<16}{:>9}  {:<11}{:>9}  {}\n", to_string(m.process),
               is_there ? m.host : "-", is_there ? std::to_string(m.pid) : "-", m.state,
               is_there ? readable_duration(m.silent_seconds) : "-",
               hosted.count == 0 ? std::string() : readable_partitions(hosted));
  }
  for (const std::string& line : status.set_aside) fmt::print(out, "{}\n", line);
  for (const std::string& line : status.waits) {
    fmt::print(out, "{}, {} since a step began\n", line, readable_duration(status.still_seconds));
  }
}

}  // namespace

int show_status(const StatusCommand& command, std::ostream& out) {
  if (const auto status = ask_status(command.run, kLimit)) {
    if (command.json) {
      out << json_of(*status).dump(1) << "\n";
    } else {
      write_text(*status, out);
    }
    return 0;
  }
  const Json result = result_of(command.run);
  if (!result.is_object() || RunLock::is_held(command.run)) fail_without(command.run);
  if (command.json) {
    out << Json{{"running", false}, {"result", result}}.dump(1) << "\n";
  } else {
    fmt::print(out, "{}: ended with exit code {} after {} steps\n", result.value("job", ""),
               result.value("exit", 0), result.value("steps", std::uint64_t{0}));
  }
  return 0;
}

int scale_job(const ScaleCommand& command, std::ostream& out) {
  const auto answer = ask_scale(command.run, {command.workers}, kLimit);
  if (!answer) {
    if (!RunLock::is_held(command.run) && result_of(command.run).is_object()) {
      fail(Fault::config, "{}: the job has ended", command.run.string());
    }
    fail_without(command.run);
  }
  if (answer->warning) fail(Fault::config, "{}: {}", command.run.string(), answer->text);
  fmt::print(out, "goes on with {} workers as soon as the step is saved\n", command.workers);
  return 0;
}

}  // namespace sheaf::launcher
