// Any bytes as any control message: what is accepted is written back to the same bytes, what is not
// is refused as Fault::network, and no claim makes the reader allocate beyond some times its input.
#include <cstdlib>
#include <cstring>
#include <span>

#include "common/base/error.h"
#include "common/wire/messages.h"
#include "tests/fuzz/allocation_budget.h"

namespace {

using sheaf::fuzz::budget;

template <typename Message>
void read(std::span<const std::byte> bytes) {
  using namespace sheaf;
  // An element of the widest type (ProcessInfo) takes at least one byte on the wire. Vectors of
  // vectors are each bounded by what is left, and grow by at most the same again.
  budget = 65536 + 1024 * bytes.size();
  try {
    const auto message = wire::from_bytes<Message>(bytes);
    budget = 0;
    const auto back = wire::to_bytes(message);
    if (back.size() != bytes.size() || std::memcmp(back.data(), bytes.data(), back.size()) != 0) {
      std::abort();
    }
  } catch (const Error& error) {
    budget = 0;
    if (error.fault() != Fault::network) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  sheaf::fuzz::watch_allocations();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sheaf::wire;
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  switch (data[0] % 20) {  // the first byte chooses the type
    case 0: read<Registration>(bytes); break;
    case 1: read<Start>(bytes); break;
    case 2: read<Losses>(bytes); break;
    case 3: read<Contribution>(bytes); break;
    case 4: read<Total>(bytes); break;
    case 5: read<Log>(bytes); break;
    case 6: read<Failure>(bytes); break;
    case 7: read<Drain>(bytes); break;
    case 8: read<Finished>(bytes); break;
    case 9: read<CheckpointAt>(bytes); break;
    case 10: read<CheckpointAnswer>(bytes); break;
    case 11: read<Saved>(bytes); break;
    case 12: read<Waiting>(bytes); break;
    case 13: read<Scale>(bytes); break;
    case 14: read<PartitionClock>(bytes); break;
    case 15: read<Status>(bytes); break;
    case 16: read<Released>(bytes); break;
    case 17: read<Return>(bytes); break;
    case 18: read<CheckpointBase>(bytes); break;
    default: read<ProcessInfo>(bytes); break;
  }
  return 0;
}
