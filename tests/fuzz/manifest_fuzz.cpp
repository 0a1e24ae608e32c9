// Any text as the manifest of a checkpoint, with the checksum that it ought to have and without:
// what is accepted is written down again as the same manifest, what is not is refused as
// Fault::checkpoint, and no number in it makes the reader allocate beyond some times its length.
#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "common/base/error.h"
#include "common/checkpoint/manifest.h"
#include "common/wire/checksum.h"
#include "tests/fuzz/allocation_budget.h"

namespace {

using namespace sheaf;
using fuzz::budget;

void read(const std::string& text) {
  budget = 65536 + 1024 * text.size();
  try {
    const checkpoint::Manifest manifest = checkpoint::manifest_from_text(text);
    budget = 0;
    const std::string written = checkpoint::to_text(manifest);
    if (checkpoint::to_text(checkpoint::manifest_from_text(written)) != written) std::abort();
  } catch (const Error& error) {
    budget = 0;
    if (error.fault() != Fault::checkpoint) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  fuzz::watch_allocations();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  read(text);
  text += '\n';
  text += fmt::format("crc32c {:08x}\n", wire::crc32c(std::as_bytes(std::span(text))));
  read(text);
  return 0;
}
