// Which of several compressors a direction of a job's exchange is to have (kind = "auto"): a model
// of what a step takes with each. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sheaf::launcher {

// What one core does with a value, in seconds, and what a value takes on the wire.
struct CodecSpeed {
  double bits = 32;
  double encode = 0;  // with its feedback; 0 where values are sent from where they lie
  double decode_add = 0;
};

// The ranks of one host.
struct HostRanks {
  double servers = 0;
  double workers = 0;
  double cores = 1;
};

// How vectors go one way in a step.
struct Way {
  double bytes_per_s = 0;  // of a link
  double carried = 0;      // vectors that the busiest link carries
  double encoded = 0;      // that the busiest core encodes
  double added = 0;        // the same, decoded and added
};

// Of pushes, each worker sends `vectors`; `lanes` of a server share its work. REQUIRES: a server
// and a worker.
Way way_of_pushes(std::span<const HostRanks> hosts, double vectors, std::uint32_t lanes,
                  double bytes_per_s);
// Of pulls: a version is encoded once, and each worker has one.
Way way_of_pulls(std::span<const HostRanks> hosts, std::uint32_t lanes, double bytes_per_s);

// Of a step, for each parameter. Sending, encoding and adding are taken one after the other, which
// is as long as it can be: a compressor that wins so wins where they overlap, too.
double seconds_per_parameter(const CodecSpeed& codec, const Way& way);

// The first, unless a later one takes less than nine tenths of the best before it.
std::size_t best_codec(std::span<const double> seconds);

}  // namespace sheaf::launcher
