#!/usr/bin/env bash
# Installs what the tests need, builds, and runs every test or the named parts.
# Safe to run again: only what changed is built.
set -euo pipefail

readonly usage="usage: tests/run.sh [NAME …]
Without a name: all, campaigns, asan, tsan, fuzz, install, dp-mutants, format, scripts.
  all          every test, release build
  quick        unit, architecture and conformance tests
  LABEL        the tests of one kind: unit, conformance, cluster, process, mpi, architecture, …
  NAME         the tests whose program or suite has this name: same-bits, faults, common/wire, …
  campaigns    jobs that lose processes, and simulated jobs: chaos.sh and simulate.sh, small
  asan         unit, conformance, cluster and simulation tests under address and undefined-behaviour sanitizers
  tsan         cluster, common, server, simulation and worker tests under the thread sanitizer
  fuzz         every fuzz target for 20 s (tests/fuzz.sh goes on for longer)
  install      cmake --install into a new folder, moved, and used from there
  dp-mutants   faults of private training, put in on purpose, that tests must find
  format       clang-format over all sources
  scripts      shellcheck over the shell scripts
  tidy         clang-tidy over the product (several minutes)
  bare         the two commands of the README on a bare Debian (tests/bare.sh; needs root)
Exit 0: every test of every part passed."

cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=$(cmake/build-jobs.sh)
readonly jobs
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

# The programs that the sanitizers build and run. The launcher's tests fork, which the thread
# sanitizer does not follow.
readonly threaded='^(cluster|common|server|simulation|worker)_'
readonly in_process='^(cluster|common|server|simulation|worker|launcher|conformance)_'
passed=0 failed=0 skipped=0
summary=() failures=()

# Below, functions chain their commands with &&: bash does not stop at a failure inside a function
# whose result is looked at.

# build PRESET [CMAKE ARGUMENT …]: configures and builds a preset with its tests.
build() {
  local preset=$1
  shift
  if ! cmake --preset "$preset" -DSHEAF_TESTS=ON "$@" >"$work/configure" 2>&1; then
    cat "$work/configure" >&2
    return 1
  fi
  cmake --build --preset "$preset" --parallel "$jobs"
}

# count WHAT: one number of the ctest run that has just ended.
count() { grep -oPm1 "\\b$1=\"\\K[0-9]+" "$work/junit.xml"; }

# failed_tests: of ctest's record, those that did not pass, and each one's last lines.
failed_tests() {
  awk '
    function flush() { for (i = n > 25 ? n - 25 : 0; i < n; ++i) print "  " lines[i]; n = 0 }
    /<testcase / { failed = /status="fail"/; n = 0 }
    failed && /<testcase / { match($0, /name="[^"]*"/); print substr($0, RSTART + 6, RLENGTH - 7); next }
    failed && /<\/testcase>/ { flush(); failed = 0 }
    failed { gsub(/&lt;/, "<"); gsub(/&gt;/, ">"); gsub(/&quot;/, "\""); gsub(/&amp;/, "\\&"); lines[n++] = $0 }
  ' "$work/junit.xml"
}

# run_ctest BUILD CTEST_ARGUMENT …: a selection without a test is a failure.
run_ctest() {
  local folder=$1 status=0 bad quiet
  shift
  rm -f "$work/junit.xml"
  ctest --test-dir "$folder" --parallel "$jobs" --output-on-failure --no-tests=error \
    --output-junit "$work/junit.xml" "$@" || status=$?
  [[ -s $work/junit.xml ]] || return 1
  bad=$(count failures)
  quiet=$(($(count skipped) + $(count disabled)))
  passed=$((passed + $(count tests) - bad - quiet))
  failed=$((failed + bad))
  skipped=$((skipped + quiet))
  mapfile -t -O "${#failures[@]}" failures < <(failed_tests)
  # A failed test is counted already; anything else that went wrong is a failure of the part.
  ((status == 0 || bad > 0))
}

# run_one COMMAND …: a command that is one test.
run_one() {
  local status=0
  "$@" 2>&1 | tee "$work/output" || status=$?
  case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *)
      failed=$((failed + 1))
      failures+=("$* (exit $status), which ended with:" "$(tail -n 12 "$work/output")")
      ;;
  esac
}

# A name as a pattern for ctest's names, "program_tests.Suite.Test": the name of a program, with or
# without its first folder, or of a suite. same-bits finds SameBitsTest and mpi_same_bits_tests.
name_pattern() {
  echo "(^|[._/])$(sed -E 's/[-_/]/_?/g; s/([a-z])/[\1\u\1]/g' <<<"$1")(_tests|Tests?)?[./]"
}

run_named() {
  local labels
  labels=$(ctest --test-dir build --print-labels) || return
  if grep -qx "  $1" <<<"$labels"; then
    run_ctest build --label-regex "^$1\$"
  else
    run_ctest build --tests-regex "$(name_pattern "$1")"
  fi
}

# A test whose tool may be missing starts with this; 77 is "skipped".
has() {
  command -v "$1" >/dev/null && return 0
  echo "run: skipped: $1 was not found" >&2
  return 77
}

fuzz() { has clang++-19 && tests/fuzz.sh "$1" --seconds 20; }

run_fuzz() {
  local target
  for target in tests/fuzz/*_fuzz.cpp; do run_one fuzz "$(basename "$target" _fuzz.cpp)"; done
}

check_scripts() { has shellcheck && shellcheck launcher/*.sh tests/*.sh tests/hosts/*.sh tests/slurm/*.sh benchmarks/*.sh cmake/*.sh .ci/run; }

# The installed tree works after it was moved, and looks nothing up where it was built.
check_install() {
  local tree=$work/moved
  rm -rf "$tree"
  cmake --install build --prefix "$work/prefix" >/dev/null && mv "$work/prefix" "$tree" &&
    "$tree/bin/sheaf" --version &&
    "$tree/bin/sheaf" check "$tree/share/sheaf/configs/quickstart.toml" &&
    [[ -f $tree/share/doc/sheaf/LICENSE && -f $tree/share/doc/sheaf/README.md ]]
}

check_format() {
  has clang-format-19 || return
  find common worker server launcher tests benchmarks \( -name '*.h' -o -name '*.cpp' \) -print0 |
    xargs -0 clang-format-19 --dry-run --Werror
}

# g++ compiled these files; clang must be told that Boost 1.74 may use its coroutines.
run_tidy() {
  has clang-tidy-19 || return
  find common worker server launcher -name '*.cpp' -print0 | sort -z |
    xargs -0 -n 4 -P "$jobs" clang-tidy-19 -p build --quiet --warnings-as-errors='*' \
      --extra-arg=-includecoroutine --extra-arg=-DBOOST_ASIO_HAS_CO_AWAIT \
      --extra-arg=-DBOOST_ASIO_HAS_STD_COROUTINE --extra-arg=-Wno-unknown-warning-option
}

run_part() {
  case $1 in
    all) build release -DSHEAF_BENCHMARKS=ON && run_ctest build ;;
    quick) build release && run_ctest build --label-regex '^(unit|architecture|conformance)$' ;;
    campaigns)
      run_one tests/chaos.sh --kills 50
      run_one tests/simulate.sh --seeds 2000
      ;;
    asan) build asan "-DSHEAF_TEST_PROGRAMS=$in_process" && run_ctest build-asan ;;
    tsan) build tsan "-DSHEAF_TEST_PROGRAMS=$threaded" && run_ctest build-tsan ;;
    fuzz) run_fuzz ;;
    install) build release && run_one check_install ;;
    dp-mutants) run_one tests/dp-mutants.sh ;;
    format) run_one check_format ;;
    scripts) run_one check_scripts ;;
    tidy) build release && run_one run_tidy ;;
    bare) run_one tests/bare.sh ;;
    *) build release && run_named "$1" ;;
  esac
}

case ${1:-} in
  -h | --help) echo "$usage" && exit 0 ;;
esac
parts=("$@")
((${#parts[@]} > 0)) || parts=(all campaigns asan tsan fuzz install dp-mutants format scripts)

[[ -r /proc/self/maps ]] || {
  echo "run: /proc is not mounted, and sanitizers and tests need it: mount -t proc proc /proc" >&2
  exit 2
}
# Exit 2: packages are missing and may not be installed. Libraries may have been brought otherwise,
# so the build goes on and is the judge; parts whose tool is missing are skipped.
deps_status=0
deps=$(launcher/install-deps.sh --tests) || deps_status=$?
((deps_status == 0 || deps_status == 2)) || exit "$deps_status"
if ! command -v cmake >/dev/null; then
  echo "$deps"
  exit 2
fi
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
export UBSAN_OPTIONS=print_stacktrace=1

for part in "${parts[@]}"; do
  echo "== $part"
  started=$SECONDS before=$failed
  if ! run_part "$part"; then
    failed=$((failed + 1))
    echo "run: part $part could not be built or run, or selects no test" >&2
  fi
  verdict=ok
  ((failed == before)) || verdict=FAILED
  summary+=("$(printf '%-14s %-7s %5d s' "$part" "$verdict" $((SECONDS - started)))")
done

# What failed comes last, for who sees only the end of a long log.
if ((${#failures[@]} > 0)); then printf '%s\n' '' failed: "${failures[@]}"; fi
printf '\n'
printf '%s\n' "${summary[@]}"
# A run without tests proves nothing.
((passed + failed > 0)) || { echo "run: no test ran" >&2 && failed=1; }
tally="$passed passed, $failed failed"
((skipped == 0)) || tally+=", $skipped skipped"
echo "$tally"
if ((failed > 0)); then
  [[ -z $deps ]] || echo "run: packages are missing, which may be why: $deps" >&2
  exit 1
fi
