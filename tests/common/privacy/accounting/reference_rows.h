// Settings whose epsilon is known from elsewhere, for the tests of this folder. `tight` is a
// contour integral in NumPy at two resolutions (rows Q and R: also Balle and Wang's closed form);
// row N is Google's accountant (dp_accounting), extrapolated to spacing 0. `renyi` is Opacus'
// accountant, its own orders. `grid` is Google's accountant at spacing 1e-4, an upper bound.
#pragma once

#include <cstdint>

#include "common/privacy/accounting/steps.h"

namespace sheaf::privacy {

struct ReferenceRow {
  char name;
  GaussianSteps steps;
  double delta;
  double renyi, order;
  double tight;
  double grid;
};

inline constexpr ReferenceRow kReference[] = {
    {'A', {0.04, 1.5, 2250}, 1e-5, 7.3291111714, 3.9, 6.7687803934, 6.7687873769},
    {'B', {150.0 / 60000, 1.3, 6000}, 1e-5, 0.7242234026, 19, 0.6400036734, 0.6401109285},
    {'C', {0.001, 1.0, 30000}, 1e-7, 1.4154988495, 13, 1.0976767715, 1.0981989495},
    {'E', {256.0 / 60000, 1.1, 14062}, 1e-5, 2.5965558690, 8.1, 2.3815969214, 2.3816859976},
    {'F', {256.0 / 60000, 1.0, 4687}, 1e-5, 1.7591917573, 9.5, 1.5683162316, 1.5683556953},
    {'G', {0.01, 1.0, 4000}, 1e-5, 4.0764425168, 5.6, 3.7224739327, 3.7224917217},
    {'J', {0.05, 1.5, 1000}, 1e-6, 6.6678143905, 4.7, 6.1996916761, 6.1996954190},
    {'K', {0.001, 0.8, 100}, 1e-6, 1.3710668930, 9, 0.2603370943, 0.2603387175},
    {'L', {0.001, 1.5, 20000}, 1e-6, 0.4969943504, 30, 0.4269665181, 0.4276221843},
    {'M', {0.2, 2.0, 100}, 1e-6, 6.1228193120, 4.8, 5.6617880577, 5.6617884443},
    {'N', {0.001, 0.8, 20000}, 1e-6, 1.8971958764, 8, 1.2859227, 1.2861516025},
    {'O', {0.005, 0.6, 2000}, 1e-5, 6.3546522100, 3.2, 5.3389906124, 5.3389959743},
    {'P', {4096.0 / 50000, 3.0, 1000}, 1e-5, 4.2120272470, 5.8, 3.8826758852, 3.8826803841},
    {'Q', {1, 50, 1000}, 1e-5, 2.8136532471, 7.9, 2.5943833805, 2.5943833856},
    {'R', {1, 1, 1}, 1e-5, 4.7285070672, 5.4, 4.3771780957, 4.3771781000},
};

}  // namespace sheaf::privacy
