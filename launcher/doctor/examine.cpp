#include "launcher/doctor/examine.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>

#include "common/base/error.h"
#include "launcher/config/memory_plan.h"
#include "launcher/doctor/probe_session.h"
#include "launcher/supervision/job_hosts.h"
#include "launcher/supervision/mpirun_command.h"
#include "launcher/system/host.h"
#include "launcher/system/writable.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kAnswer{10};     // of a host that is well, also the first time
constexpr std::chrono::seconds kJobAnswer{60};  // it opens the data
constexpr milliseconds kConnect{3000};
constexpr milliseconds kExchange{500};
constexpr std::uint64_t kRunFiles = 1 << 20;  // metrics and logs of a short job
constexpr std::uint64_t kFloat = sizeof(float);

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The folder itself, or the nearest above it that exists.
fs::path nearest_folder(fs::path folder) {
  folder = fs::absolute(folder);
  while (!fs::is_directory(folder) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

ExaminedDisk examine_disk(const fs::path& run, std::uint64_t model_bytes) {
  ExaminedDisk disk{run.string()};
  std::error_code error;
  const fs::path folder = nearest_folder(run);
  disk.free = fs::space(folder, error).available;
  if (fs::exists(run, error) && !fs::is_empty(run, error)) {
    disk.problem = "exists and is not empty";
  } else {
    disk.problem = why_not_writable(folder, model_bytes + kRunFiles);
  }
  return disk;
}

class Examiner {
 public:
  Examiner(const RunConfig* config, const JobArguments& job)
      : config_(config), job_(job), program_(fs::read_symlink("/proc/self/exe")) {
    e_.program = program_.string();
  }

  Examination examine_links() {
    find_hosts();
    name_network();
    start_probes();
    ask_who();
    open_ports();
    try_links();
    measure_links();
    return std::move(e_);
  }

  Examination examine() {
    find_hosts();
    examine_launch();
    if (config_ != nullptr) examine_job_here();
    start_probes();
    ask_who();
    if (config_ != nullptr) {
      ask_about_job();
      open_ports();
      try_links();
      measure_links();
    }
    return std::move(e_);
  }

 private:
  using Request = std::function<std::optional<ProbeRequest>(std::size_t host)>;

  void find_hosts() {
    std::vector<JobHost> hosts;
    if (config_ != nullptr) {
      const LaunchSection& launch = config_->launch();
      const auto environment = [](const char* name) { return std::getenv(name); };
      if (!launch.hostfile.empty()) {
        hosts = read_hostfile(launch.hostfile);
      } else {
        hosts = hosts_of_arguments(launch.mpirun_args);
        const bool elsewhere = names_hosts(launch.mpirun_args) || has_allocation(environment);
        if (hosts.empty() && elsewhere) {
          e_.notes.emplace_back(
              "only this host was examined: the others are named neither in launch.hostfile nor "
              "after --host; write them into a hostfile");
        }
      }
    }
    const auto here =
        std::ranges::find_if(hosts, [](const JobHost& h) { return is_this_host(h.name); });
    if (here == hosts.end()) {
      e_.hosts.push_back({.name = host_name(), .starts = true, .has_ranks = hosts.empty()});
    }
    for (const JobHost& host : hosts) {
      e_.hosts.push_back({.name = host.name, .starts = here != hosts.end() && &host == &*here});
      slots_.resize(e_.hosts.size());
      slots_.back() = host.slots;
    }
    slots_.resize(e_.hosts.size());
    one_host_ = e_.hosts.size() == 1;
  }

  void examine_launch() {
    try {
      const fs::path mpirun = find_mpirun(variable("PATH"));
      const int major = open_mpi_major(output_of({mpirun.string(), "--version"}, kAnswer));
      e_.mpirun = fmt::format("{}, Open MPI {}", mpirun.string(), major);
    } catch (const Error& error) {
      e_.mpirun_problem = error.message();
    }
  }

  void name_network() {
    const NetworkSection& network = config_->network();
    e_.interface = network.interface;
    e_.ports = network.port_low == network.port_high
                   ? fmt::format("{}", network.port_low)
                   : fmt::format("{}-{}", network.port_low, network.port_high);
  }

  void examine_job_here() {
    name_network();
    e_.deterministic = config_->run().deterministic;
    const auto model = config_->make_model(config_->make_source()->schema());
    e_.model_bytes = kFloat * model->layout().size();
    memory_ = plan_memory(*config_, model->layout().size());
    e_.disk = examine_disk(config_->run().dir, e_.model_bytes);
  }

  std::vector<std::string> command_for(const ExaminedHost& host) const {
    std::vector<std::string> probe = {program_.string(), "probe"};
    if (host.starts) return probe;
    // As a rank there will get them.
    for (const std::string& name : blas_variables(environ)) {
      probe.insert(probe.begin(), name + "=" + variable(name.c_str()));
    }
    if (probe.size() > 2) probe.insert(probe.begin(), "env");
    const auto environment = [](const char* name) { return std::getenv(name); };
    std::vector<std::string> words = remote_agent(config_->launch().mpirun_args, environment);
    // Nobody is there to type a password.
    if (fs::path(words[0]).filename() == "ssh") words.insert(words.end(), {"-o", "BatchMode=yes"});
    words.insert(words.end(), {host.name, shell_line(probe)});
    return words;
  }

  void start_probes() {
    for (ExaminedHost& host : e_.hosts) {
      std::vector<std::string> words = command_for(host);
      host.command = shell_line(words);
      probes_.push_back(nullptr);
      if (words[0].find('/') == std::string::npos) {
        const auto file = find_program(words[0], variable("PATH"));
        if (!file) {
          host.silence =
              Silence{false, std::nullopt,
                      fmt::format("{} was not found in PATH; install it, or name another "
                                  "with --mca plm_rsh_agent in launch.mpirun_args",
                                  words[0])};
          continue;
        }
        words[0] = file->string();
      }
      try {
        probes_.back() = std::make_unique<ProbeSession>(words);
      } catch (const Error& error) {
        host.silence = Silence{false, std::nullopt, error.message()};
      }
    }
  }

  // Takes the answer of a host; one that gives none is not asked again.
  std::optional<ProbeAnswer> take_answer(std::size_t i, steady_clock::time_point deadline) {
    ProbeSession& probe = *probes_[i];
    Silence silence;
    try {
      if (auto answer = probe.answer(deadline)) return answer;
      const std::optional<ExitStatus> ended = probe.ended();
      silence = {!ended, std::nullopt, probe.errors()};
      if (ended && ended->signal == 0) silence.code = ended->code;
    } catch (const Error& error) {
      silence.text = error.message();
    }
    e_.hosts[i].silence = silence;
    probes_[i].reset();
    return std::nullopt;
  }

  // Asks all hosts at once; one for which there is no request is left out.
  std::vector<std::optional<ProbeAnswer>> ask_all(const Request& request, milliseconds patience) {
    std::vector<bool> asked(probes_.size());
    std::vector<std::optional<ProbeAnswer>> answers(probes_.size());
    for (std::size_t i = 0; i < probes_.size(); ++i) {
      if (probes_[i] == nullptr) continue;
      const std::optional<ProbeRequest> question = request(i);
      if (!question) continue;
      probes_[i]->ask(*question);
      asked[i] = true;
    }
    const auto deadline = steady_clock::now() + patience;
    for (std::size_t i = 0; i < probes_.size(); ++i) {
      if (asked[i]) answers[i] = take_answer(i, deadline);
    }
    return answers;
  }

  std::optional<ProbeAnswer> ask(std::size_t host, const ProbeRequest& request,
                                 milliseconds patience) {
    return ask_all([&](std::size_t i) { return i == host ? std::optional(request) : std::nullopt; },
                   patience)[host];
  }

  void ask_who() {
    const ProbeRequest who{.ask = Question::host};
    ask_all([&](std::size_t) { return std::optional(who); }, kAnswer);
    // Now that the way there is open, an answer is quick enough to compare clocks.
    for (std::size_t i = 0; i < probes_.size(); ++i) {
      const double before = unix_time();
      const auto answer = ask(i, who, kAnswer);
      const double after = unix_time();
      if (!answer) continue;
      ExaminedHost& host = e_.hosts[i];
      host.facts = answer->host;
      host.clock_offset = answer->host.time - (before + after) / 2;
      host.clock_error = (after - before) / 2;
    }
    if (config_ != nullptr) place_ranks();
  }

  // Host by host in turn, as mpirun_command() asks mpirun to. Where the user maps ranks differently
  // the figures would be wrong, and are left out.
  void place_ranks() {
    if (maps_ranks(config_->launch().mpirun_args)) return;
    const RunSection& run = config_->run();
    const std::uint32_t all = run.servers + run.workers;
    std::uint32_t rank = 0;
    for (bool placed = true; placed && rank < all;) {
      placed = false;
      for (std::size_t i = 0; i < e_.hosts.size() && rank < all; ++i) {
        ExaminedHost& host = e_.hosts[i];
        const std::uint32_t slots = one_host_ ? all : slots_[i].value_or(host.facts.cores);
        if (!host.has_ranks || host.ranks >= slots) continue;
        const bool serves = rank < run.servers;
        host.memory += serves ? memory_.server : memory_.worker;
        host.servers += serves ? 1 : 0;
        ++host.ranks;
        ++rank;
        placed = true;
      }
    }
  }

  void ask_about_job() {
    const ProbeRequest question{.ask = Question::job,
                                .folder = fs::current_path().string(),
                                .job = fs::absolute(job_.file).string(),
                                .overrides = job_.overrides};
    auto answers = ask_all([&](std::size_t) { return std::optional(question); }, kJobAnswer);
    for (std::size_t i = 0; i < answers.size(); ++i) e_.hosts[i].job = std::move(answers[i]);
  }

  // First where the coordinator will be, then everywhere else.
  void open_ports() {
    ProbeRequest question{.ask = Question::listen,
                          .interface = e_.interface,
                          .one_host = one_host_,
                          .first_port = config_->network().port_low,
                          .last_port = config_->network().port_high};
    const auto first = static_cast<std::size_t>(
        std::ranges::find_if(e_.hosts, &ExaminedHost::starts) - e_.hosts.begin());
    if (probes_[first] == nullptr) return;
    e_.hosts[first].listens = ask(first, question, kAnswer);
    if (!listens(first)) return;
    question.to = {e_.hosts[first].listens->listens};
    const auto others = [&](std::size_t i) {
      return i == first ? std::nullopt : std::optional(question);
    };
    auto answers = ask_all(others, kAnswer);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (i != first) e_.hosts[i].listens = std::move(answers[i]);
    }
  }

  bool listens(std::size_t i) const {
    return e_.hosts[i].listens && e_.hosts[i].listens->problem.empty();
  }

  void try_links() {
    const auto question = [&](std::size_t from) -> std::optional<ProbeRequest> {
      if (!listens(from)) return std::nullopt;  // has a fault already that comes first
      ProbeRequest request{.ask = Question::reach,
                           .milliseconds = static_cast<std::uint32_t>(kConnect.count())};
      for (std::size_t to = 0; to < e_.hosts.size(); ++to) {
        if (to == from || !listens(to)) continue;
        request.to.push_back(e_.hosts[to].listens->listens);
        request.to.push_back(e_.hosts[to].listens->beside);
      }
      if (request.to.empty()) return std::nullopt;
      return request;
    };
    const auto answers = ask_all(question, kConnect + kAnswer);
    for (std::size_t from = 0; from < answers.size(); ++from) {
      if (!answers[from]) continue;
      const std::vector<std::string>& unreached = answers[from]->unreached;
      std::size_t next = 0;
      for (std::size_t to = 0; to < e_.hosts.size() && next + 1 < unreached.size(); ++to) {
        if (to == from || !listens(to)) continue;
        e_.links.push_back({from, to, unreached[next], unreached[next + 1]});
        next += 2;
      }
    }
  }

  bool linked(std::size_t a, std::size_t b) const {
    const auto works = [&](std::size_t from, std::size_t to) {
      return std::ranges::any_of(e_.links, [&](const ExaminedLink& link) {
        return link.from == from && link.to == to && link.problem.empty();
      });
    };
    return works(a, b) && works(b, a);
  }

  // Around a ring, one after the other: so each host sends and receives, and none is disturbed.
  void measure_links() {
    const std::size_t count = e_.hosts.size();
    for (std::size_t a = 0; a < (count == 2 ? 1 : count); ++a) {
      const std::size_t b = (a + 1) % count;
      if (a == b || !linked(a, b)) continue;
      ExaminedTransfer transfer{a, b};
      const auto ours = ask(a,
                            {.ask = Question::exchange,
                             .to = {e_.hosts[b].listens->listens},
                             .milliseconds = static_cast<std::uint32_t>(kExchange.count())},
                            kAnswer);
      const auto theirs = ask(b, {.ask = Question::received}, kAnswer);
      if (!ours || !theirs) continue;  // a finding of its own
      transfer.problem = ours->problem.empty() ? theirs->problem : ours->problem;
      transfer.b_to_a = ours->bytes_per_s;
      transfer.a_to_b = theirs->bytes_per_s;
      e_.transfers.push_back(transfer);
    }
  }

  const RunConfig* config_;
  const JobArguments& job_;
  const fs::path program_;
  Examination e_;
  std::vector<std::optional<std::uint32_t>> slots_;    // by host
  std::vector<std::unique_ptr<ProbeSession>> probes_;  // by host; null: silent
  MemoryPlan memory_;
  bool one_host_ = true;
};

}  // namespace

Examination examine_this_host() {
  const JobArguments none;
  return Examiner(nullptr, none).examine();
}

Examination examine_hosts(const RunConfig& config, const JobArguments& job) {
  return Examiner(&config, job).examine();
}

Examination examine_links(const RunConfig& config, const JobArguments& job) {
  return Examiner(&config, job).examine_links();
}

}  // namespace sheaf::launcher
