#!/usr/bin/env bash
# Whether kind = "auto" finds the compressor that pays: a job file with each of some compressors both ways,
# and with auto, over test hosts whose links have a rate, or over loopback. Links need root (hosts.sh).
set -euo pipefail

readonly usage="usage: auto_compression.sh RATE CONFIG [-- key=value …]
         RATE is of tc, 100mbit or 1gbit, for each direction of each host, which has one rank; or loopback: all ranks
         here, over TCP. Prints examples a second with each compressor, the best of REPEAT (3) runs of STEPS
         (200) steps, and at the end auto against the best of the others; separated by tabs.
         SHEAF (build/sheaf), STEPS and REPEAT come from the environment.
Exit codes: 0 ok, 1 a job failed, 2 usage, 77 this machine cannot make hosts (the reason is on stderr)."

refuse() { echo "auto_compression: $1"$'\n'"$usage" >&2 && exit 2; }

case ${1:-} in -h | --help) echo "$usage" && exit 0 ;; esac
[[ ${1:-} =~ ^([1-9][0-9]*[gmk]bit|loopback)$ ]] || refuse "found rate '${1:-}', expected one like 100mbit, or loopback"
[[ -r ${2:-} ]] || refuse "found '${2:-}', expected a job file that can be read"
readonly rate=$1 steps=${STEPS:-200} repeat=${REPEAT:-3}
config=$(realpath "$2")
shift 2
[[ ${1:-} != -- ]] || shift
readonly overrides=("$@")
here=$(dirname "$(realpath "$0")")
sheaf=$(realpath "${SHEAF:-build/sheaf}")

work=$(mktemp -d)
clean_up() {
  [[ $rate == loopback ]] || "$here/hosts.sh" down "$work/hosts"
  rm -rf "$work"
}
trap clean_up EXIT

# key NAME: the number that the job file, or an override, gives it.
key() {
  local text
  text=$(printf '%s\n' "${overrides[@]}" | sed -n "s/^run\.$1=\([0-9]*\)\$/\1/p" | tail -n 1)
  [[ -n $text ]] || text=$(sed -n "s/^$1 *= *\([0-9]*\).*/\1/p" "$config" | head -n 1)
  echo "$text"
}

start=("$sheaf")
network=("network.transport=tcp")
if [[ $rate != loopback ]]; then
  SLOTS=1 "$here/hosts.sh" up "$work/hosts" $(($(key servers) + $(key workers))) --rate "$rate" || exit $?
  start=("$here/hosts.sh" exec "$work/hosts" 1 "$sheaf")
  network=("launch={hostfile=\"$work/hosts/hosts\",mpirun_args=[\"--mca\",\"plm_rsh_agent\",\"$work/hosts/agent\"]}")
fi

# speed PUSH PULL: examples a second with these tables.
speed() {
  local best=0 now
  for ((i = 0; i < repeat; i++)); do
    rm -rf "$work/run"
    "${start[@]}" train "$config" "run.dir=$work/run" "run.steps=$steps" "compression.push=$1" \
      "compression.pull=$2" "${network[@]}" "${overrides[@]}" >"$work/out" 2>"$work/err" ||
      { tail -n 5 "$work/err" >&2 && return 1; }
    now=$(sed -n 's/.*"examples_per_s": *\([0-9.e+]*\).*/\1/p' "$work/run/result.json" | head -n 1)
    best=$(awk -v a="$best" -v b="$now" 'BEGIN { print a > b ? a : b }')
  done
  echo "$best"
}

# report NAME SPEED: a row, and the best so far of those that are not auto.
most=0
report() {
  printf '%s\t%.0f\n' "$1" "$2"
  most=$(awk -v a="$most" -v b="$2" 'BEGIN { print a > b ? a : b }')
}

printf 'compressor\texamples/s\n'
none=$(speed '{kind="none"}' '{kind="none"}') && report none "$none"
fp16=$(speed '{kind="fp16"}' '{kind="fp16"}') && report fp16 "$fp16"
int8=$(speed '{kind="int8",feedback="ef"}' '{kind="int8",feedback="ef21p"}') && report int8 "$int8"
auto=$(speed '{kind="auto"}' '{kind="auto"}')
printf 'auto\t%.0f\n' "$auto"
sed -n 's/^sheaf: compression/# compression/p' "$work/err"
awk -v auto="$auto" -v most="$most" 'BEGIN { printf "auto / best\t%.2f\n", auto / most }'
