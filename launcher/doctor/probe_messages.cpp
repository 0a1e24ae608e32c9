#include "launcher/doctor/probe_messages.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace sheaf::launcher {

NLOHMANN_JSON_SERIALIZE_ENUM(Question, {{Question::host, "host"},
                                        {Question::job, "job"},
                                        {Question::listen, "listen"},
                                        {Question::reach, "reach"},
                                        {Question::exchange, "exchange"},
                                        {Question::received, "received"}})
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ProbeEndpoint, address, port)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ProbeRequest, ask, folder, job, overrides, interface, one_host,
                                   first_port, last_port, to, milliseconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HostFacts, name, program, build, numerics, time, cores,
                                   free_memory, temporary, temporary_problem)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ProbeAnswer, problem, fault, host, config, data, listens, beside,
                                   unreached, bytes_per_s)

namespace {

std::string line_of(const nlohmann::json& json) {
  // Names of files and hosts may hold any bytes.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

template <typename Message>
Message parse(std::string_view line) {
  try {
    return nlohmann::json::parse(line).get<Message>();
  } catch (const nlohmann::json::exception&) {
    fail(Fault::network, "found \"{}\", expected a line of `sheaf probe` of this version",
         line.substr(0, 200));
  }
}

}  // namespace

std::string to_line(const ProbeRequest& request) { return line_of(request); }
std::string to_line(const ProbeAnswer& answer) { return line_of(answer); }
ProbeRequest parse_request(std::string_view line) { return parse<ProbeRequest>(line); }
ProbeAnswer parse_answer(std::string_view line) { return parse<ProbeAnswer>(line); }

}  // namespace sheaf::launcher
