#include "launcher/run/seat.h"

#include <span>
#include <string>

#include "launcher/system/build_identity.h"

namespace sheaf::launcher {
namespace {

wire::Digest digest_of_hex(const std::string& hex) {
  return wire::JobKey::from_hex(hex).bytes();  // 64 hexadecimal digits, like a key
}

}  // namespace

wire::Identity make_identity(const RunConfig& config, ProcessId process,
                             std::uint32_t incarnation) {
  wire::Identity identity;
  identity.process = process;
  identity.incarnation = incarnation;
  identity.build = build_digest();
  identity.config = digest_of_hex(config.config_sha256());
  const std::string numerics = numerics_text();
  identity.numerics = wire::sha256(std::as_bytes(std::span(numerics)));
  return identity;
}

net::Credentials make_credentials(const RunConfig& config, const wire::JobKey& key,
                                  ProcessId process, std::uint32_t incarnation) {
  return {key, make_identity(config, process, incarnation),
          net::parse_encryption(config.network().encryption)};
}

}  // namespace sheaf::launcher
