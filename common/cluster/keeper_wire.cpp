#include "common/cluster/keeper_wire.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::cluster {
namespace {

[[noreturn]] void broken(const char* what) {
  fail(Fault::network, "keeper of shared memory: {}: {}", what, std::strerror(errno));
}

union ControlBytes {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

void send_message(int socket, const void* message, std::size_t bytes,
                  const net::Descriptor& descriptor) {
  iovec part{const_cast<void*>(message), bytes};
  ControlBytes control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptor) {
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof control.bytes;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = descriptor.get();
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  const ssize_t sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(bytes)) broken("sending");
}

bool receive_message(int socket, void* message, std::size_t bytes, net::Descriptor& descriptor,
                     Duration limit) {
  std::size_t got = 0;
  const auto until = std::chrono::steady_clock::now() + limit;
  while (got < bytes) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd ready{socket, POLLIN, 0};
    const int events = left.count() <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left.count()));
    if (events < 0 && errno == EINTR) continue;
    if (events == 0) {
      fail(Fault::network, "keeper of shared memory: no answer within {:.1f} s", seconds(limit));
    }
    iovec part{static_cast<char*>(message) + got, bytes - got};
    ControlBytes control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof control.bytes;
    const ssize_t n = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) broken("receiving");
    if (n == 0) {
      if (got == 0) return false;
      fail(Fault::network, "keeper of shared memory: closed in the middle of a message");
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
      descriptor = net::Descriptor(fd);
    }
    got += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace sheaf::cluster
