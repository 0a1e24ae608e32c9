// The hosts of a job as mpirun finds them: the hostfile, the --host arguments, and the command that
// reaches a host. Pure functions, except read_hostfile(), addresses_of() and is_this_host().
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <istream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::launcher {

// Looks up an environment variable; null if it is not set. `std::getenv` is one.
using Environment = std::function<const char*(const char*)>;

struct JobHost {
  std::string name;
  std::optional<std::uint32_t> slots;  // nothing: mpirun counts the cores of the host
};

// The lines of a hostfile, each host once, in the order of their first lines. Comments and other
// keys are read over.
std::vector<JobHost> parse_hostfile(std::istream& lines);
// Throws Fault::config if the file cannot be read.
std::vector<JobHost> read_hostfile(const std::filesystem::path& file);

// Open MPI takes both "--flag" and "-flag".
bool is_flag(std::string_view word, std::string_view flag);
// True if `mpirun_args` name hosts, or the environment is that of a batch system's allocation.
bool names_hosts(std::span<const std::string> mpirun_args);
bool has_allocation(const Environment& environment);

// The hosts of --host and -H ("n1:2,n2") among the arguments; empty without one.
std::vector<JobHost> hosts_of_arguments(std::span<const std::string> mpirun_args);

// The arguments without --host, -H and their lists.
std::vector<std::string> without_hosts(std::span<const std::string> mpirun_args);

// The numeric IPv4 addresses of a host; empty if nobody knows it.
std::vector<std::string> addresses_of(const std::string& name);

// What the job's own list calls a host: mpirun takes no other name beside it. By the name that the
// host has itself, with or without its domain, else by its address. Nothing if it is not in the
// list. `resolve` is addresses_of().
std::optional<std::string> name_in_list(
    const std::vector<JobHost>& list, std::string_view host, std::string_view address,
    const std::function<std::vector<std::string>(const std::string&)>& resolve);

// What mpirun starts its daemons with, as words: its parameter plm_rsh_agent among the arguments or
// in the environment, else ssh. HOST and one shell command follow it.
std::vector<std::string> remote_agent(std::span<const std::string> mpirun_args,
                                      const Environment& environment);

// The names of OpenBLAS's own variables in an environment as execve takes it. They decide the bits
// of its products, so every host must have the same.
std::vector<std::string> blas_variables(const char* const* environment);

// "localhost", a loopback address, or the name of this host with or without its domain.
bool is_this_host(std::string_view name);

}  // namespace sheaf::launcher
