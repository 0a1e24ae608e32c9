// The two secrets of a private run, of 256 bits each: one for sampling and local noise, which only
// worker processes get, one for central noise, which only server processes get. Files that only
// their owner may read, by default outside the run directory, so that who is handed that directory
// does not get them; in no config, log or checkpoint.
//
//   FOLDER/RUN.sampling   FOLDER/RUN.noise      64 hexadecimal digits and a line feed, 0600
//   FOLDER/RUN.turn                             the same, but no secret
//   FOLDER                                      0700
//
// A secret that is lost is made anew: then nothing of what it named comes again, and the ledger, in
// which its id is, charges every step that is taken again as another one. A copy of a run needs
// others, too: two with the same would show the same samples, and neither ledger would know of the
// other's releases. Each start of a run has a number, its turn, that lies beside the secrets and in
// the run directory; whoever comes with an older one is another copy, which takes another name, and
// leaves its secrets to the one that has gone on.
// Functions; what cannot be read or written is Fault::data, what others could read Fault::config.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "common/wire/handshake.h"

namespace sheaf::privacy {

// The bytes are wiped when the object goes, as those of every JobKey.
struct RunSecrets {
  wire::JobKey sampling, noise;
};

// $XDG_STATE_HOME/sheaf/secrets, or $HOME/.local/state/sheaf/secrets. Throws Fault::config if
// neither variable is an absolute path.
std::filesystem::path default_secret_folder(
    const std::function<const char*(const char*)>& environment);

// Whether a copy of the run has gone on by that name, which is not the one with the file `turn`.
bool used_by_another(const std::filesystem::path& folder, const std::string& run,
                     const std::filesystem::path& turn);

// Reads the secrets of `run`, and makes those that are not there (and the folder), on the disk when
// it returns; then it is the turn of this start, which `turn` in the run directory says from now
// on. Whose folder or file others may read, or own, is refused, as is a damaged file. REQUIRES:
// `run` is a file name, that of no other run.
RunSecrets open_secrets(const std::filesystem::path& folder, const std::string& run,
                        const std::filesystem::path& turn);

// Says which secret it was without saying anything about it: 32 hexadecimal digits.
std::string secret_id(const wire::JobKey& secret);

// No core dump of this process, and no debugger of the same user: who holds a secret calls it
// first. Where the system refuses, that is Fault::internal.
void keep_memory_private();

}  // namespace sheaf::privacy
