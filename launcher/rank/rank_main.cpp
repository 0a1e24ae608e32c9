#include "launcher/rank/rank_main.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>

#include "common/base/error.h"
#include "launcher/coordinator/coordinator.h"
#include "launcher/rank/mpi_session.h"
#include "launcher/rank/rank.h"
#include "launcher/rank/watchdog.h"
#include "launcher/run/report.h"
#include "launcher/run/run_json.h"
#include "launcher/run/run_lock.h"
#include "launcher/system/host.h"

namespace sheaf::launcher {
namespace {

net::Endpoint parse_endpoint(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  net::Endpoint endpoint;
  if (colon != std::string::npos) {
    endpoint.address = text.substr(0, colon);
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), endpoint.port);
  }
  if (endpoint.port == 0) {
    fail(Fault::config, "{}: found \"{}\", expected ADDRESS:PORT", kCoordinatorVariable, text);
  }
  return endpoint;
}

// Reads and forgets: children and crash dumps need not see it.
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  ::unsetenv(name);
  return text;
}

// Of a job that was started once: 0.
std::uint32_t take_incarnation() {
  return static_cast<std::uint32_t>(
      std::strtoul(take_variable(kIncarnationVariable).c_str(), nullptr, 10));
}

bool all_equal(const std::vector<std::string>& texts) {
  return std::adjacent_find(texts.begin(), texts.end(), std::not_equal_to<>()) == texts.end();
}

// The exit of the other ranks when rank 0 refuses the job: any fault would have mpirun kill rank 0,
// perhaps before it has said why. The job still ends with rank 0's code.
constexpr int kRankZeroSaysWhy = 0;

ProcessId process_of_rank(const RunConfig& config, int rank) {
  const auto r = static_cast<std::uint32_t>(rank);
  const std::uint32_t servers = config.run().servers;
  return r < servers ? ProcessId{Role::server, r} : ProcessId{Role::worker, r - servers};
}

int show_and_close(JobRecord& record, const Coordinator::Outcome& outcome) {
  const int code = outcome ? outcome->fault : 0;
  const RunResult& result = record.close(outcome, code);
  if (result.error) {
    std::cerr << failure_report(result, record.path()) << std::flush;
  } else {
    std::cout << closing_report(result, record.path()) << record.path().string() << std::endl;
  }
  return result.exit;
}

// By hand, rank 0 is the coordinator too. Its record outlives its rank.
class OwnCoordinator {
 public:
  OwnCoordinator(const RunConfig& config, const wire::JobKey& key, bool single_host)
      : record_(config, {style_of(STDERR_FILENO),
                         [](std::string_view text) { std::cerr << text << std::flush; }}) {
    if (config.privacy().on) {
      fail(Fault::config,
           "privacy.kind: found \"{}\" in ranks that were started by hand, expected sheaf train: "
           "rank 0 is a server, and may not hold the secret of the workers",
           config.privacy().kind);
    }
    std::string note;
    const std::string address =
        net::address_of_interface(config.network().interface, single_host, &note);
    if (!note.empty()) record_.note(note);
    coordinator_ = std::make_unique<Coordinator>(
        coordinator_options(config, key, address,
                            {config.network().port_low, config.network().port_high}),
        record_);
    const net::Endpoint endpoint = coordinator_->endpoint();
    record_.write_control(endpoint, key);
    coordinator_->start();
  }
  net::Endpoint endpoint() const { return coordinator_->endpoint(); }
  int close(Duration limit) {
    auto outcome = coordinator_->wait(limit);
    if (!outcome) {
      outcome = wire::Failure{{Role::coordinator, 0},
                              static_cast<int>(Fault::network),
                              "ending the job",
                              "some ranks did not leave in time"};
    }
    coordinator_.reset();
    return show_and_close(record_, *outcome);
  }

 private:
  JobRecord record_;
  const RunLock lock_{record_.path()};
  std::unique_ptr<Coordinator> coordinator_;
};

int join(const RankCommand& command, RunConfig& config) {
  config.require_sound();
  std::ifstream file(*command.join);
  if (!file) {
    fail(Fault::config, "{} cannot be read; it is RUN/control.json of a running job",
         command.join->string());
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const ControlFile control = parse_control(text, command.join->string());
  const Seat seat{*command.process,
                  take_incarnation(),
                  {control.address, control.port},
                  wire::JobKey::from_hex(control.key_hex)};
  return run_rank(config, seat);
}

int rank_under_mpi(RunConfig& config) {
  const TimeoutsSection& timeouts = config.timeouts();
  std::unique_ptr<MpiSession> mpi;
  {
    const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
    const Watchdog watchdog(
        timeouts.start, Fault::network,
        fmt::format(
            "rank {}: MPI_Init has not returned within {:.1f} s: a rank has not arrived, or "
            "MPI uses an interface that does not reach all hosts (try launch.mpirun_args = "
            "[\"--mca\", \"btl_tcp_if_include\", \"INTERFACE\"])",
            rank == nullptr ? "?" : rank, seconds(timeouts.start)));
    mpi = std::make_unique<MpiSession>();
  }
  const std::uint32_t expected = config.run().servers + config.run().workers;
  if (static_cast<std::uint32_t>(mpi->size()) != expected) {
    if (mpi->rank() != 0) return kRankZeroSaysWhy;
    fail(Fault::config,
         "found {} ranks, expected {} ({} servers + {} workers): mpirun -n {} … sheaf rank …",
         mpi->size(), expected, config.run().servers, config.run().workers, expected);
  }
  // A job that cannot work is refused by every rank alike; one of them says why.
  try {
    config.require_sound();
  } catch (const Error&) {
    if (mpi->rank() == 0) throw;
    return kRankZeroSaysWhy;
  }

  const ProcessId process = process_of_rank(config, mpi->rank());
  const std::string coordinator = take_variable(kCoordinatorVariable);
  if (!coordinator.empty()) {  // started by `sheaf train`
    const wire::JobKey key = wire::JobKey::from_hex(take_variable(kKeyVariable));
    mpi->finalize();
    return run_rank(config, {process, take_incarnation(), parse_endpoint(coordinator), key});
  }

  config.expect_no_replacements();
  const auto hosts = mpi->gather(host_identity(), timeouts.start);
  std::unique_ptr<OwnCoordinator> own;
  std::string announcement;
  std::exception_ptr refused;
  if (mpi->rank() == 0) {
    try {
      const wire::JobKey key;
      own = std::make_unique<OwnCoordinator>(config, key, all_equal(hosts));
      announcement = to_string(own->endpoint()) + " " + key.hex();
    } catch (...) {
      refused = std::current_exception();
    }
  }
  announcement = mpi->broadcast(announcement, timeouts.start);
  mpi->finalize();
  if (refused) std::rethrow_exception(refused);
  if (announcement.empty()) return kRankZeroSaysWhy;
  const std::size_t space = announcement.find(' ');
  const Seat seat{process, 0, parse_endpoint(announcement.substr(0, space)),
                  wire::JobKey::from_hex(announcement.substr(space + 1)), false};
  const int code = run_rank(config, seat);
  return own ? own->close(timeouts.dead + std::chrono::seconds(3)) : code;
}

}  // namespace

int rank_main(const RankCommand& command) {
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  return command.join ? join(command, config) : rank_under_mpi(config);
}

}  // namespace sheaf::launcher
