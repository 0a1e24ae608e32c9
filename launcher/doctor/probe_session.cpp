#include "launcher/doctor/probe_session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;

// How long a probe that was told to end may take before it is killed.
constexpr milliseconds kFarewell{500};

std::string path_of(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

}  // namespace

ProbeSession::ProbeSession(const std::vector<std::string>& argv) {
  std::array<int, 2> in{-1, -1};
  std::array<int, 2> out{-1, -1};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) {
    fail(Fault::internal, "pipe: {}", std::strerror(errno));
  }
  input_ = in[1];
  output_ = out[0];
  errors_ = ::memfd_create("errors", MFD_CLOEXEC);
  try {
    child_.emplace(ChildCommand{.argv = argv,
                                .output = path_of(out[1]),
                                .errors = path_of(errors_),
                                .input = path_of(in[0])});
  } catch (...) {
    for (const int fd : {in[0], in[1], out[0], out[1], errors_}) ::close(fd);
    throw;
  }
  ::close(in[0]);
  ::close(out[1]);
}

ProbeSession::~ProbeSession() {
  ::close(input_);  // a probe ends when its input does
  child_->wait(kFarewell);
  child_.reset();
  ::close(output_);
  ::close(errors_);
}

void ProbeSession::ask(const ProbeRequest& request) {
  const std::string line = to_line(request) + "\n";
  // A line is far shorter than a pipe. One that nobody reads any more shows in the answer.
  [[maybe_unused]] const ssize_t written = ::write(input_, line.data(), line.size());
}

std::optional<ProbeAnswer> ProbeSession::answer(Time deadline) {
  while (true) {
    const std::size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      const std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return parse_answer(line);
    }
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd event{output_, POLLIN, 0};
    if (left <= milliseconds(0) || ::poll(&event, 1, static_cast<int>(left.count())) <= 0) {
      return std::nullopt;
    }
    std::array<char, 4096> bytes;
    const ssize_t n = ::read(output_, bytes.data(), bytes.size());
    if (n <= 0) {
      child_->wait(kFarewell);  // so that ended() can tell how
      return std::nullopt;
    }
    pending_.append(bytes.data(), static_cast<std::size_t>(n));
  }
}

std::optional<ExitStatus> ProbeSession::ended() { return child_->ended(); }

std::string ProbeSession::errors() const {
  std::array<char, 4096> bytes;
  const off_t size = ::lseek(errors_, 0, SEEK_END);
  const off_t from = std::max<off_t>(0, size - static_cast<off_t>(bytes.size()));
  const ssize_t n = ::pread(errors_, bytes.data(), bytes.size(), from);
  std::string text(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  text.erase(text.find_last_not_of("\r\n ") + 1);
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace sheaf::launcher
