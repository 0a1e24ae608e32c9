// Whether a folder takes what a job is about to write.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace sheaf::launcher {

// Why `bytes` cannot be written into the folder (an existing one); empty if they can. Tries it,
// with a file that it removes.
std::string why_not_writable(const std::filesystem::path& folder, std::uint64_t bytes);

}  // namespace sheaf::launcher
