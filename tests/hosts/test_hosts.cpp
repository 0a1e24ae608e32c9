#include "tests/hosts/test_hosts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <stdexcept>

#include "tests/harness/places.h"

namespace sheaf::harness {
namespace {

namespace fs = std::filesystem;

const std::string kScript = source_folder() + "/tests/hosts/hosts.sh";
constexpr int kImpossible = 77;

// Runs the script to its end; what it says goes to `log`. Its keeper stays behind and is no
// descendant of the test, which counts and kills those of its jobs.
int run_script(std::vector<std::string> words, const fs::path& log, int input) {
  words.insert(words.begin(), kScript);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const Descriptor out(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  int adopts = 0;
  ::prctl(PR_GET_CHILD_SUBREAPER, &adopts);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();
    ::dup2(input, 0);
    ::dup2(out.get(), 1);
    ::dup2(out.get(), 2);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, adopts);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TestHosts::TestHosts(unsigned count, const std::string& rate) {
  std::string name = ::testing::TempDir() + "sheaf_hosts_XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
  folder_ = name;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const Descriptor input(ends[0]);
  alive_ = ends[1];
  const int code = run_script({"up", folder_, std::to_string(count), "--rate", rate, "--bound"},
                              folder_ / "log", input.get());
  if (code == kImpossible) missing_ = contents_of(folder_ / "log");
  if (code != 0 && code != kImpossible) throw std::runtime_error(contents_of(folder_ / "log"));
}

TestHosts::~TestHosts() {
  ::close(alive_);
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string TestHosts::launch() const {
  return "hostfile = \"" + hostfile().string() +
         "\"\nmpirun_args = [\"--mca\", \"plm_rsh_agent\", \"" + agent().string() +
         "\", \"--map-by\", \"node\"]\n";
}

Command TestHosts::on(unsigned host, Command command) const {
  const std::vector<std::string> prefix = {kScript, "exec", folder_, std::to_string(host)};
  command.argv.insert(command.argv.begin(), prefix.begin(), prefix.end());
  return command;
}

void TestHosts::call(std::vector<std::string> arguments) const {
  const Descriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::string line;
  for (const std::string& word : arguments) line += " " + word;
  if (run_script(std::move(arguments), folder_ / "log", nothing.get()) != 0) {
    throw std::runtime_error("hosts.sh" + line + ": " + contents_of(folder_ / "log"));
  }
}

void TestHosts::run_in(const std::string& place, const std::vector<std::string>& argv) const {
  std::vector<std::string> arguments = {"exec", folder_, place};
  arguments.insert(arguments.end(), argv.begin(), argv.end());
  call(std::move(arguments));
}

void TestHosts::run(unsigned host, const std::vector<std::string>& argv) const {
  run_in(std::to_string(host), argv);
}

void TestHosts::run_on_bridge(const std::vector<std::string>& argv) const {
  run_in("bridge", argv);
}

void TestHosts::enter_bridge() const {
  const std::string pid = contents_of(folder_ / "bridge.pid");
  const std::string file = "/proc/" + pid.substr(0, pid.find('\n')) + "/ns/net";
  const Descriptor network(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (::setns(network.get(), CLONE_NEWNET) != 0) throw std::runtime_error("cannot enter " + file);
}

void TestHosts::set_rate(const std::string& rate) const { call({"rate", folder_, rate}); }

std::string TestHosts::rate_command() const {
  return kScript + " rate " + folder_.string() + " {rate}";
}

void TestHosts::let_agent_first(unsigned host, std::string_view shell) const {
  std::ofstream(folder_ / ("h" + std::to_string(host) + ".agent")) << shell << "\n";
}

}  // namespace sheaf::harness
