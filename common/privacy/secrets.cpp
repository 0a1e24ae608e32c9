#include "common/privacy/secrets.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <span>
#include <string_view>

#include "common/base/descriptor.h"
#include "common/base/error.h"
#include "common/base/file_error.h"

namespace sheaf::privacy {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDigits = 64;
constexpr std::string_view kIdLabel = "sheaf secret id 1";

// Digits of a secret on their way between file and key; wiped when they go.
class SecretText {
 public:
  SecretText() = default;
  ~SecretText() { ::explicit_bzero(bytes_.data(), bytes_.size()); }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  std::span<char> bytes() { return bytes_; }

 private:
  std::array<char, kDigits + 2> bytes_{};  // one more than there may be
};

[[noreturn]] void fail_at(const fs::path& path, std::string_view what, int error) {
  fail(Fault::data, "{}: cannot be {}: {}", path.string(), what, text_of(error));
}

void require_private(const fs::path& path, const struct stat& status, std::string_view mode) {
  if (status.st_uid != ::geteuid()) {
    fail(Fault::config, "{}: found it owned by user {}, expected {}, who runs this job",
         path.string(), status.st_uid, ::geteuid());
  }
  if ((status.st_mode & 0077U) != 0) {
    fail(Fault::config,
         "{}: found permissions {:04o}, expected {}: others may have read the secrets of the run. "
         "Remove them, and everything is charged anew, or, if you know that nobody has, chmod {}",
         path.string(), status.st_mode & 07777U, mode, mode);
  }
}

void make_folders(const fs::path& folder) {
  if (!folder.is_absolute()) {
    fail(Fault::config, "privacy.secret_dir: found {}, expected an absolute path", folder.string());
  }
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  if (error) fail_at(folder.parent_path(), "made", error.value());
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail_at(folder, "made", errno);
  struct stat status{};
  if (::lstat(folder.c_str(), &status) != 0) fail_at(folder, "read", errno);
  if (!S_ISDIR(status.st_mode)) {
    fail(Fault::config, "{}: found no folder, expected one for secrets", folder.string());
  }
  require_private(folder, status, "0700");
}

// Nothing if there is no such file.
std::optional<wire::JobKey> read_secret(const fs::path& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    fail_at(path, "read", errno);
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) fail_at(path, "read", errno);
  if (!S_ISREG(status.st_mode)) fail_at(path, "read: it is no file", EINVAL);
  require_private(path, status, "0600");
  SecretText text;
  const ssize_t got = ::read(fd.get(), text.bytes().data(), text.bytes().size());
  if (got < 0) fail_at(path, "read", errno);
  const bool whole = got == kDigits + 1 && text.bytes()[kDigits] == '\n';
  try {
    if (whole) return wire::JobKey::from_hex({text.bytes().data(), kDigits});
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch)
    // The same as if it were not whole.
  }
  fail(Fault::data,
       "{}: found no secret, expected 64 hexadecimal digits; remove it: another one is made, and "
       "steps that are taken again are charged anew",
       path.string());
}

void sync_folder(const fs::path& folder) {
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) fail_at(folder, "synced", errno);
}

// Takes its name when it is whole.
void write_secret(const fs::path& path, const wire::JobKey& secret) {
  fs::path temporary = path;
  temporary += ".tmp";
  ::unlink(temporary.c_str());
  {
    const Descriptor fd(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) fail_at(temporary, "made", errno);
    std::string digits = secret.hex();
    SecretText text;
    digits.copy(text.bytes().data(), kDigits);
    ::explicit_bzero(digits.data(), digits.size());
    text.bytes()[kDigits] = '\n';
    if (::write(fd.get(), text.bytes().data(), kDigits + 1) != kDigits + 1 ||
        ::fsync(fd.get()) != 0) {
      fail_at(temporary, "written", errno);
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail_at(path, "made", errno);
  sync_folder(path.parent_path());
}

wire::JobKey read_or_make(const fs::path& path) {
  if (const auto secret = read_secret(path)) return *secret;
  const wire::JobKey secret;
  write_secret(path, secret);
  return secret;
}

fs::path last_turn(const fs::path& folder, const std::string& run) {
  return folder / (run + ".turn");
}

}  // namespace

fs::path default_secret_folder(const std::function<const char*(const char*)>& environment) {
  const auto folder = [&](const char* name) -> fs::path {
    const char* value = environment(name);
    return value == nullptr ? "" : value;
  };
  if (const fs::path state = folder("XDG_STATE_HOME"); state.is_absolute()) {
    return state / "sheaf" / "secrets";
  }
  const fs::path home = folder("HOME");
  if (!home.is_absolute()) {
    fail(Fault::config,
         "privacy.secret_dir: found neither XDG_STATE_HOME nor HOME, expected a folder for the "
         "secrets of the run");
  }
  return home / ".local" / "state" / "sheaf" / "secrets";
}

bool used_by_another(const fs::path& folder, const std::string& run, const fs::path& turn) {
  const auto number = [](const fs::path& path) {
    std::ifstream file(path);
    std::string text;
    file >> text;
    return text;
  };
  const fs::path last = last_turn(folder, run);
  return fs::exists(last) && number(last) != number(turn);
}

RunSecrets open_secrets(const fs::path& folder, const std::string& run, const fs::path& turn) {
  check(!run.empty() && run.find('/') == std::string::npos, "a run's secrets have a file name");
  make_folders(folder);
  RunSecrets secrets{read_or_make(folder / (run + ".sampling")),
                     read_or_make(folder / (run + ".noise"))};
  // Beside the secrets first: a start that is lost in between leaves a run that is taken for a
  // copy.
  const wire::JobKey number;
  write_secret(last_turn(folder, run), number);
  write_secret(turn, number);
  return secrets;
}

std::string secret_id(const wire::JobKey& secret) {
  const wire::Digest digest = wire::hmac_sha256(secret, std::as_bytes(std::span(kIdLabel)));
  std::string id;
  for (std::size_t i = 0; i < 16; ++i) {
    id += fmt::format("{:02x}", static_cast<unsigned>(digest[i]));
  }
  return id;
}

void keep_memory_private() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    fail(Fault::internal, "core dumps cannot be forbidden: {}", text_of(errno));
  }
}

}  // namespace sheaf::privacy
