#!/usr/bin/env bash
# Fuzzes one target: builds tests/fuzz/TARGET_fuzz.cpp with clang's libFuzzer and runs it from its
# seeds in tests/fuzz/corpus/TARGET/. New inputs stay in the build folder, so that the next run goes
# on where this one stopped.
set -euo pipefail

readonly usage="usage: tests/fuzz.sh TARGET [--seconds N] [--no-asan]
  --seconds N   how long to fuzz (default 60)
  --no-asan     without AddressSanitizer: about three times as fast, finds less
Needs launcher/install-deps.sh --tests. Exit 0: nothing found."

cd "$(dirname "${BASH_SOURCE[0]}")/.."
die() { echo "fuzz: $1" >&2 && exit 2; }

target="" seconds=60 build=build-fuzz sanitize=address,undefined
while (($# > 0)); do
  case $1 in
    -h | --help) echo "$usage" && exit 0 ;;
    --seconds) seconds=${2:?"--seconds wants a number"} && shift ;;
    --no-asan) build=build-fuzz-noasan sanitize=undefined ;;
    -*) die "unknown option '$1'"$'\n'"$usage" ;;
    *) target=${1%_fuzz} ;;
  esac
  shift
done
known=$(find tests/fuzz -name '*_fuzz.cpp' -printf '%f\n' | sed 's/_fuzz\.cpp$//' | sort | xargs)
[[ -n $target ]] || die "which target? There are: $known"$'\n'"$usage"
[[ -f tests/fuzz/${target}_fuzz.cpp ]] || die "no target '$target'; there are: $known"
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "--seconds: found '$seconds', expected a whole number"
command -v clang++-19 >/dev/null || die "clang++-19 was not found: launcher/install-deps.sh --tests"

[[ -f $build/build.ninja ]] || cmake --preset fuzz -B "$build" -DSHEAF_SANITIZE="$sanitize" >/dev/null
cmake --build "$build" --target "${target}_fuzz" --parallel "$(cmake/build-jobs.sh)"

found=$build/corpus/$target
mkdir -p "$found" "$build/findings"
seeds=()
[[ -d tests/fuzz/corpus/$target ]] && seeds=("tests/fuzz/corpus/$target")
ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-19 || true)
export ASAN_SYMBOLIZER_PATH UBSAN_OPTIONS=print_stacktrace=1
echo "fuzz: $target for $seconds s; a finding would be saved in $build/findings/"
# The formats are small: a target that wants 64 MiB at once, or 512 MiB in all, trusted a length.
"$build/tests/fuzz/${target}_fuzz" -max_total_time="$seconds" -rss_limit_mb=512 -malloc_limit_mb=64 \
  -timeout=10 -print_funcs=0 -print_final_stats=1 -artifact_prefix="$build/findings/$target-" \
  "$found" "${seeds[@]}" 2>&1 | grep -Ev '^#[0-9]+[[:space:]]+(NEW|REDUCE|RELOAD)'
