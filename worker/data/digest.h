// A fingerprint of the data files, for the proof that every host sees the same data.
#pragma once

#include <string>

#include "worker/data/source.h"

namespace sheaf::worker {

// SHA-256, as 64 hex digits, over the number of files and, of each in the source's order, its size
// and its first and last 64 KiB; so it is quick on any size, finds other versions and partial
// copies, and is no protection against an adversary. A source without files has a digest too.
// Throws Fault::data if a file cannot be read.
std::string data_digest(const Source& source);

}  // namespace sheaf::worker
