#include "launcher/system/build_identity.h"

#include <elf.h>
#include <fmt/format.h>
#include <gnu/libc-version.h>
#include <link.h>

#include <cstring>

#include "build_constants.h"  // generated
#include "common/math/blas.h"
#include "common/math/kernels.h"

namespace sheaf::launcher {
namespace {

// Finds the note that the linker left in the first loaded object, the program itself.
int find_build_id(dl_phdr_info* object, std::size_t, void* out) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* at = reinterpret_cast<const std::byte*>(object->dlpi_addr + segment.p_vaddr);
    const auto* end = at + segment.p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const auto* name = at + sizeof note;
      const auto* content = name + ((note.n_namesz + 3U) & ~3U);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
          std::memcmp(name, "GNU", 4) == 0) {
        *static_cast<wire::Digest*>(out) = wire::sha256({content, note.n_descsz});
        return 1;
      }
      at = content + ((note.n_descsz + 3U) & ~3U);
    }
  }
  return 1;
}

}  // namespace

std::string build_text() { return SHEAF_VERSION " (commit " SHEAF_COMMIT ", " SHEAF_COMPILER ")"; }

wire::Digest build_digest() {
  wire::Digest digest{};
  ::dl_iterate_phdr(&find_build_id, &digest);
  return digest;
}

std::string numerics_text() {
  return fmt::format("{}, kernels {}, glibc {}", math::blas_identity(), math::instruction_set(),
                     ::gnu_get_libc_version());
}

}  // namespace sheaf::launcher
