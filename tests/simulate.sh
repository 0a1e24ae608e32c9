#!/usr/bin/env bash
# A campaign of simulated jobs: real shards, exchanges, membership, checkpoints and wire code over a
# seeded network, clock and disk, while frames, connections, processes and disks get lost.
set -euo pipefail

readonly usage="usage: tests/simulate.sh [--seeds N] [--replay S] [--json]
  --seeds N    seeds 1 to N, one run each and once more to compare (default 200)
  --replay S   this seed alone
  --json       the figures for a program
Needs launcher/install-deps.sh --tests. Exit 0: no violation, and every replay was the same."

for word in "$@"; do
  case $word in -h | --help) echo "$usage" && exit 0 ;; esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."
{
  cmake --preset release -DSHEAF_TESTS=ON
  cmake --build --preset release --target sheaf_simulate --parallel "$(cmake/build-jobs.sh)"
} >&2
exec build/tests/sheaf_simulate "$@"
