# Every library from outside, each behind one target. All are packages of Debian 12 and later;
# libraries that you bring yourself are found through CMAKE_PREFIX_PATH and PKG_CONFIG_PATH.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(cereal REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(isal REQUIRED IMPORTED_TARGET libisal)
if(NOT SHEAF_FUZZ)
  find_package(Boost 1.74 REQUIRED)  # Asio, headers only
  find_package(CLI11 REQUIRED)
  pkg_check_modules(openblas REQUIRED IMPORTED_TARGET openblas)
  find_package(MPI REQUIRED COMPONENTS C)
  # mpi.h would also declare the C++ bindings that MPI-3 removed, and want their library.
  target_compile_definitions(MPI::MPI_C INTERFACE OMPI_SKIP_MPICXX=1 MPICH_SKIP_MPICXX=1)
endif()
