#include "common/net/listener.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <charconv>
#include <memory>
#include <vector>

#include "common/base/error.h"

namespace sheaf::net {
namespace {

using Tcp = asio::ip::tcp;

struct Interface {
  std::string name;
  std::string address;
  bool loopback;
};

std::vector<Interface> interfaces() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, &::freeifaddrs);
  std::vector<Interface> found;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET) continue;
    if ((i->ifa_flags & IFF_UP) == 0) continue;
    char text[INET_ADDRSTRLEN] = {};
    const auto* in = reinterpret_cast<const sockaddr_in*>(static_cast<const void*>(i->ifa_addr));
    ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
    found.push_back({i->ifa_name, text, (i->ifa_flags & IFF_LOOPBACK) != 0});
  }
  return found;
}

std::string list_of(const std::vector<Interface>& all) {
  std::string text;
  for (const Interface& i : all) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", i.name, i.address);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

PortRange parse_ports(const std::string& text) {
  PortRange range;
  const char* end = text.data() + text.size();
  std::from_chars_result read = std::from_chars(text.data(), end, range.first);
  range.last = range.first;
  if (read.ec == std::errc{} && read.ptr != end && *read.ptr == '-') {
    read = std::from_chars(read.ptr + 1, end, range.last);
  }
  if (read.ec != std::errc{} || read.ptr != end || range.last < range.first) {
    fail(Fault::config,
         "network.ports: found \"{}\", expected a port, a range \"20000-20100\", or 0", text);
  }
  return range;
}

Listener::Listener(asio::io_context& context, const std::string& address, PortRange ports)
    : context_(context), acceptor_(context) {
  ErrorCode error;
  const auto ip = asio::ip::make_address(address, error);
  if (error) fail(Fault::config, "cannot listen on {}: not a numeric address", address);
  for (unsigned port = ports.first; port <= ports.last; ++port) {
    const Tcp::endpoint endpoint(ip, static_cast<std::uint16_t>(port));
    acceptor_.open(endpoint.protocol());
    acceptor_.set_option(Tcp::acceptor::reuse_address(true));
    acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) return;
    acceptor_.close();
  }
  fail(Fault::network, "cannot listen on {} port {}-{}: {}; free one or change network.ports",
       address, ports.first, ports.last, error.message());
}

Endpoint Listener::endpoint() const {
  const auto local = acceptor_.local_endpoint();
  return {local.address().to_string(), local.port()};
}

Task<Connection> Listener::accept(Duration limit) {
  ErrorCode error;
  TcpSocket socket(context_);
  co_await acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
  if (error) fail(Fault::network, "accepting a connection: {}", error.message());
  ErrorCode gone;
  const auto remote = socket.remote_endpoint(gone);
  std::string peer = gone ? "a peer that has left"
                          : to_string(Endpoint{remote.address().to_string(), remote.port()});
  Socket generic(std::move(socket));
  set_options(generic, limit);
  co_return Connection(std::move(generic), std::move(peer));
}

void Listener::close() {
  ErrorCode ignored;
  acceptor_.close(ignored);
}

std::string address_of_interface(const std::string& interface, bool single_host,
                                 std::string* note) {
  if (interface == "loopback" || (interface == "auto" && single_host)) return "127.0.0.1";
  const auto all = interfaces();
  if (interface != "auto") {
    for (const Interface& i : all) {
      if (i.name == interface || i.address == interface) return i.address;
    }
    fail(Fault::config, "network.interface: found \"{}\", expected one of this host's: {}",
         interface, list_of(all));
  }
  std::vector<Interface> others;
  for (const Interface& i : all) {
    if (!i.loopback) others.push_back(i);
  }
  if (others.empty()) {
    fail(Fault::config,
         "network.interface = \"auto\": this host has no interface that other hosts can reach; "
         "it has {}",
         list_of(all));
  }
  if (others.size() > 1 && note != nullptr) {
    *note = fmt::format("network.interface = \"auto\" chose {} ({}) among {}", others[0].name,
                        others[0].address, list_of(others));
  }
  return others[0].address;
}

}  // namespace sheaf::net
