#!/usr/bin/env bash
# A Slurm of its own on one machine: authentication, controller and nodes, as processes of this
# script, with all their files in one folder. They end when standard input does, however its other
# end came to be closed.
set -euo pipefail

readonly usage="usage: slurm.sh DIR [HOSTS]
  DIR (made) then holds slurm.conf, for SLURM_CONF: partitions low (the usual one) and high, which
  preempts. Node and controller are this host. With HOSTS, the folder of hosts that hosts.sh has
  made, each of them is a node, and the first, on which this has to run (hosts.sh exec HOSTS 1 …),
  is the controller, too. Prints \"up\" when jobs can be submitted.
Needs root, munge and slurm-wlm. Exit codes: 0 ok, 1 failed, 2 usage, 77 this machine cannot."

skip() { echo "slurm: skipped: $1" >&2 && exit 77; }
(($# == 1 || $# == 2)) || { echo "$usage" >&2 && exit 2; }
((EUID == 0)) || skip "its daemons change users, which needs root"
for tool in munged slurmctld slurmd sinfo; do
  command -v "$tool" >/dev/null || skip "$tool was not found"
done

mkdir -p "$1"
dir=$(realpath "$1")
hosts=${2:-}
host=$(hostname -s)
addresses=(127.0.0.1) names=("$host")
if [[ -n $hosts ]]; then
  # The first line is that of localhost.
  mapfile -t addresses < <(tail -n +2 "$hosts/etc_hosts" | cut -d ' ' -f 1)
  mapfile -t names < <(tail -n +2 "$hosts/etc_hosts" | cut -d ' ' -f 2)
  [[ ${names[0]} == "$host" ]] || {
    echo "slurm: runs on $host, expected ${names[0]}" >&2 && exit 2
  }
fi

# DIR/node is what a node has for itself: each of several hosts sees a folder of its own there.
mkdir -p "$dir/state" "$dir/node"
chmod 755 "$dir"
(umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
port=$((20000 + RANDOM % 10000))
# Slurm waits for as long as a credential lives before it starts a job again.
cat >"$dir/slurm.conf" <<END
ClusterName=sheaf
SlurmctldHost=$host(${addresses[0]})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.sock,cred_expire=5
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/node/spool
TmpFS=$dir/node
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/node/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/node/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE
PartitionName=high Nodes=ALL PriorityTier=10 MaxTime=INFINITE
END
for k in "${!names[@]}"; do
  echo "NodeName=${names[k]} NodeAddr=${addresses[k]} CPUs=4 State=UNKNOWN" >>"$dir/slurm.conf"
done
export SLURM_CONF=$dir/slurm.conf

pids=()
no_job_is_left() { [[ -z $(timeout 5 squeue --noheader 2>/dev/null) ]]; }
# Its jobs first: they would outlive its daemons.
down() {
  local end=$((SECONDS + 15))
  if ! no_job_is_left; then
    timeout 5 scancel --full --signal=KILL --user=root 2>/dev/null || true
    timeout 5 scancel --user=root 2>/dev/null || true  # also those that wait
    until no_job_is_left || ((SECONDS >= end)); do sleep 0.1; done
  fi
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
}
trap down EXIT
daemon() {
  "$@" >>"$dir/daemons.log" 2>&1 </dev/null &
  pids+=($!)
}
# node K: on its host, if it has one.
node() {
  local own=$dir/on-${names[$1]} on
  on=("$(dirname "${BASH_SOURCE[0]}")/../hosts/hosts.sh" exec "$hosts" $(($1 + 1)))
  [[ -n $hosts ]] || { daemon slurmd -D -f "$SLURM_CONF" && return; }
  mkdir "$own"
  "${on[@]}" mount --bind "$own" "$dir/node"
  daemon "${on[@]}" slurmd -D -f "$SLURM_CONF"
}
# until_holds WHAT COMMAND …: as long as all daemons live and somebody waits for us, at most 30 s.
until_holds() {
  local end=$((SECONDS + 30)) pid
  until "${@:2}"; do
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || end=0; done
    ((SECONDS < end)) || { cat "$dir/daemons.log" >&2 && echo "slurm: $1 never came" >&2 && exit 1; }
    sleep 0.1
  done
}
are_idle() { [[ $(sinfo --noheader --format=%t 2>/dev/null | sort -u) == idle ]]; }
daemon munged --foreground --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" \
  --pid-file="$dir/munged.pid" --seed-file="$dir/munged.seed"
until_holds "authentication" test -S "$dir/munge.sock"
daemon slurmctld -D -f "$SLURM_CONF"
for k in "${!names[@]}"; do node "$k"; done
until_holds "a node" are_idle
echo up
cat >/dev/null
