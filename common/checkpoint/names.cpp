#include "common/checkpoint/names.h"

#include <fmt/format.h>

#include <charconv>

namespace sheaf::checkpoint {
namespace {

constexpr std::string_view kFolder = "step-";
constexpr std::string_view kServer = "server-";
constexpr std::string_view kWorker = "worker-";
constexpr std::string_view kExtension = ".safetensors";

// The number between `prefix` and `suffix`; nothing if anything else is there.
template <typename Number>
std::optional<Number> number_in(std::string_view name, std::string_view prefix,
                                std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return std::nullopt;
  if (name.size() < prefix.size() + suffix.size()) return std::nullopt;
  name = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  Number number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string folder_name(Step step) { return fmt::format("{}{:012}", kFolder, step); }

std::optional<Step> step_of(std::string_view folder) {
  const auto step = number_in<Step>(folder, kFolder, "");
  return step && folder_name(*step) == folder ? step : std::nullopt;
}

std::string data_file_name(std::uint32_t server) {
  return fmt::format("{}{}{}", kServer, server, kExtension);
}

std::string residual_file_name(std::uint32_t worker) {
  return fmt::format("{}{}{}", kWorker, worker, kExtension);
}

bool is_data_file_name(std::string_view name) {
  const auto server = number_in<std::uint32_t>(name, kServer, kExtension);
  if (server) return data_file_name(*server) == name;
  const auto worker = number_in<std::uint32_t>(name, kWorker, kExtension);
  return worker && residual_file_name(*worker) == name;
}

bool is_own_name(std::string_view name) {
  if (name.ends_with(kTemporary)) name.remove_suffix(kTemporary.size());
  return name == kManifest || is_data_file_name(name);
}

}  // namespace sheaf::checkpoint
