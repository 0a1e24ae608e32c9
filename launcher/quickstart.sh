#!/usr/bin/env bash
# From a fresh clone to a trained model: installs what is missing, builds the release preset, trains
# configs/quickstart.toml. Safe to run again: what is done is not done twice.
set -euo pipefail

readonly usage="usage: launcher/quickstart.sh [key=value …]
Arguments go to \`build/sheaf train configs/quickstart.toml\`, for example run.epochs=2."

case ${1:-} in
  -h | --help) echo "$usage" && exit 0 ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS

say() { echo "quickstart: $*" >&2; }

say "1/3 packages"
deps_status=0
deps=$(launcher/install-deps.sh) || deps_status=$?
# Exit 2 means that packages are missing and that we may not install them. The libraries may still
# be there (modules, CMAKE_PREFIX_PATH): CMake is the judge of that.
((deps_status == 0 || deps_status == 2)) || exit "$deps_status"

say "2/3 build (the first one takes a few minutes)"
give_up() {
  say "$1"
  if ((deps_status == 2)); then
    say "packages are missing; ask for them to be installed, or load them as modules:"
    echo "$deps"
    exit 2
  fi
  exit 1
}
command -v cmake >/dev/null || give_up "cmake was not found"
configure_log=$(mktemp)
trap 'rm -f "$configure_log"' EXIT
# Ninja notices a changed CMakeLists.txt by itself, so a tree of the release preset is not configured
# again; one that somebody has made otherwise is, from the beginning.
is_release() {
  [[ -f build/build.ninja && -f build/CMakeCache.txt ]] &&
    [[ $(sed -n 's/^CMAKE_BUILD_TYPE:[^=]*=//p' build/CMakeCache.txt) == Release ]] &&
    [[ -z $(sed -n 's/^SHEAF_SANITIZE:[^=]*=//p' build/CMakeCache.txt) ]]
}
if ! is_release; then
  if ! cmake --preset release --fresh >"$configure_log" 2>&1; then
    cat "$configure_log" >&2
    give_up "CMake could not configure the build"
  fi
fi
cmake --build --preset release --target sheaf --parallel "$(cmake/build-jobs.sh)" >&2 ||
  give_up "the build failed"

say "3/3 train configs/quickstart.toml, $((SECONDS - started)) s after the start"
status=0
build/sheaf train configs/quickstart.toml "$@" || status=$?
say "exit $status after $((SECONDS - started)) s in all"
exit "$status"
