#include "launcher/run/job_query.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "common/base/error.h"
#include "common/net/handshake_io.h"
#include "launcher/run/control_peer.h"
#include "launcher/run/run_json.h"
#include "launcher/system/build_identity.h"

namespace sheaf::launcher {
namespace {

ControlFile control_of(const std::filesystem::path& run) {
  const std::filesystem::path path = run / "control.json";
  std::ifstream file(path);
  if (!file) {
    fail(Fault::config, "{} cannot be read, expected a run directory as sheaf train makes it",
         path.string());
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_control(text, path.string());
}

net::Credentials credentials_of(const ControlFile& control) {
  wire::Identity self;
  self.process = {Role::client, 0};
  self.build = build_digest();
  self.config = wire::JobKey::from_hex(control.config_sha256).bytes();  // as many digits
  return {wire::JobKey::from_hex(control.key_hex), self, net::parse_encryption(control.encryption)};
}

net::Task<void> join(net::asio::io_context& context, net::Endpoint coordinator,
                     net::Credentials credentials, Duration limit,
                     std::optional<net::Connection>* out) {
  net::Connection made = co_await net::connect(context, coordinator, "the coordinator", limit);
  co_await net::greet(made, credentials, ProcessId{Role::coordinator, 0}, limit);
  *out = std::move(made);
}

template <typename Answer, typename Question>
std::optional<Answer> ask(const std::filesystem::path& run, wire::ControlKind kind,
                          const Question& question, Duration limit) {
  const ControlFile control = control_of(run);
  net::asio::io_context context(1);
  std::optional<net::Connection> connection;
  std::exception_ptr failure;
  net::asio::co_spawn(
      context,
      join(context, {control.address, control.port}, credentials_of(control), limit, &connection),
      [&](std::exception_ptr error) { failure = error; });
  context.run();
  context.restart();
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const net::ConnectionLost&) {
    return std::nullopt;  // nobody is there, or it has just gone
  }

  std::optional<Answer> answer;
  ControlPeer peer(
      {Role::coordinator, 0}, 0, std::move(*connection),
      [&](ControlPeer& from, const wire::Header& header, std::span<const std::byte> body) {
        if (header.type != wire::FrameType::control) return;  // a beat
        const auto said = static_cast<wire::ControlKind>(header.value);
        if (said == kind) {
          answer = wire::from_bytes<Answer>(body);
        } else if (said != wire::ControlKind::stop) {  // the job ends
          fail(Fault::network, "control message {} of the coordinator answers no question",
               header.value);
        }
        from.close();
      },
      [&](ControlPeer&, std::exception_ptr error) { failure = error; });
  peer.send(kind, question);
  context.run_for(std::chrono::ceil<std::chrono::milliseconds>(limit));
  const bool silent = !answer && !context.stopped();
  peer.close();
  context.run();
  if (answer) return answer;
  if (silent) {
    fail(Fault::network, "the coordinator of {} has not answered within {:.1f} s", run.string(),
         seconds(limit));
  }
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const net::ConnectionLost&) {  // it has just gone
  }
  return std::nullopt;
}

}  // namespace

std::optional<wire::Status> ask_status(const std::filesystem::path& run, Duration limit) {
  return ask<wire::Status>(run, wire::ControlKind::status, wire::Drain{}, limit);
}

std::optional<wire::Log> ask_scale(const std::filesystem::path& run, const wire::Scale& scale,
                                   Duration limit) {
  return ask<wire::Log>(run, wire::ControlKind::scale, scale, limit);
}

}  // namespace sheaf::launcher
