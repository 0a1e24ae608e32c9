#!/usr/bin/env bash
# How long jobs take to an accuracy on the validation part, over test hosts whose links have a rate.
# Each rank has a host of its own; a job is ended as soon as it is there. Needs root (hosts.sh).
set -euo pipefail

readonly usage="usage: time_to_accuracy.sh RATE CONFIG … [-- key=value …]
         RATE is of tc, 100mbit or 1gbit, for each direction of each host.
         Prints a line for each job: its name, the seconds from the start of sheaf train to the first
         validation that is good enough (- if there was none), the epoch, the accuracy, how many times
         shorter than the first job, and the megabytes pushed and pulled until then; separated by tabs.
         ACCURACY (0.87), SHEAF (build/sheaf) and LIMIT (seconds of a job, 1800) come from the environment.
Exit codes: 0 ok, 1 failed, 2 usage, 77 this machine cannot make hosts (the reason is on stderr)."

refuse() { echo "time_to_accuracy: $1"$'\n'"$usage" >&2 && exit 2; }

case ${1:-} in -h | --help) echo "$usage" && exit 0 ;; esac
[[ ${1:-} =~ ^[1-9][0-9]*[gmk]bit$ ]] || refuse "found rate '${1:-}', expected one like 100mbit"
rate=$1 configs=() overrides=()
shift
while (($# > 0)); do
  [[ $1 != -- ]] || { shift && overrides=("$@") && break; }
  [[ -r $1 ]] || refuse "found '$1', expected a job file that can be read"
  configs+=("$1") && shift
done
((${#configs[@]} > 0)) || refuse "found no job file"
sheaf=$(realpath "${SHEAF:-build/sheaf}")
here=$(dirname "$(realpath "$0")")
readonly accuracy=${ACCURACY:-0.87} limit=${LIMIT:-1800}

work=$(mktemp -d)
job=
clean_up() {
  [[ -z $job ]] || kill "$job" 2>/dev/null || true
  "$here/hosts.sh" down "$work/hosts"
  rm -rf "$work"
}
trap clean_up EXIT

# key CONFIG NAME: the number that a job file, or an override, gives it.
key() {
  local text
  text=$(printf '%s\n' "${overrides[@]}" | sed -n "s/^run\.$2=\([0-9]*\)\$/\1/p" | tail -n 1)
  [[ -n $text ]] || text=$(sed -n "s/^$2 *= *\([0-9]*\).*/\1/p" "$1" | head -n 1)
  echo "$text"
}

# ranks CONFIG: how many there are.
ranks() { echo $(($(key "$1" servers) + $(key "$1" workers))); }

# reached RUN BEGAN: the row of the first validation that is good enough, as it is printed; else nothing.
reached() {
  [[ -r $1/metrics.jsonl ]] || return 0
  awk -v least="$accuracy" -v began="$2" '
    function value(name,   text) {
      text = $0
      if (!sub(".*\"" name "\":", "", text)) return ""
      sub("[,}].*", "", text)
      return text + 0
    }
    /"split":"validation"/ && value("accuracy") >= least {
      printf "%.1f %d %.4f %.1f %.1f\n", value("time") - began, value("epoch"), value("accuracy"),
             value("push_bytes") / 1e6, value("pull_bytes") / 1e6
      exit
    }' "$1/metrics.jsonl"
}

most=0
for config in "${configs[@]}"; do
  count=$(ranks "$config")
  ((count <= most)) || most=$count
done
SLOTS=1 "$here/hosts.sh" up "$work/hosts" "$most" --rate "$rate" || exit $?

# OpenMPI would ask the links of the bridge, too.
launch="launch={hostfile=\"$work/hosts/hosts\",mpirun_args=[\"--mca\",\"plm_rsh_agent\",\"$work/hosts/agent\"]}"
printf 'job\tseconds\tepoch\taccuracy\ttimes shorter\tpushed MB\tpulled MB\n'
first=
for config in "${configs[@]}"; do
  name=$(basename "$config" .toml) run=$work/$name
  began=$(date +%s.%N)
  "$here/hosts.sh" exec "$work/hosts" 1 "$sheaf" train "$(realpath "$config")" "run.dir=$run" "$launch" \
    "${overrides[@]}" >"$work/$name.out" 2>"$work/$name.err" &
  job=$!
  row=
  while kill -0 "$job" 2>/dev/null && (($(date +%s) - ${began%.*} < limit)); do
    row=$(reached "$run" "$began")
    [[ -z $row ]] || break
    sleep 0.2
  done
  kill -TERM "$job" 2>/dev/null || true
  code=0
  wait "$job" || code=$?
  job=
  [[ -n $row ]] || row=$(reached "$run" "$began")
  if [[ $code != 0 && $code != 75 ]]; then
    tail -n 5 "$work/$name.err" >&2
    echo "time_to_accuracy: $config ended with exit $code" >&2
    exit 1
  fi
  read -r seconds epoch reached pushed pulled <<<"${row:-- - - - -}"
  [[ -n $first || $seconds == - ]] || first=$seconds
  times=-
  [[ $seconds == - || -z $first ]] || times=$(awk -v a="$first" -v b="$seconds" 'BEGIN { printf "%.1f", a / b }')
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$seconds" "$epoch" "$reached" "$times" "$pushed" "$pulled"
done
