// A small job of the real program: its file in a folder of its own, its start under mpirun or
// without MPI, its run directory, and the signals and strangers that a test sends to it.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/harness/process.h"

namespace sheaf::harness {

// As the sanitizers slow everything down, limits that mean "at once" grow with them.
Limit patience(Limit limit);

// How one rank is started where mpirun is not.
struct Seat {
  std::string process;                 // "worker:1"
  std::filesystem::path program;       // the real one unless a test says otherwise
  std::vector<std::string> overrides;  // of this rank alone
  std::filesystem::path control;       // RUN/control.json unless a test says otherwise
};

class Job {
 public:
  // 2 servers and 2 workers that learn a sum, without an end of their own; dead = 5 s. It ends when
  // it loses a process, the supervisor included.
  Job();
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }
  std::filesystem::path run() const { return run_; }
  void set_run(std::filesystem::path run) { run_ = std::move(run); }

  // The tables of the job file, each as the text below its name. A test replaces what it is about.
  std::map<std::string, std::string> tables;
  std::vector<std::string> overrides;  // behind the job file, for all
  std::map<std::string, std::string> environment;

  // mpirun starts the ranks; otherwise a stand-in of the same name starts one process per seat,
  // each with `rank --join`, which needs no MPI.
  bool mpirun = false;
  std::vector<Seat> seats;
  void set_size(unsigned servers, unsigned workers);
  Seat& seat(std::string_view process);
  void remove_seat(std::string_view process);

  std::vector<std::shared_ptr<void>> held;  // what has to live as long as the job
  std::string impossible;                   // why this machine cannot show this; then it is skipped

  // Puts a file into the folder.
  std::filesystem::path write(std::string_view name, std::string_view bytes) const;
  // job.toml with all tables. `sheaf train`, with everything that was set.
  std::filesystem::path write_job() const;
  Command train() const;
  // The job of the run directory goes on, with the seats that are set now.
  Command resume(const std::vector<std::string>& words) const;
  // Another supervisor, for the processes of the run directory.
  Command attach() const;
  Command command(std::vector<std::string> arguments) const;

 private:
  void write_stand_in() const;
  std::filesystem::path folder_;
  std::filesystem::path run_;
  unsigned servers_ = 0;
  unsigned workers_ = 0;
};

// A job that was started.
class Running {
 public:
  explicit Running(const Job& job) : Running(job, job.train()) {}
  Running(const Job& job, const Command& command);

  // True once `holds` does; looks whenever a file of the job changes. False after `limit`, or if
  // the process ended before.
  bool wait_until(const std::function<bool()>& holds, Limit limit);
  // Until at least one row of metrics was written: every rank trains.
  bool wait_for_training() {
    return wait_until([this] { return !file("metrics.jsonl").empty(); }, Limit(30'000));
  }
  bool wait_for_message(std::string_view part, Limit limit);  // on stderr
  std::optional<int> wait(Limit limit) { return process_.wait(limit); }
  // Since it started.
  double seconds() const;

  pid_t pid() const { return process_.pid(); }
  void signal(int number) const { process_.signal(number); }
  // To a rank, found by its row in processes.json.
  void signal(std::string_view role, unsigned id, int number) const;
  // The row of processes.json; null before there is one.
  nlohmann::json rank(std::string_view role, unsigned id) const;
  bool has_arrived(std::string_view role, unsigned id) const;
  nlohmann::json result() const {
    return nlohmann::json::parse(file("result.json"), nullptr, false);
  }
  std::string file(std::string_view name) const;  // of the run directory; "" if there is none
  const std::filesystem::path& run() const { return run_; }
  std::string output() const;
  // What this process said to a person, with every run of white space as one blank.
  std::string errors() const;

 private:
  std::filesystem::path run_;
  Command command_;
  std::size_t said_before_;  // bytes of the file, by processes before
  Descriptor changes_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  Process process_;
};

// What a command about the run directory of a job said.
struct Said {
  std::optional<int> code;
  std::string output;
  std::string errors;
};
// Runs "sheaf WORD RUN WORDS…" to its end; the job goes on meanwhile.
Said say(const Job& job, std::vector<std::string> words);
Said said(const Job& job, Command command);

// A TCP connection of nobody the job knows.
class Stranger {
 public:
  Stranger(const std::string& address, unsigned port);
  void say(std::string_view bytes) const;
  // True if the other side closes within `limit`; what it said before is dropped.
  bool is_closed_within(Limit limit) const;

 private:
  Descriptor socket_;
};

// The program, except that the linker named it differently: as of another source or compiler. A
// file in the folder of the job.
std::filesystem::path other_build(const Job& job);

// The whole file; "" if it cannot be read.
std::string contents_of(const std::filesystem::path& file);

}  // namespace sheaf::harness
