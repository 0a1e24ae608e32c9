// Jobs of random shape for seeds: every kind of job and misfortune that the simulation knows.
#pragma once

#include "tests/simulation/simulation.h"

namespace sheaf::simulation {

// A job of any kind.
Options random_job(std::uint64_t seed);
// A job with a coordinator that loses processes, of that kind otherwise chosen by chance.
Options random_coordinated_job(std::uint64_t seed);

}  // namespace sheaf::simulation
