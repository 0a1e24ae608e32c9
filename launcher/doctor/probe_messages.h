// What `sheaf doctor` asks a probe and what the probe answers: one JSON object a line, over the
// streams of `sheaf probe`. Plain data; a text that is none throws Fault::network.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::launcher {

// A port of a host, for a plain socket.
struct ProbeEndpoint {
  std::string address;  // numeric
  std::uint16_t port = 0;
};

enum class Question {
  host,      // what this host is
  job,       // is the job sound here, and the same as elsewhere
  listen,    // open ports where the ranks of the job would
  reach,     // connect to each of `to`
  exchange,  // send to to[0] and receive from it, as fast as it goes
  received,  // how fast the newest exchange was that another began
};

struct ProbeRequest {
  Question ask = Question::host;
  std::string folder = {};  // host, job: where the ranks will run; empty: nowhere in particular
  std::string job = {};     // job: the absolute job file
  std::vector<std::string> overrides = {};
  std::string interface = {};    // listen: network.interface
  bool one_host = false;         // listen: all ranks share a host
  std::uint16_t first_port = 0;  // listen: inclusive; 0 and 0 any free port
  std::uint16_t last_port = 0;
  std::vector<ProbeEndpoint> to = {};  // listen: first the coordinator, if it listens already
  std::uint32_t milliseconds = 0;      // reach: to wait for each; exchange: how long
};

struct HostFacts {
  std::string name;
  std::string program;   // version, commit, compiler
  std::string build;     // digest, in hex: equal for equal binaries
  std::string numerics;  // what decides float bits
  double time = 0;       // seconds since 1970
  std::uint32_t cores = 0;
  std::uint64_t free_memory = 0;  // bytes
  std::string temporary;          // the folder for temporary files
  std::string temporary_problem;  // why nothing can be written there; empty: it can
};

struct ProbeAnswer {
  std::string problem = {};  // why there is no answer; then `fault` is its exit code
  int fault = 0;
  HostFacts host = {};                      // host
  std::string config = {};                  // job: digest of the resolved job file
  std::string data = {};                    // job: digest of the data
  ProbeEndpoint listens = {};               // listen: within the range of ports
  ProbeEndpoint beside = {};                // listen: the same address, any free port
  std::vector<std::string> unreached = {};  // reach: of each, why not; empty: it was reached
  double bytes_per_s = 0;                   // exchange, received
};

std::string to_line(const ProbeRequest& request);
std::string to_line(const ProbeAnswer& answer);
ProbeRequest parse_request(std::string_view line);
ProbeAnswer parse_answer(std::string_view line);

}  // namespace sheaf::launcher
