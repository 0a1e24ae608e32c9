// The fault table: one row for each fault that a user will meet. The ranks are processes without
// MPI (see harness/job.h); tests/mpi shows the rows in which mpirun has a part.
#include <gtest/gtest.h>

#include "tests/harness/fault.h"
#include "tests/process/fault_rows.h"

namespace sheaf::harness {
namespace {

class Faults : public testing::TestWithParam<Fault> {};

TEST_P(Faults, EndTheJobCleanly) { show(GetParam()); }

const auto kName = [](const auto& row) { return std::string(row.param.name); };
INSTANTIATE_TEST_SUITE_P(Usage, Faults, testing::ValuesIn(usage_faults()), kName);
INSTANTIATE_TEST_SUITE_P(Data, Faults, testing::ValuesIn(data_faults()), kName);
INSTANTIATE_TEST_SUITE_P(Place, Faults, testing::ValuesIn(place_faults()), kName);
INSTANTIATE_TEST_SUITE_P(Start, Faults, testing::ValuesIn(start_faults()), kName);
INSTANTIATE_TEST_SUITE_P(Training, Faults, testing::ValuesIn(training_faults()), kName);

}  // namespace
}  // namespace sheaf::harness
