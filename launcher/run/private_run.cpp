#include "launcher/run/private_run.h"

#include <cstdlib>
#include <fstream>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/privacy/ledger/ledger_file.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 200 && text.front() != '.' &&
         text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string::npos;
}

fs::path name_path(const RunConfig& config) { return config.run().dir / "secret-name"; }

std::string new_secret_name(const RunConfig& config) {
  const fs::path path = name_path(config);
  const std::string name = (is_name(config.run().name) ? config.run().name : std::string("job")) +
                           "-" + privacy::digest_text(wire::random_bytes()).substr(0, 16);
  std::ofstream file(path, std::ios::trunc);
  file << name << "\n";
  file.close();
  if (!file) fail(Fault::data, "{}: cannot be written", path.string());
  return name;
}

// "job-0123456789abcdef", kept beside the ledger. If it is lost, so are the secrets.
std::string secret_name(const RunConfig& config) {
  std::ifstream file(name_path(config));
  std::string name;
  file >> name;
  return is_name(name) ? name : new_secret_name(config);
}

// That of the steps so far, if there is a ledger: a job whose noise was found for a budget keeps
// it.
std::optional<double> noise_so_far(const fs::path& ledger) {
  if (!fs::exists(ledger)) return std::nullopt;
  checkpoint::PosixDisk disk;
  const privacy::LedgerReading reading = privacy::read_ledger(disk, ledger);
  if (!reading.ledger.begun()) return std::nullopt;
  return reading.ledger.terms().noise;
}

}  // namespace

std::optional<PrivateRun> open_private_run(const RunConfig& config) {
  if (!config.privacy().on) return std::nullopt;
  privacy::keep_memory_private();
  PrivateRun run{.terms = config.privacy_terms(),
                 .epsilon = config.privacy().epsilon,
                 .ledger = config.run().dir / "ledger.jsonl",
                 .secret_folder = config.privacy().secret_folder,
                 .is_copy = false,
                 .secrets = {}};
  if (!config.privacy().noise) run.terms.noise = noise_so_far(run.ledger).value_or(run.terms.noise);
  if (run.secret_folder.empty()) {
    run.secret_folder =
        privacy::default_secret_folder([](const char* name) { return std::getenv(name); });
  }
  const fs::path turn = config.run().dir / "secret-turn";
  std::string name = secret_name(config);
  run.is_copy = privacy::used_by_another(run.secret_folder, name, turn);
  if (run.is_copy) name = new_secret_name(config);
  run.secrets = privacy::open_secrets(run.secret_folder, name, turn);
  run.terms.sampling_secret = privacy::secret_id(run.secrets.sampling);
  // Where partitions add the noise, it is of the secret that they sample by.
  const bool central = run.terms.where == privacy::NoisePlace::central;
  run.terms.noise_secret =
      central ? privacy::secret_id(run.secrets.noise) : run.terms.sampling_secret;
  return run;
}

}  // namespace sheaf::launcher
