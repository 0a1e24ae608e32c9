#include "tests/harness/places.h"

namespace sheaf {

std::string source_folder() { return SHEAF_SOURCE_DIR; }
std::string test_program() { return SHEAF_PROGRAM; }

}  // namespace sheaf
