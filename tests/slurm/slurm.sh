#!/usr/bin/env bash
# A Slurm of its own on one machine: authentication, controller and one node, as processes of this
# script, with all their files in one folder. They end when standard input does, however its other
# end came to be closed.
set -euo pipefail

readonly usage="usage: slurm.sh DIR
  DIR (made) then holds slurm.conf, for SLURM_CONF: partitions low (the usual one) and high, which
  preempts; node and controller are this host. Prints \"up\" when jobs can be submitted.
Needs root, munge and slurm-wlm. Exit codes: 0 ok, 1 failed, 2 usage, 77 this machine cannot."

skip() { echo "slurm: skipped: $1" >&2 && exit 77; }
(($# == 1)) || { echo "$usage" >&2 && exit 2; }
((EUID == 0)) || skip "its daemons change users, which needs root"
for tool in munged slurmctld slurmd sinfo; do
  command -v "$tool" >/dev/null || skip "$tool was not found"
done

mkdir -p "$1"
dir=$(realpath "$1")
host=$(hostname -s)
mkdir -p "$dir/state" "$dir/spool"
chmod 755 "$dir"
(umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
port=$((20000 + RANDOM % 10000))
# Slurm waits for as long as a credential lives before it starts a job again.
cat >"$dir/slurm.conf" <<EOF
ClusterName=sheaf
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.sock,cred_expire=5
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
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
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES PriorityTier=1 MaxTime=INFINITE
PartitionName=high Nodes=$host PriorityTier=10 MaxTime=INFINITE
EOF
export SLURM_CONF=$dir/slurm.conf

pids=()
# Its jobs first: they would outlive its daemons.
down() {
  timeout 10 scancel --full --signal=KILL --user=root 2>/dev/null || true
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
}
trap down EXIT
daemon() {
  "$@" >>"$dir/daemons.log" 2>&1 </dev/null &
  pids+=($!)
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
is_idle() { [[ $(sinfo --noheader --format=%t 2>/dev/null | sort -u) == idle ]]; }
daemon munged --foreground --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" \
  --pid-file="$dir/munged.pid" --seed-file="$dir/munged.seed"
until_holds "authentication" test -S "$dir/munge.sock"
daemon slurmctld -D -f "$SLURM_CONF"
daemon slurmd -D -f "$SLURM_CONF"
until_holds "the node" is_idle
echo up
cat >/dev/null
