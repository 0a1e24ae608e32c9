#!/usr/bin/env bash
# What compression does to a model and to the bytes: the jobs of configs/scenarios/compression_*.toml with
# several seeds, as rows of the table of docs/compression.md. Nothing here passes or fails.
set -euo pipefail

readonly usage="usage: compression.sh [SEEDS] [NAME …]
         SEEDS is a number (5: seeds 1 to 5). NAME is one of none int8 100x 300x local_1000x, without any all
         of them; none comes first, as the others are held against it.
         SHEAF (build/sheaf) comes from the environment; run it at the root of the source.
Exit codes: 0 ok, 1 a job failed, 2 usage."

case ${1:-} in -h | --help) echo "$usage" && exit 0 ;; esac
readonly seeds=${1:-5} sheaf=${SHEAF:-build/sheaf}
[[ $seeds =~ ^[1-9][0-9]*$ ]] || { echo "compression: found '$seeds' seeds, expected a number"$'\n'"$usage" >&2 && exit 2; }
names=("${@:2}")
((${#names[@]} > 0)) || names=(none int8 100x 300x local_1000x)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# figure RUN SECTION KEY: that number of result.json.
figure() {
  awk -v section="\"$2\":" -v key="\"$3\":" '
    $1 == section { inside = 1 }
    inside && $1 == key { sub(",", "", $2); print $2; exit }' "$1/result.json"
}

for name in "${names[@]}"; do
  for ((seed = 1; seed <= seeds; seed++)); do
    run=$work/$name-$seed
    "$sheaf" train "configs/scenarios/compression_$name.toml" "run.dir=$run" "run.seed=$seed" \
      >"$work/out" 2>"$work/err" || { tail -n 5 "$work/err" >&2 && exit 1; }
    echo "$(figure "$run" test accuracy) $(figure "$run" traffic push_bytes) $(figure "$run" traffic pull_bytes)" \
      >>"$work/$name"
    rm -r "$run"
  done
done

# shellcheck disable=SC2016  # a name in a table, no command
echo '| job | accuracy, mean | deviation | against `none` | pushed | pulled | times fewer bytes |'
echo '|---|---|---|---|---|---|---|'
for name in "${names[@]}"; do
  awk -v name="$name" '
    FNR == 1 { ++file }
    file == 1 { base_accuracy += $1; base_bytes += $2 + $3; ++base_runs }
    file == 2 { accuracy += $1; squares += $1 * $1; pushed += $2; pulled += $3; ++runs }
    END {
      base_accuracy /= base_runs; accuracy /= runs
      deviation = runs > 1 ? sqrt((squares - runs * accuracy * accuracy) / (runs - 1)) : 0
      printf "| `%s` | %.2f %% | %.2f | %+.2f | %.1f MB | %.1f MB | %.1f |\n", name, 100 * accuracy,
             100 * deviation, 100 * (accuracy - base_accuracy), pushed / runs / 1e6, pulled / runs / 1e6,
             base_bytes / base_runs / ((pushed + pulled) / runs)
    }' "$work/${names[0]}" "$work/$name"
done
