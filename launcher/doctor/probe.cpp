#include "launcher/doctor/probe.h"

#include <chrono>
#include <filesystem>
#include <istream>
#include <ostream>
#include <span>
#include <string>
#include <thread>

#include "common/base/error.h"
#include "common/net/listener.h"
#include "common/net/shared_memory.h"
#include "launcher/config/run_config.h"
#include "launcher/doctor/probe_messages.h"
#include "launcher/doctor/probe_network.h"
#include "launcher/system/build_identity.h"
#include "launcher/system/host.h"
#include "launcher/system/writable.h"
#include "worker/data/digest.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnect{3000};
// What mpirun and a rank keep in the folder for temporary files.
constexpr std::uint64_t kTemporaryBytes = 1 << 20;

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

// Relative paths of a job are those of the folder in which it is started.
void enter(const std::string& folder) {
  std::error_code error;
  if (!folder.empty()) std::filesystem::current_path(folder, error);
  if (error) {
    fail(Fault::config, "the folder {} is not there ({}); start the job in one that all hosts have",
         folder, error.message());
  }
}

HostFacts host_facts() {
  HostFacts facts;
  facts.name = host_name();
  facts.program = build_text();
  facts.build = hex(build_digest());
  facts.numerics = numerics_text();
  facts.cores = std::thread::hardware_concurrency();
  facts.free_memory = net::available_memory();
  std::error_code error;
  facts.temporary = std::filesystem::temp_directory_path(error).string();
  facts.temporary_problem =
      error ? error.message() : why_not_writable(facts.temporary, kTemporaryBytes);
  facts.time =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return facts;
}

// The same work as in a rank before it asks for its seat.
void examine_job(const ProbeRequest& request, ProbeAnswer& answer) {
  enter(request.folder);
  RunConfig config = RunConfig::load(request.job, request.overrides);
  config.require_sound();
  answer.config = config.config_sha256();
  answer.data = worker::data_digest(*config.make_source());
}

void open_ports(const ProbeRequest& request, ProbeNetwork& network, ProbeAnswer& answer) {
  // As a server does: "auto" is the address by which it reaches the coordinator.
  const bool by_route = request.interface == "auto" && !request.to.empty();
  const std::string address = by_route
                                  ? address_towards(request.to[0], kConnect)
                                  : net::address_of_interface(request.interface, request.one_host);
  answer.listens = network.listen(address, request.first_port, request.last_port);
  answer.beside = network.listen(address, 0, 0);
}

ProbeAnswer answer_to(const ProbeRequest& request, ProbeNetwork& network) {
  ProbeAnswer answer;
  try {
    switch (request.ask) {
      case Question::host: answer.host = host_facts(); break;
      case Question::job: examine_job(request, answer); break;
      case Question::listen: open_ports(request, network, answer); break;
      case Question::reach:
        answer.unreached = reach(request.to, milliseconds(request.milliseconds));
        break;
      case Question::exchange:
        answer.bytes_per_s = exchange(request.to.at(0), milliseconds(request.milliseconds));
        break;
      case Question::received: answer.bytes_per_s = network.received(); break;
    }
  } catch (...) {
    const auto [fault, text] = describe(std::current_exception());
    answer.problem = text;
    answer.fault = static_cast<int>(fault);
  }
  return answer;
}

}  // namespace

int probe(std::istream& in, std::ostream& out) {
  ProbeNetwork network;
  for (std::string line; std::getline(in, line);) {
    out << to_line(answer_to(parse_request(line), network)) << std::endl;
  }
  return 0;
}

}  // namespace sheaf::launcher
