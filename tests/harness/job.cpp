#include "tests/harness/job.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "tests/harness/places.h"

namespace sheaf::harness {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSlower = 5;
#else
constexpr int kSlower = 1;
#endif

int left_of(Clock::time_point deadline) {
  return static_cast<int>(
      std::max<Limit::rep>(0, std::chrono::ceil<Limit>(deadline - Clock::now()).count()));
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// Told about every change of a file in the folders of the job.
int watch(const fs::path& folder, const fs::path& run) {
  const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  constexpr std::uint32_t kChanges = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE;
  for (const fs::path& path : {folder, run}) {
    ::inotify_add_watch(fd, path.c_str(), kChanges);
  }
  return fd;
}

}  // namespace

Limit patience(Limit limit) { return limit * kSlower; }

std::string contents_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// ---- Job ----------------------------------------------------------------------------------------

Job::Job() {
  std::string name = ::testing::TempDir() + "sheaf_job_XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
  folder_ = name;
  run_ = folder_ / "run";
  tables["run"] = "name = \"small\"\nepochs = 1000000\nseed = 7\n";
  tables["data"] =
      "kind = \"synthetic_sum\"\nexamples = 16384\ntest_examples = 256\nfeatures = 32\n"
      "batch = 64\n";
  tables["model"] =
      "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 64, activation = \"tanh\" },\n"
      "  { kind = \"dense\", units = 1 }]\n";
  tables["optimizer"] = "kind = \"sgd\"\nrate = 0.01\n";
  tables["timeouts"] = "beat = \"500ms\"\ndead = \"5s\"\nstart = \"20s\"\norphan_grace = \"0s\"\n";
  tables["recovery"] = "restarts = 0\n";
  set_size(2, 2);
}

void Job::set_size(unsigned servers, unsigned workers) {
  servers_ = servers;
  workers_ = workers;
  seats.clear();
  for (unsigned i = 0; i < servers; ++i) {
    seats.push_back({"server:" + std::to_string(i), test_program(), {}, {}});
  }
  for (unsigned i = 0; i < workers; ++i) {
    seats.push_back({"worker:" + std::to_string(i), test_program(), {}, {}});
  }
}

Job::~Job() {
  held.clear();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

Seat& Job::seat(std::string_view process) {
  return *std::ranges::find(seats, process, &Seat::process);
}

void Job::remove_seat(std::string_view process) {
  std::erase_if(seats, [&](const Seat& seat) { return seat.process == process; });
}

fs::path Job::write(std::string_view name, std::string_view bytes) const {
  const fs::path file = folder_ / name;
  std::ofstream(file, std::ios::binary) << bytes;
  return file;
}

fs::path Job::write_job() const {
  std::string text;
  for (const auto& [name, keys] : tables) {
    text += "[" + name + "]\n" + keys;
    if (name != "run") continue;
    text +=
        "servers = " + std::to_string(servers_) + "\nworkers = " + std::to_string(workers_) + "\n";
  }
  return write("job.toml", text);
}

// A program called mpirun. It starts a process for each seat in the background, and ends with the
// last of them.
void Job::write_stand_in() const {
  fs::create_directories(folder_ / "bin");
  std::string text =
      "#!/bin/sh\n"
      "if [ \"$1\" = --version ]; then echo 'mpirun (Open MPI) 4.1.4'; exit 0; fi\n"
      "while [ \"$1\" != rank ]; do shift; done\n";
  for (const Seat& seat : seats) {
    text += quoted(seat.program) + " \"$@\"";
    for (const std::string& word : seat.overrides) text += " " + quoted(word);
    text += " --join " + quoted(seat.control.empty() ? run_ / "control.json" : seat.control) +
            " --process " + seat.process + " &\n";
  }
  const fs::path file = write("bin/mpirun", text + "wait\n");
  fs::permissions(file, fs::perms::owner_all);
}

Command Job::command(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), test_program());
  Command command{std::move(arguments), environment, folder_ / "stdout", folder_ / "stderr"};
  const char* path = std::getenv("PATH");
  if (!mpirun && !command.environment.contains("PATH")) {
    command.environment["PATH"] = (folder_ / "bin").string() + ":" + (path == nullptr ? "" : path);
  }
  return command;
}

Command Job::train() const {
  if (!mpirun) write_stand_in();
  std::error_code ignored;  // a test may want it to be impossible
  fs::create_directories(run_, ignored);
  std::vector<std::string> arguments{"train", write_job(), "run.dir=" + run_.string()};
  arguments.insert(arguments.end(), overrides.begin(), overrides.end());
  return command(std::move(arguments));
}

Command Job::resume(const std::vector<std::string>& words) const {
  if (!mpirun) write_stand_in();
  std::vector<std::string> arguments{"train", "--resume", run_};
  arguments.insert(arguments.end(), words.begin(), words.end());
  return command(std::move(arguments));
}

Command Job::attach() const { return command({"train", "--attach", run_}); }

fs::path other_build(const Job& job) {
  std::string bytes = contents_of(test_program());
  // ELF note: 4 bytes of name, 20 of content, type NT_GNU_BUILD_ID (3), the name, the content.
  const std::string note("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16);
  bytes.at(bytes.find(note) + note.size()) ^= '\x01';
  const fs::path file = job.write("sheaf-other", bytes);
  fs::permissions(file, fs::perms::owner_all);
  return file;
}

// ---- Running ------------------------------------------------------------------------------------

Running::Running(const Job& job, const Command& command)
    : run_(job.run()),
      command_(command),
      said_before_(contents_of(command.errors).size()),
      changes_(watch(job.folder(), job.run())),
      process_(command) {}

bool Running::wait_until(const std::function<bool()>& holds, Limit limit) {
  const auto deadline = Clock::now() + patience(limit);
  while (!holds()) {
    std::array<pollfd, 2> events{{{changes_.get(), POLLIN, 0}, {process_.pidfd(), POLLIN, 0}}};
    if (::poll(events.data(), events.size(), left_of(deadline)) <= 0) return holds();
    if (events[1].revents != 0) return holds();
    std::array<char, 4096> news;
    while (::read(changes_.get(), news.data(), news.size()) > 0) {
    }
  }
  return true;
}

double Running::seconds() const {
  return std::chrono::duration<double>(Clock::now() - begun_).count();
}

nlohmann::json Running::rank(std::string_view role, unsigned id) const {
  const auto all = nlohmann::json::parse(file("processes.json"), nullptr, false);
  if (all.is_object()) {
    for (const auto& row : all["processes"]) {
      if (row["role"] == role && row["id"] == id) return row;
    }
  }
  return {};
}

bool Running::has_arrived(std::string_view role, unsigned id) const {
  const nlohmann::json row = rank(role, id);
  return row.is_object() && row["pid"] != 0;
}

void Running::signal(std::string_view role, unsigned id, int number) const {
  signal_descendant(rank(role, id).at("pid").get<pid_t>(), number);
}

bool Running::wait_for_message(std::string_view part, Limit limit) {
  return wait_until([&] { return errors().find(part) != std::string::npos; }, limit);
}

std::string Running::file(std::string_view name) const { return contents_of(run_ / name); }

std::string Running::output() const { return contents_of(command_.output); }

std::string Running::errors() const {
  std::string text;
  for (const char c : contents_of(command_.errors).substr(said_before_)) {
    const bool blank = c == ' ' || c == '\n' || c == '\r';
    if (!blank) text += c;
    if (blank && !text.empty() && text.back() != ' ') text += ' ';
  }
  return text;
}

// ---- commands about a job -----------------------------------------------------------------------

// Not a Process, whose end would end the job.
Said say(const Job& job, std::vector<std::string> words) {
  words.insert(words.begin() + 1, job.run());
  return said(job, job.command(std::move(words)));
}

Said said(const Job& job, Command command) {
  command.output = job / "said";
  command.errors = job / "said-errors";
  std::filesystem::remove(command.output);
  std::filesystem::remove(command.errors);
  std::string line;
  for (const auto& [name, value] : command.environment) line += name + "=" + quoted(value) + " ";
  for (const std::string& word : command.argv) line += quoted(word) + " ";
  line += ">" + quoted(command.output) + " 2>" + quoted(command.errors);
  const int status = std::system(line.c_str());
  return {WIFEXITED(status) ? std::optional(WEXITSTATUS(status)) : std::nullopt,
          contents_of(command.output), contents_of(command.errors)};
}

// ---- Stranger -----------------------------------------------------------------------------------

Stranger::Stranger(const std::string& address, unsigned port)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  const auto* name = static_cast<const sockaddr*>(static_cast<const void*>(&to));
  if (::connect(socket_.get(), name, sizeof to) != 0) {
    throw std::runtime_error("nobody listens on " + address + ":" + std::to_string(port));
  }
}

void Stranger::say(std::string_view bytes) const {
  [[maybe_unused]] const auto sent =
      ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

bool Stranger::is_closed_within(Limit limit) const {
  const auto deadline = Clock::now() + patience(limit);
  std::array<char, 4096> answer;
  while (true) {
    pollfd event{socket_.get(), POLLIN, 0};
    if (::poll(&event, 1, left_of(deadline)) <= 0) return false;
    if (::recv(socket_.get(), answer.data(), answer.size(), 0) <= 0) return true;
  }
}

}  // namespace sheaf::harness
