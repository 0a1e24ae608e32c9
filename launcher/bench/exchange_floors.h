// What this machine can do without us: the floors that `sheaf bench exchange` divides by. Measured
// in threads of this process, over buffers that another core has just written, with as many threads
// as what is compared with each. What else a machine does comes and goes: measure some before and
// some after what is compared, and take the median of all.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace sheaf::launcher {

struct ExchangeFloors {
  using Samples = std::vector<double>;
  Samples socket_push_GBps;  // one blocking sender, one receiver that adds each chunk
  Samples socket_pull_GBps;  // one blocking sender, one receiver that reads each chunk
  // Two clients push to one server thread, which adds the two and sends the sum to both: bytes
  // both ways.
  Samples two_sender_GBps;
  Samples pingpong_us;        // 68 bytes to and fro, blocking sockets
  Samples futex_pingpong_us;  // a word in memory to and fro, asleep in between
  Samples spin_pingpong_us;   // the same, never asleep
  Samples memory_add_GBps;    // y += x, bytes of x
  Samples memory_read_GBps;
  Samples memcpy_GBps;

  // Adds `repeat` samples to each.
  void measure(std::size_t floats, std::size_t chunk_floats, int repeat);
};

// The fastest of MPI's algorithms for MPI_Allreduce of so many floats on 2 ranks, in milliseconds.
// Nothing if mpirun cannot be run. `program` is ours: it is what mpirun starts.
std::optional<double> fastest_allreduce_ms(const std::string& program, std::size_t floats,
                                           int repeat);

}  // namespace sheaf::launcher
