#!/usr/bin/env bash
# What privacy costs a model: the jobs of configs/scenarios/privacy_*.toml with several seeds, as rows of the table of
# docs/privacy.md. Every run draws its own samples and noise, whatever its seed. Nothing here passes or fails.
set -euo pipefail

readonly usage="usage: privacy.sh [SEEDS] [NAME …]
         SEEDS is a number (5: seeds 1 to 5). NAME is one of mlp scattering correlated, without any all of them.
         SHEAF (build/sheaf) comes from the environment; run it at the root of the source.
Exit codes: 0 ok, 1 a job failed, 2 usage."

case ${1:-} in -h | --help) echo "$usage" && exit 0 ;; esac
readonly seeds=${1:-5} sheaf=${SHEAF:-build/sheaf}
[[ $seeds =~ ^[1-9][0-9]*$ ]] || { echo "privacy: found '$seeds' seeds, expected a number"$'\n'"$usage" >&2 && exit 2; }
names=("${@:2}")
((${#names[@]} > 0)) || names=(mlp scattering correlated)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# figure RUN SECTION KEY: that number of result.json.
figure() {
  awk -v section="\"$2\":" -v key="\"$3\":" '
    $1 == section { inside = 1 }
    inside && $1 == key { sub(",", "", $2); print $2; exit }' "$1/result.json"
}

echo '| job | ε at δ = 1e-5 | noise | steps | accuracy, mean | deviation | lowest |'
echo '|---|---|---|---|---|---|---|'
for name in "${names[@]}"; do
  for ((seed = 1; seed <= seeds; seed++)); do
    run=$work/$name-$seed
    "$sheaf" train "configs/scenarios/privacy_$name.toml" "run.dir=$run" "run.seed=$seed" \
      "privacy.secret_dir=$work/secrets" >"$work/out" 2>"$work/err" || { tail -n 5 "$work/err" >&2 && exit 1; }
    echo "$(figure "$run" test accuracy) $(figure "$run" privacy epsilon) $(figure "$run" privacy noise)" \
      "$(figure "$run" privacy steps)" | tee -a "$work/$name" | sed "s/^/$name seed $seed: /" >&2
    rm -r "$run"
  done
  # shellcheck disable=SC2016  # a name in a table, no command
  awk -v name="$name" '
    { accuracy += $1; squares += $1 * $1; noise = $3; steps = $4 }
    NR == 1 || $1 < lowest { lowest = $1 }
    $2 > epsilon { epsilon = $2 }
    END {
      accuracy /= NR
      deviation = NR > 1 ? sqrt((squares - NR * accuracy * accuracy) / (NR - 1)) : 0
      printf "| `%s` | %.4f | %.4f | %d | %.2f %% | %.2f | %.2f %% |\n", name, epsilon, noise, steps,
             100 * accuracy, 100 * deviation, 100 * lowest
    }' "$work/$name"
done
