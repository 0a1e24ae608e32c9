// A parameter exchange between real processes, without training: servers and workers as in a job,
// where each worker rewrites its gradient, pushes it and pulls the parameters, round after round.
// Forks its processes and waits for them; call it before the first thread is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sheaf::launcher {

struct ExchangePlan {
  std::size_t floats = 1;
  std::size_t chunk_bytes = 0;  // 0 = automatic
  std::uint32_t workers = 1;
  std::uint32_t servers = 1;
  std::uint32_t lanes = 1;
  bool shared_memory = false;
  bool encrypted = false;  // over TCP
  bool may_spin = true;    // if there is a core for each thread
  int apart = 0;           // rounds that push, then pull
  int together = 0;        // rounds that ask for each chunk when it is pushed, as training does
  int updates = 0;         // the same, until the parameters are there, unread
  int round_trips = 0;     // rounds that only push
};

struct ExchangeFigures {
  // Seconds, of the slowest worker in each round.
  std::vector<double> push;        // gradient ready → every push acknowledged
  std::vector<double> pull;        // asked → every value read once
  std::vector<double> both;        // gradient ready → every new value read once
  std::vector<double> update;      // the first gradient ready → new parameters everywhere
  std::vector<double> round_trip;  // of the first worker
  double server_cpu_s = 0;         // over the rounds above
  double bytes = 0;                // pushed and pulled in them, payloads
  // Proportional set sizes of all processes, less gradients, parameters and what the servers hold.
  double memory_beyond_bytes = 0;
  double memory_promised_bytes = 0;  // what the servers said at the start that they may take
  bool spun = false;                 // the threads looked before they slept
  bool shared = false;               // every lane shared memory with every worker
  bool verified = false;             // the parameters are what the formula says, bit by bit
};

// Throws Fault::internal with the words of the process that failed.
ExchangeFigures run_exchange(const ExchangePlan& plan);

// Reads every value once, as the end of a pull does.
bool read_all(const float* values, std::size_t count);

}  // namespace sheaf::launcher
