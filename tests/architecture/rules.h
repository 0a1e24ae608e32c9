// Who may include whom, as functions of one file: each returns one line a fault, "file:line: what,
// rule". Pure functions, so that the tests can show them files that break a rule.
#pragma once

#include <string>
#include <vector>

#include "tests/architecture/source_tree.h"

namespace sheaf::architecture {

using Faults = std::vector<std::string>;

// common <- worker, common <- server, and from the roles only their doors <- launcher.
Faults layer_faults(const SourceFile& file);

// Each library from outside is included in one place.
Faults door_faults(const SourceFile& file);

// Project includes are written from the project root, and x.cpp includes its own x.h first, which
// proves the header self-contained. `has_header`: x.h exists beside x.cpp.
Faults include_style_faults(const SourceFile& file, bool has_header);

// A circle of rooms that include each other, "common/a -> common/b -> common/a", or empty. A room
// is a folder of the second level with all below it.
std::string room_cycle(const std::vector<SourceFile>& files);

}  // namespace sheaf::architecture
