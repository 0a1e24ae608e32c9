// The rows of the fault table, by what is wrong.
#pragma once

#include <vector>

#include "tests/harness/fault.h"

namespace sheaf::harness {

std::vector<Fault> usage_faults();     // command line and job file: nothing is started
std::vector<Fault> data_faults();      // files of examples
std::vector<Fault> place_faults();     // run directory, disk, ports, interface
std::vector<Fault> start_faults();     // ranks that are wrong or missing
std::vector<Fault> training_faults();  // what happens while it trains

}  // namespace sheaf::harness
