#include "launcher/supervision/job_hosts.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include "common/base/error.h"
#include "launcher/system/host.h"

namespace sheaf::launcher {
namespace {

std::optional<std::uint32_t> whole_number(const std::string& text) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && rest == end ? std::optional(value) : std::nullopt;
}

// A host that is named again adds its slots.
void add(std::vector<JobHost>& hosts, JobHost host) {
  const auto known = std::ranges::find(hosts, host.name, &JobHost::name);
  if (known == hosts.end()) {
    hosts.push_back(std::move(host));
  } else if (known->slots && host.slots) {
    *known->slots += *host.slots;
  } else {
    known->slots.reset();
  }
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// With or without a domain.
bool same_name(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const bool numeric = a.find_first_not_of("0123456789.") == std::string_view::npos;
  return !numeric && a.substr(0, a.find('.')) == b.substr(0, b.find('.'));
}

bool lists_hosts(std::string_view word) { return word == "-H" || is_flag(word, "--host"); }

}  // namespace

std::vector<JobHost> parse_hostfile(std::istream& lines) {
  std::vector<JobHost> hosts;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    JobHost host;
    if (!(words >> host.name)) continue;
    for (std::string word; words >> word;) {
      constexpr std::string_view kKey = "slots=";
      if (word.starts_with(kKey)) host.slots = whole_number(word.substr(kKey.size()));
    }
    add(hosts, std::move(host));
  }
  return hosts;
}

std::vector<JobHost> read_hostfile(const std::filesystem::path& file) {
  std::ifstream lines(file);
  if (!lines) {
    fail(Fault::config, "launch.hostfile: cannot read {}: {}", file.string(), std::strerror(errno));
  }
  return parse_hostfile(lines);
}

bool is_flag(std::string_view word, std::string_view flag) {
  return word == flag || (word.starts_with('-') && "-" + std::string(word) == flag);
}

bool names_hosts(std::span<const std::string> mpirun_args) {
  constexpr std::array kHostFlags = {"--host", "--hostfile", "--machinefile", "--default-hostfile"};
  return std::ranges::any_of(mpirun_args, [&](const std::string& word) {
    return word == "-H" || std::ranges::any_of(kHostFlags, [&](std::string_view flag) {
             return is_flag(word, flag);
           });
  });
}

bool has_allocation(const Environment& environment) {
  // Slurm, PBS and Torque, LSF, Grid Engine.
  constexpr std::array kAllocations = {"SLURM_JOB_ID", "PBS_NODEFILE", "LSB_HOSTS", "PE_HOSTFILE"};
  return std::ranges::any_of(kAllocations,
                             [&](const char* name) { return environment(name) != nullptr; });
}

std::vector<JobHost> hosts_of_arguments(std::span<const std::string> mpirun_args) {
  std::vector<JobHost> hosts;
  for (std::size_t i = 0; i + 1 < mpirun_args.size(); ++i) {
    if (!lists_hosts(mpirun_args[i])) continue;
    for (const std::string& part : split(mpirun_args[i + 1], ',')) {
      const std::size_t colon = part.find(':');
      // Without a number mpirun takes one slot each time that a host is named.
      add(hosts, {part.substr(0, colon),
                  colon == std::string::npos ? 1 : whole_number(part.substr(colon + 1))});
    }
  }
  return hosts;
}

std::vector<std::string> without_hosts(std::span<const std::string> mpirun_args) {
  std::vector<std::string> rest;
  for (std::size_t i = 0; i < mpirun_args.size(); ++i) {
    if (lists_hosts(mpirun_args[i])) {
      ++i;
    } else {
      rest.push_back(mpirun_args[i]);
    }
  }
  return rest;
}

std::vector<std::string> addresses_of(const std::string& name) {
  addrinfo wanted{};
  wanted.ai_family = AF_INET;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &wanted, &found) != 0) return {};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, &::freeaddrinfo);
  std::vector<std::string> addresses;
  for (; found != nullptr; found = found->ai_next) {
    char text[INET_ADDRSTRLEN] = {};
    const auto* in = reinterpret_cast<const sockaddr_in*>(static_cast<const void*>(found->ai_addr));
    ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    addresses.emplace_back(text);
  }
  return addresses;
}

std::optional<std::string> name_in_list(
    const std::vector<JobHost>& list, std::string_view host, std::string_view address,
    const std::function<std::vector<std::string>(const std::string&)>& resolve) {
  for (const JobHost& entry : list) {
    if (same_name(entry.name, host)) return entry.name;
  }
  for (const JobHost& entry : list) {
    if (entry.name == address) return entry.name;
  }
  for (const JobHost& entry : list) {
    if (std::ranges::count(resolve(entry.name), address) != 0) return entry.name;
  }
  return std::nullopt;
}

std::vector<std::string> remote_agent(std::span<const std::string> mpirun_args,
                                      const Environment& environment) {
  std::string agents;
  if (const char* value = environment("OMPI_MCA_plm_rsh_agent")) agents = value;
  for (std::size_t i = 0; i + 2 < mpirun_args.size(); ++i) {
    if (is_flag(mpirun_args[i], "--mca") && mpirun_args[i + 1] == "plm_rsh_agent") {
      agents = mpirun_args[i + 2];
    }
  }
  // Several, between colons, are tried in turn; each may have arguments.
  const std::vector<std::string> first = split(agents, ':');
  return first.empty() ? std::vector<std::string>{"ssh"} : split(first[0], ' ');
}

std::vector<std::string> blas_variables(const char* const* environment) {
  std::vector<std::string> names;
  for (; *environment != nullptr; ++environment) {
    const std::string_view entry(*environment);
    if (entry.starts_with("OPENBLAS_")) names.emplace_back(entry.substr(0, entry.find('=')));
  }
  return names;
}

bool is_this_host(std::string_view name) {
  if (name == "localhost" || name.starts_with("127.") || name == "::1") return true;
  return same_name(name, host_name());
}

}  // namespace sheaf::launcher
