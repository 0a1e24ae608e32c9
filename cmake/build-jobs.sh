#!/usr/bin/env bash
# Prints how many compilers may run at once: one a core, and 2 GiB of free memory for each (the
# coroutine files of Asio need about 1.5 GiB). At least one.
set -euo pipefail

jobs=$(nproc)
if [[ -r /proc/meminfo ]]; then
  free_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  by_memory=$((free_kib / (2 * 1024 * 1024)))
  ((by_memory < jobs)) && jobs=$by_memory
fi
echo $((jobs > 0 ? jobs : 1))
