// A conversation with `sheaf probe` on one host, from the side that asks. Owns the command that
// reaches it; it ends with this object. One thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "launcher/doctor/probe_messages.h"
#include "launcher/system/child.h"

namespace sheaf::launcher {

class ProbeSession {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Starts `argv`; argv[0] is a path. Throws Fault::config if it cannot be executed.
  explicit ProbeSession(const std::vector<std::string>& argv);
  ~ProbeSession();
  ProbeSession(const ProbeSession&) = delete;
  ProbeSession& operator=(const ProbeSession&) = delete;

  // REQUIRES: the answer to the question before was taken.
  void ask(const ProbeRequest& request);
  // Nothing if it has not come when `deadline` has, or never will; then ended() and errors() say
  // what is known. Throws Fault::network if what has come is no answer.
  std::optional<ProbeAnswer> answer(Time deadline);

  // How the command ended; nothing while it runs.
  std::optional<ExitStatus> ended();
  // The last line that the command wrote to stderr.
  std::string errors() const;

 private:
  int input_ = -1;   // we write
  int output_ = -1;  // we read
  int errors_ = -1;  // a file in memory
  std::optional<Child> child_;
  std::string pending_;  // read, and not yet a whole line
};

}  // namespace sheaf::launcher
