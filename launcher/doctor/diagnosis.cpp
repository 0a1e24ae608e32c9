#include "launcher/doctor/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

constexpr int kConfig = static_cast<int>(Fault::config);
constexpr int kData = static_cast<int>(Fault::data);
constexpr int kNetwork = static_cast<int>(Fault::network);

// Of a POSIX shell: the program was found and cannot be executed, or was not found. Of ssh: its own
// failure.
constexpr std::array kNoProgram = {126, 127};
constexpr int kAgentFailed = 255;

// Collects what one check finds; says that all is well if that is nothing.
class Check {
 public:
  Check(std::vector<Finding>& findings, std::string name)
      : findings_(findings), name_(std::move(name)) {}
  void fault(int code, std::string where, std::string found, std::string advice) {
    add({Level::fault, name_, std::move(where), std::move(found), std::move(advice), code});
  }
  void warning(std::string where, std::string found, std::string advice) {
    add({Level::warning, name_, std::move(where), std::move(found), std::move(advice), 0});
  }
  void otherwise_ok(std::string found) {
    if (quiet_) findings_.push_back({Level::ok, name_, "", std::move(found), "", 0});
  }

 private:
  void add(Finding finding) {
    findings_.push_back(std::move(finding));
    quiet_ = false;
  }
  std::vector<Finding>& findings_;
  std::string name_;
  bool quiet_ = true;
};

std::string hosts_text(std::size_t count) {
  return count == 1 ? "this host" : fmt::format("{} hosts", count);
}

const ExaminedHost& starter(const Examination& e) {
  return *std::ranges::find_if(e.hosts, &ExaminedHost::starts);
}

std::vector<const ExaminedHost*> reached(const Examination& e) {
  std::vector<const ExaminedHost*> hosts;
  for (const ExaminedHost& host : e.hosts) {
    if (!host.silence) hosts.push_back(&host);
  }
  return hosts;
}

bool is_missing_program(const Silence& silence) {
  return silence.code && std::ranges::find(kNoProgram, *silence.code) != kNoProgram.end();
}

void judge_launch(const Examination& e, std::vector<Finding>& findings) {
  Check check(findings, "mpirun");
  if (!e.mpirun_problem.empty()) {
    check.fault(kConfig, starter(e).name, e.mpirun_problem, "sheaf train starts jobs with it");
  }
  check.otherwise_ok(e.mpirun);
}

void judge_reach(const Examination& e, std::vector<Finding>& findings) {
  Check check(findings, "reach");
  for (const ExaminedHost& host : e.hosts) {
    if (!host.silence || is_missing_program(*host.silence)) continue;
    const Silence& silence = *host.silence;
    const std::string said = silence.text.empty() ? "" : ": " + silence.text;
    if (silence.late) {
      check.fault(kNetwork, host.name, "no answer in time" + said,
                  fmt::format("see why this hangs: {}", host.command));
    } else if (silence.code == kAgentFailed) {
      check.fault(kNetwork, host.name, "cannot be reached" + said,
                  fmt::format("let this work without a password: {}", host.command));
    } else {
      check.fault(
          kNetwork, host.name,
          fmt::format("the probe ended{}{}",
                      silence.code ? fmt::format(" (exit code {})", *silence.code) : "", said),
          fmt::format("see what this prints: {}", host.command));
    }
  }
  check.otherwise_ok(fmt::format("{} answered", hosts_text(e.hosts.size())));
}

void judge_program(const Examination& e, std::vector<Finding>& findings) {
  Check check(findings, "program");
  const std::string same = "put the same program on every host, at the same path";
  for (const ExaminedHost& host : e.hosts) {
    if (host.silence && is_missing_program(*host.silence)) {
      check.fault(kConfig, host.name,
                  fmt::format("{} cannot be executed: {}", e.program, host.silence->text), same);
    }
  }
  const HostFacts& ours = starter(e).facts;
  for (const ExaminedHost* host : reached(e)) {
    if (host->facts.build == ours.build) continue;
    check.fault(kConfig, host->name,
                fmt::format("another build: {}, build id {:.8}; here {}, build id {:.8}",
                            host->facts.program, host->facts.build, ours.program, ours.build),
                same);
  }
  check.otherwise_ok(fmt::format("{}, build id {:.8}", ours.program, ours.build));
}

void judge_numerics(const Examination& e, std::vector<Finding>& findings) {
  Check check(findings, "numerics");
  const HostFacts& ours = starter(e).facts;
  for (const ExaminedHost* host : reached(e)) {
    if (host->facts.numerics == ours.numerics) continue;
    const std::string found = fmt::format("{}; here {}", host->facts.numerics, ours.numerics);
    const std::string advice = "set OPENBLAS_CORETYPE to a core that all hosts have";
    if (e.deterministic) {
      check.fault(kConfig, host->name, found + ", and run.deterministic = true refuses that",
                  advice);
    } else {
      check.warning(host->name, found + ": the model will not be bit-exact", advice);
    }
  }
  check.otherwise_ok(ours.numerics);
}

void judge_job(const Examination& e, std::vector<Finding>& findings) {
  Check job(findings, "job");
  Check data(findings, "data");
  const std::optional<ProbeAnswer>& ours = starter(e).job;
  if (!ours) return;
  for (const ExaminedHost* host : reached(e)) {
    if (!host->job || !host->has_ranks) continue;
    const ProbeAnswer& theirs = *host->job;
    if (!theirs.problem.empty()) {
      Check& which = theirs.fault == kData ? data : job;
      which.fault(theirs.fault == kData ? kData : kConfig, host->name, theirs.problem,
                  "make the job's files visible on every host under the same path");
      continue;
    }
    if (theirs.config != ours->config) {
      job.fault(kConfig, host->name, "another content of the job file than here",
                "copy the job file to every host, or start it from a shared folder");
    }
    if (theirs.data != ours->data) {
      data.fault(kData, host->name, "other data than here, under the same path",
                 "copy the data to every host again");
    }
  }
  job.otherwise_ok("the same everywhere");
  data.otherwise_ok("the same everywhere");
}

void judge_clocks(const Examination& e, std::vector<Finding>& findings) {
  if (e.hosts.size() < 2) return;
  Check check(findings, "clock");
  double most = 0;
  for (const ExaminedHost* host : reached(e)) {
    most = std::max(most, std::abs(host->clock_offset) + host->clock_error);
    if (std::abs(host->clock_offset) - host->clock_error <= kClockSkew) continue;
    check.warning(host->name,
                  fmt::format("{:.1f} s {} the clock here", std::abs(host->clock_offset),
                              host->clock_offset > 0 ? "ahead of" : "behind"),
                  "times in logs and metrics will not fit; run an NTP client there");
  }
  check.otherwise_ok(fmt::format("{} within {:.2f} s", hosts_text(reached(e).size()), most));
}

void judge_memory(const Examination& e, std::vector<Finding>& findings) {
  Check check(findings, "memory");
  std::uint64_t least = UINT64_MAX;
  for (const ExaminedHost* host : reached(e)) {
    least = std::min(least, host->facts.free_memory);
    if (host->memory > host->facts.free_memory) {
      check.warning(host->name,
                    fmt::format("about {} for {} ranks, {} free", readable_bytes(host->memory),
                                host->ranks, readable_bytes(host->facts.free_memory)),
                    "use more hosts, or a smaller model");
    }
    if (host->ranks > host->facts.cores) {
      check.warning(host->name,
                    fmt::format("{} ranks share {} cores", host->ranks, host->facts.cores),
                    "they will wait for each other; use fewer or more hosts");
    }
  }
  check.otherwise_ok(fmt::format("at least {} free on each", readable_bytes(least)));
}

void judge_disks(const Examination& e, std::vector<Finding>& findings) {
  Check check(findings, "disk");
  for (const ExaminedHost* host : reached(e)) {
    if (host->facts.temporary_problem.empty()) continue;
    check.fault(kConfig, host->name,
                fmt::format("{}: {}", host->facts.temporary, host->facts.temporary_problem),
                "mpirun and ranks need it; make space there or set TMPDIR");
  }
  if (e.disk && !e.disk->problem.empty()) {
    check.fault(kConfig, starter(e).name,
                fmt::format("run directory {}: {}", e.disk->run_directory, e.disk->problem),
                "make space, or choose another run.dir");
  } else if (e.disk && e.disk->free < e.model_bytes + kSmallDisk) {
    check.warning(starter(e).name,
                  fmt::format("run directory {}: {} free", e.disk->run_directory,
                              readable_bytes(e.disk->free)),
                  "a long job may fill it; make space, or choose another run.dir");
  }
  check.otherwise_ok(e.disk ? fmt::format("run directory {}: {} free", e.disk->run_directory,
                                          readable_bytes(e.disk->free))
                            : "temporary files can be written");
}

void judge_interfaces(const Examination& e, std::vector<Finding>& findings) {
  Check check(findings, "interface");
  std::string addresses;
  for (const ExaminedHost* host : reached(e)) {
    if (!host->listens) continue;
    if (host->listens->problem.empty()) {
      addresses +=
          (addresses.empty() ? "" : ", ") + host->name + " " + host->listens->listens.address;
      continue;
    }
    const bool config = host->listens->fault == kConfig;
    check.fault(config ? kConfig : kNetwork, host->name, host->listens->problem,
                config ? "name an interface or address that this host has in network.interface"
                       : "free a port, or change network.ports or network.interface");
  }
  if (!addresses.empty()) check.otherwise_ok(addresses);
}

// Those of several hosts that cannot reach one for the same reason make one line.
void judge_links(const Examination& e, std::vector<Finding>& findings) {
  if (e.hosts.size() < 2) return;
  Check check(findings, "ports");
  struct Failure {
    std::string from;
    bool closed = false;  // that port alone
  };
  std::map<std::pair<std::size_t, std::string>, Failure> failures;  // to, reason
  for (const ExaminedLink& link : e.links) {
    if (link.problem.empty()) continue;
    Failure& failure = failures[{link.to, link.problem}];
    failure.from += (failure.from.empty() ? "" : ", ") + e.hosts[link.from].name;
    failure.closed = failure.closed || link.beside.empty();
  }
  for (const auto& [key, failure] : failures) {
    const ExaminedHost& to = e.hosts[key.first];
    const ProbeEndpoint& at = to.listens->listens;
    const std::string where = fmt::format("{} -> {}", failure.from, to.name);
    if (failure.closed && e.ports != "0") {
      check.fault(
          kNetwork, where, fmt::format("{} port {}: {}", at.address, at.port, key.second),
          fmt::format("other ports are open: open {} (network.ports) between the hosts", e.ports));
    } else {
      check.fault(
          kNetwork, where, fmt::format("{} port {}: {}", at.address, at.port, key.second),
          fmt::format("network.interface = \"{}\" must be one by which all hosts reach each "
                      "other, and a firewall must let {} through",
                      e.interface, e.ports == "0" ? "all ports" : "network.ports = " + e.ports));
    }
  }
  check.otherwise_ok(
      fmt::format("{} connections between {}", e.links.size(), hosts_text(e.hosts.size())));
}

void judge_transfers(const Examination& e, std::vector<Finding>& findings) {
  if (e.transfers.empty()) return;
  Check check(findings, "link");
  double least = INFINITY;
  for (const ExaminedTransfer& transfer : e.transfers) {
    const std::string& a = e.hosts[transfer.a].name;
    const std::string& b = e.hosts[transfer.b].name;
    if (!transfer.problem.empty()) {
      check.fault(kNetwork, fmt::format("{} <-> {}", a, b), transfer.problem,
                  "the connection was there a moment ago: see the cable or the switch");
      continue;
    }
    for (const auto& [from, to, rate] :
         {std::tuple{a, b, transfer.a_to_b}, {b, a, transfer.b_to_a}}) {
      least = std::min(least, rate);
      if (rate >= kSlowLink) continue;
      const std::string cost =
          e.model_bytes == 0
              ? ""
              : fmt::format(
                    "; the model's {} take {} per step and direction",
                    readable_bytes(e.model_bytes),
                    readable_duration(static_cast<double>(e.model_bytes) / std::max(rate, 1.0)));
      check.warning(
          fmt::format("{} -> {}", from, to), fmt::format("{:.2f} MB/s{}", 1e-6 * rate, cost),
          fmt::format("links of {:.0f} MB/s and more are expected: see the cable, the switch, "
                      "or choose another network.interface",
                      1e-6 * kSlowLink));
    }
  }
  check.otherwise_ok(fmt::format("at least {:.0f} MB/s, both directions at once", 1e-6 * least));
}

std::string_view to_string(Level level) {
  constexpr std::array<std::string_view, 3> kWords = {"ok", "warning", "fault"};
  return kWords[static_cast<std::size_t>(level)];
}

}  // namespace

std::vector<Finding> judge(const Examination& examination) {
  std::vector<Finding> findings;
  judge_launch(examination, findings);
  judge_reach(examination, findings);
  if (!starter(examination).silence) {  // else there is nothing to compare with
    judge_program(examination, findings);
    judge_numerics(examination, findings);
    judge_job(examination, findings);
    judge_disks(examination, findings);
    judge_memory(examination, findings);
    judge_clocks(examination, findings);
    judge_interfaces(examination, findings);
    judge_links(examination, findings);
    judge_transfers(examination, findings);
  }
  for (const std::string& note : examination.notes) {
    findings.push_back({Level::warning, "hosts", "", note, "", 0});
  }
  return findings;
}

int exit_code(const std::vector<Finding>& findings) {
  int lowest = 0;
  for (const Finding& finding : findings) {
    if (finding.level != Level::fault) continue;
    lowest = lowest == 0 ? finding.code : std::min(lowest, finding.code);
  }
  return lowest;
}

std::string findings_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<9}{:<11}", to_string(finding.level), finding.check);
    if (!finding.where.empty()) text += finding.where + ": ";
    text += finding.found;
    if (!finding.advice.empty()) text += "; " + finding.advice;
    text += '\n';
  }
  return text;
}

std::string findings_json(const std::vector<Finding>& findings) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    all.push_back({{"level", to_string(finding.level)},
                   {"check", finding.check},
                   {"where", finding.where},
                   {"found", finding.found},
                   {"advice", finding.advice},
                   {"code", finding.code}});
  }
  const nlohmann::ordered_json object = {{"findings", all}, {"exit", exit_code(findings)}};
  return object.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace sheaf::launcher
