// Hosts of a test, made by hosts.sh: namespaces of this machine, h1 … hN at 10.77.0.1 … N. They go
// with this object, and with its process, however that ends. One thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/harness/job.h"
#include "tests/harness/process.h"

namespace sheaf::harness {

// TCP for `ip rule`: by name it is known only where /etc/protocols is installed.
inline constexpr const char* kTcp = "6";

class TestHosts {
 public:
  // `rate` is of tc, "1gbit", for each direction of each host; "none": as fast as they can.
  explicit TestHosts(unsigned count, const std::string& rate = "none");
  TestHosts(const TestHosts&) = delete;
  TestHosts& operator=(const TestHosts&) = delete;
  ~TestHosts();

  // Why this machine cannot have them; empty: they are there.
  const std::string& missing() const { return missing_; }
  // What hosts.sh has made.
  const std::filesystem::path& folder() const { return folder_; }
  // A descriptor; the hosts outlive this object in whoever else has it open.
  int alive() const { return alive_; }
  std::filesystem::path hostfile() const { return folder_ / "hosts"; }
  std::filesystem::path agent() const { return folder_ / "agent"; }

  // The [launch] keys of a job on all hosts.
  std::string launch() const;
  // The same command, on a host.
  Command on(unsigned host, Command command) const;
  // Runs it on a host, to its end. Throws if it fails.
  void run(unsigned host, const std::vector<std::string>& argv) const;
  // The same where all that the hosts say to each other passes.
  void run_on_bridge(const std::vector<std::string>& argv) const;
  // From here on the calling thread is in the network of the bridge: sockets it makes are there.
  void enter_bridge() const;
  void set_rate(const std::string& rate) const;
  std::string rate_command() const;  // that does so, with {rate} in its place
  // A piece of shell that the agent runs before each command for this host, in its own namespaces:
  // how a host comes to be unreachable or to hang.
  void let_agent_first(unsigned host, std::string_view shell) const;

 private:
  void call(std::vector<std::string> arguments) const;
  void run_in(const std::string& place, const std::vector<std::string>& argv) const;
  std::filesystem::path folder_;
  int alive_ = -1;  // hosts.sh reads the other end: that it is open keeps them
  std::string missing_;
};

}  // namespace sheaf::harness
