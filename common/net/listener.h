// Accepts TCP connections on one address. Owned by one thread's io_context.
#pragma once

#include <cstdint>
#include <string>

#include "common/net/connection.h"

namespace sheaf::net {

// Inclusive; {0, 0} = any free port.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;
};
// "20000-20100", "20000" or "0". Anything else throws Fault::config.
PortRange parse_ports(const std::string& text);

class Listener {
 public:
  // Binds the first free port of the range. Throws Fault::network naming address, range and reason.
  Listener(asio::io_context& context, const std::string& address, PortRange ports);
  Endpoint endpoint() const;
  // The next connection, named by its address. Throws when the listener is closed.
  Task<Connection> accept(Duration limit);
  void close();

 private:
  asio::io_context& context_;
  asio::ip::tcp::acceptor acceptor_;
};

// The numeric address behind `interface`: a name ("eth0"), an address, "auto" or "loopback". "auto"
// is loopback if `single_host`, else the first address that others can reach; what it chose among
// several is said in `note`. Throws Fault::config listing the interfaces that exist.
std::string address_of_interface(const std::string& interface, bool single_host,
                                 std::string* note = nullptr);

}  // namespace sheaf::net
