#!/usr/bin/env bash
# Test hosts on one machine. Each is a process that only sleeps, in network, mount and UTS namespaces
# of its own, so with an address, files and a host name of its own; a bridge in one more namespace
# joins them. Nothing has a name outside: sets of hosts never collide, and all of it is gone once
# those processes are. Needs root, iproute2 and util-linux.
set -euo pipefail

readonly usage="usage: hosts.sh up DIR N [--rate RATE] [--bound]
         makes hosts h1 … hN, addresses 10.77.0.1 … N on eth0. DIR (made) then holds the files
         hosts (a hostfile, SLOTS=2 slots each) and agent (for --mca plm_rsh_agent).
         RATE is of tc, 1gbit or 100kbit, for each direction of each host.
         --bound: they go when standard input ends, however its other end came to be closed
       hosts.sh exec DIR K COMMAND …   runs a command on host K, in the present folder, or,
         with K = bridge, where all they say to each other passes (each has a port of its name there)
       hosts.sh rate DIR RATE          another rate for all links; none: as fast as they can
       hosts.sh down DIR               removes the hosts; DIR itself stays
Exit codes: 0 ok, 1 failed, 2 usage, 77 this machine cannot make them (the reason is on stderr)."

refuse() { echo "hosts: $1"$'\n'"$usage" >&2 && exit 2; }
skip() { echo "hosts: skipped: $1" >&2 && exit 77; }

# started PID: when it was, in ticks since the machine was; empty if it is gone.
started() { cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null || true; }

# inside NAME COMMAND …: in the namespaces of a host, or of the bridge. Its root is ours: within a chroot
# that of the namespace alone would be another.
inside() {
  local pid
  pid=$(<"$dir/$1.pid")
  nsenter --target "$pid" --net --uts --mount --root --wd -- "${@:2}"
}

# One more set of namespaces, kept by a process that dies with the keeper.
hold() {
  setpriv --pdeathsig KILL unshare --net --uts --mount sleep infinity &
  echo $! >"$dir/$1.pid"
  # Namespaces exist once the process has become sleep.
  until [[ $(<"/proc/$!/comm") == sleep ]]; do
    kill -0 $! 2>/dev/null || return 1
  done
  inside "$1" hostname "$1"
  inside "$1" ip link set lo up
}

# shape NAME DEVICE RATE: a burst is what the rate sends in 2 ms, and at least a few packets.
shape() {
  if [[ $3 == none ]]; then
    inside "$1" tc qdisc del dev "$2" root 2>/dev/null || true
    return 0
  fi
  local number=${3%%[a-z]*} unit=0 burst
  case $3 in
    *gbit) unit=1000000000 ;;
    *mbit) unit=1000000 ;;
    *kbit) unit=1000 ;;
    *) refuse "found rate '$3', expected a whole number of gbit, mbit or kbit" ;;
  esac
  burst=$((number * unit / 4000))
  ((burst > 16000)) || burst=16000
  inside "$1" tc qdisc replace dev "$2" root tbf rate "$3" burst "$burst" latency 100ms
}

shape_all() {
  local k
  for ((k = 1; k <= $(<"$dir/count"); k++)); do
    shape "h$k" eth0 "$1" && shape bridge "h$k" "$1"
  done
}

make_hosts() {
  local k
  rm -f "$dir/etc_hosts" "$dir/hosts"
  echo "127.0.0.1 localhost" >"$dir/etc_hosts"
  for ((k = 1; k <= count; k++)); do
    echo "10.77.0.$k h$k" >>"$dir/etc_hosts"
    echo "h$k slots=${SLOTS:-2}" >>"$dir/hosts"
  done
  echo "$count" >"$dir/count"
  hold bridge
  inside bridge ip link add bridge type bridge
  inside bridge ip link set bridge up
  for ((k = 1; k <= count; k++)); do
    hold "h$k"
    inside bridge ip link add "h$k" type veth peer name eth0 netns "$(<"$dir/h$k.pid")"
    inside bridge ip link set "h$k" master bridge up
    inside "h$k" ip address add "10.77.0.$k/24" dev eth0
    inside "h$k" ip link set eth0 up
    inside "h$k" mount --bind "$dir/etc_hosts" /etc/hosts
  done
  [[ $rate == none ]] || shape_all "$rate"
  # As ssh does, it takes one shell command, starts in the home folder and gives it an environment of
  # its own, and fails with 255 where there is no such host. A file NAME.agent stands for the host's
  # ways to fail: it runs first.
  cat >"$dir/agent" <<END
#!/usr/bin/env bash
dir=$(printf %q "$dir")
host=\$1
[[ ! -e \$dir/\$host.agent ]] || . "\$dir/\$host.agent"
[[ -e \$dir/\$host.pid ]] || { echo "agent: no host is called \$host" >&2; exit 255; }
exec nsenter --target "\$(<"\$dir/\$host.pid")" --net --uts --mount --root --wd -- \\
  env -i PATH="\$PATH" HOME=/ sh -c "\${*:2}"
END
  chmod +x "$dir/agent"
}

# Becomes the keeper: the parent of all holders, which die with it.
keep() {
  make_hosts || exit 1
  local self=$BASHPID
  echo "$self $(started "$self")" >"$dir/keeper"
  : >"$dir/ready"
  # The one who asked may close its ends of these.
  exec >/dev/null 2>&1
  local waiting=(sleep infinity)
  [[ $bound == no ]] || waiting=(cat)
  exec "${waiting[@]}"
}

up() {
  count=${1:-} rate=none bound=no
  [[ $count =~ ^[1-9][0-9]?$ ]] || refuse "found '$count' hosts, expected 1 to 99"
  shift
  while (($# > 0)); do
    case $1 in
      --rate) rate=${2:-} && shift 2 ;;
      --bound) bound=yes && shift ;;
      *) refuse "unknown argument '$1'" ;;
    esac
  done
  ((EUID == 0)) || skip "it takes root to make network namespaces"
  for tool in ip tc nsenter unshare setpriv; do
    command -v $tool >/dev/null || skip "$tool was not found (packages iproute2 and util-linux)"
  done
  unshare --net --uts --mount true 2>/dev/null || skip "this system allows no new namespaces"
  [[ ! -e $dir/keeper ]] || refuse "$dir has hosts already"
  rm -f "$dir/ready"
  exec 3<&0  # bash takes the input of what runs in the background away
  keep <&3 3<&- &
  local keeper=$!
  until [[ -e $dir/ready ]]; do
    kill -0 "$keeper" 2>/dev/null || { echo "hosts: could not be made" >&2 && return 1; }
    sleep 0.02
  done
}

down() {
  [[ -e $dir/keeper ]] || return 0
  local pid since
  read -r pid since <"$dir/keeper"
  # Another process may have its number by now.
  [[ $(started "$pid") != "$since" ]] || kill "$pid"
  rm -f "$dir"/{bridge,h[0-9]*}.pid "$dir"/{keeper,ready}
}

command=${1:-} dir=${2:-}
case $command in -h | --help) echo "$usage" && exit 0 ;; esac
[[ -n $dir ]] || refuse "found no folder"
[[ $command != up ]] || mkdir -p "$dir"
dir=$(realpath "$dir")
case $command in
  up) up "${@:3}" ;;
  exec)
    name=h${3:-}
    [[ $name != hbridge ]] || name=bridge
    pid=$(<"$dir/$name.pid")
    # shellcheck disable=SC2016  # for the inner shell: only there is the folder that of the host
    exec nsenter --target "$pid" --net --uts --mount --root --wd -- \
      sh -c 'cd "$1" && shift && exec "$@"' sh "$PWD" "${@:4}"
    ;;
  rate) shape_all "${3:-none}" ;;
  down) down ;;
  *) refuse "found '$command', expected up, exec, rate or down" ;;
esac
