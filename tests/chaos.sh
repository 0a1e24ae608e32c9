#!/usr/bin/env bash
# A campaign of faults: jobs of random shape lose workers, servers, keepers, connections, mpirun and supervisors, again and
# again, and must come to the bits of a job that lost none, or, in ssp, asp and drop, to the count of all steps.
set -euo pipefail

readonly usage="usage: tests/chaos.sh [--kills N] [--each N] [--gate NAME] [--seed S] [--json]
  --kills N   so many faults (default 50)
  --each N    so many of a job (default 20)
  --gate NAME jobs of that consistency model alone (bsp, ssp, asp, drop)
  --seed S    the order of jobs and faults (default 1)
  --json      the figures for a program
Needs launcher/install-deps.sh --tests. Exit 0: nothing was lost and nothing counted twice."

for word in "$@"; do
  case $word in -h | --help) echo "$usage" && exit 0 ;; esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
{
  cmake --preset release -DSHEAF_TESTS=ON
  cmake --build --preset release --target sheaf_chaos --parallel "$(cmake/build-jobs.sh)"
} >&2
exec build/tests/sheaf_chaos "$@"
