#include "tests/slurm/private_slurm.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "tests/harness/job.h"
#include "tests/harness/places.h"

namespace sheaf::harness {

// A line of shell; nothing in it needs quotes, or quotes in quotes.
std::string PrivateSlurm::command(std::vector<std::string> words) const {
  Command command;
  command.argv = std::move(words);
  if (hosts_ != nullptr) command = hosts_->on(1, std::move(command));
  std::string line;
  for (const std::string& word : command.argv) line += "'" + word + "' ";
  return line;
}

// It is no descendant of the test, which kills those of its jobs.
PrivateSlurm::PrivateSlurm(std::filesystem::path folder, const TestHosts* hosts)
    : folder_(std::move(folder)), hosts_(hosts) {
  std::vector<std::string> words = {source_folder() + "/tests/slurm/slurm.sh", folder_};
  if (hosts_ != nullptr) words.push_back(hosts_->folder());
  const std::string line = "exec " + command(std::move(words));
  std::array<int, 2> in{}, out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("pipe");
  }
  int adopts = 0;
  ::prctl(PR_GET_CHILD_SUBREAPER, &adopts);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::fork() != 0) ::_exit(0);
    ::setsid();
    // Its jobs are ended over their network, also if this process is killed.
    if (hosts_ != nullptr) ::fcntl(hosts_->alive(), F_SETFD, 0);
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::dup2(out[1], 2);
    ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    ::_exit(127);
  }
  ::waitpid(pid, nullptr, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, adopts);
  ::close(in[0]);
  ::close(out[1]);
  alive_ = in[1];
  says_ = out[0];
  std::string said;
  for (char c = 0; !said.ends_with("up\n") && ::read(says_, &c, 1) == 1;) said += c;
  if (said.ends_with("up\n")) return;
  if (said.find("slurm: skipped: ") == std::string::npos) throw std::runtime_error(said);
  missing_ = said;
}

PrivateSlurm::~PrivateSlurm() {
  ::close(alive_);
  for (char c = 0; ::read(says_, &c, 1) == 1;) {  // until it has ended
  }
  ::close(says_);
}

std::string PrivateSlurm::run(const std::string& line) {
  const std::filesystem::path script = folder_ / "line.sh", said = folder_ / "said";
  std::ofstream(script) << "cd '" << folder_.string() << "' && export SLURM_CONF='"
                        << (folder_ / "slurm.conf").string() << "' || exit\n"
                        << line << "\n";
  const std::string whole =
      command({"/bin/sh", script}) + ">'" + said.string() + "' 2>&1 </dev/null";
  code_ = WEXITSTATUS(std::system(whole.c_str()));
  return contents_of(said);
}

}  // namespace sheaf::harness
