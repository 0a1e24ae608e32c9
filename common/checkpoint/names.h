// What files of checkpoints are called, relative to the folder checkpoints/ of a run directory.
// Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace sheaf::checkpoint {

inline constexpr std::string_view kManifest = "MANIFEST";
inline constexpr std::string_view kTemporary = ".tmp";  // follows the name until a file is whole

// "step-000000000120"
std::string folder_name(Step step);
// Nothing for any other name.
std::optional<Step> step_of(std::string_view folder);

// "server-0.safetensors"
std::string data_file_name(std::uint32_t server);
// "worker-0.safetensors": what its pushes have left out.
std::string residual_file_name(std::uint32_t worker);
bool is_data_file_name(std::string_view name);  // either

// True for each name that a file of ours may have within a folder, while it is written, too.
// Nothing else is ever removed.
bool is_own_name(std::string_view name);

}  // namespace sheaf::checkpoint
