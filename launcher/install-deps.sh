#!/usr/bin/env bash
# Installs the packages that Sheaf needs on Debian 12, Debian 13 and systems made from them.
# Installs only what is missing; with nothing missing it does nothing and needs no network.
set -euo pipefail

readonly usage="usage: launcher/install-deps.sh [--tests] [--print]
  --tests   also what the tests, benchmarks and linters need
  --print   print the names of all packages and install nothing
Exit codes: 0 everything is there, 1 apt-get failed, 2 packages are missing and cannot be installed from here."

readonly build_packages=(
  g++ cmake ninja-build pkgconf git ca-certificates
  libopenmpi-dev openmpi-bin
  libboost-dev libcereal-dev libcli11-dev libfmt-dev libisal-dev libopenblas-dev libssl-dev
  libtomlplusplus-dev nlohmann-json3-dev zlib1g-dev
  dataset-fashion-mnist
)
# clang 19 is the one version that Debian 12 and 13 share; the default of Debian 12, clang 14, lacks
# std::source_location. llvm-19 has its symbolizer, iproute2 makes the network namespaces of the tests with several hosts,
# slurm-wlm and munge are the Slurm that the tests start for themselves.
readonly test_packages=(
  libgtest-dev libgmock-dev libbenchmark-dev
  clang-19 libclang-rt-19-dev llvm-19 clang-tidy-19 clang-format-19 shellcheck
  iproute2 procps slurm-wlm munge
)

readonly libraries="Sheaf needs: a C++20 compiler (g++ 12 or later), CMake 3.25, Ninja, pkg-config, Open MPI 4.1 or 5,
Boost 1.74 (headers), Cereal 1.3, CLI11 2.1, fmt 9, ISA-L 2.30, OpenBLAS 0.3.21, OpenSSL 3.0,
toml++ 3.3, nlohmann-json 3.11, zlib; with --tests also GoogleTest 1.12, Google Benchmark 1.7 and
clang 19 with libFuzzer. Libraries in a place of your own are found through CMAKE_PREFIX_PATH and
PKG_CONFIG_PATH; data.path of a config says where the Fashion-MNIST files are."

wanted=("${build_packages[@]}")
print=no
for argument in "$@"; do
  case $argument in
    --tests) wanted+=("${test_packages[@]}") ;;
    --print) print=yes ;;
    -h | --help) echo "$usage" && exit 0 ;;
    *) echo "install-deps: unknown argument '$argument'"$'\n'"$usage" >&2 && exit 2 ;;
  esac
done
if [[ $print == yes ]]; then
  echo "${wanted[@]}"
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-deps: this system has no apt; please install the libraries its own way."$'\n'"$libraries" >&2
  exit 2
fi

# dpkg-query exits 1 when it knows a package not at all, which is an answer here.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF "$package installed" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "install-deps: all ${#wanted[@]} packages are installed" >&2
  exit 0
fi

# Asks for a password only where somebody can answer.
may_sudo() {
  command -v sudo >/dev/null || return 1
  sudo -n true 2>/dev/null && return 0
  [[ -t 0 && -t 2 ]] && echo "install-deps: sudo is needed to install: ${missing[*]}" >&2 && sudo -v
}
if ((EUID == 0)); then
  as_root=(env)
elif may_sudo; then
  as_root=(sudo env)
else
  echo "install-deps: installing what is missing needs root or sudo:" >&2
  echo "apt-get install -y --no-install-recommends ${missing[*]}"
  exit 2
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}
install() { apt install -y --no-install-recommends "${missing[@]}"; }

echo "install-deps: installing ${#missing[@]} of ${#wanted[@]} packages and what they need" >&2
# A fresh system has no package lists, an old one has lists whose files are gone from the mirror.
apt install --simulate --no-install-recommends "${missing[@]}" || apt update || true
if ! install && ! { apt update && install; }; then
  cat "$log" >&2
  echo "install-deps: apt-get could not install ${missing[*]}; its last lines above say why" >&2
  exit 1
fi
