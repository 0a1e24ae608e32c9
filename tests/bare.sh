#!/usr/bin/env bash
# Proves the two commands of the README on a bare Debian: a minimal root in a new folder, a fresh
# clone of HEAD, then launcher/quickstart.sh and tests/run.sh inside it, as a newcomer would.
# Everything is mounted in a mount namespace of its own, so nothing stays mounted, whatever happens.
set -euo pipefail

readonly usage="usage: tests/bare.sh [--cache DIR] [--commands 'COMMAND; …'] [SUITE]
  SUITE        a Debian release: bookworm (default) or trixie
  --cache DIR  keep the minimal root and the downloaded packages in DIR for the next time
  --commands   what to run in the clone instead of both commands
Needs root, debootstrap and a Debian mirror; without them it is skipped (exit 77)."

skip() { echo "bare: skipped: $1" >&2 && exit 77; }

suite=bookworm cache="" commands='./launcher/quickstart.sh; ./tests/run.sh'
while (($# > 0)); do
  case $1 in
    -h | --help) echo "$usage" && exit 0 ;;
    --cache) cache=$(mkdir -p "${2:?"--cache wants a folder"}" && realpath "$2") && shift ;;
    --commands) commands=${2:?"--commands wants a text"} && shift ;;
    -*) echo "bare: unknown option '$1'"$'\n'"$usage" >&2 && exit 2 ;;
    *) suite=$1 ;;
  esac
  shift
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."

((EUID == 0)) || skip "it makes a root folder and mounts, which needs root"
for tool in debootstrap unshare git tar; do
  command -v "$tool" >/dev/null || skip "$tool was not found"
done
if [[ -z ${SHEAF_BARE_INSIDE:-} ]]; then
  unshare --mount --pid --fork true 2>/dev/null || skip "this machine allows no mount namespace"
  work=$(mktemp -d "${TMPDIR:-/tmp}/sheaf-bare.XXXXXX")
  trap 'rm -rf --one-file-system "$work"' EXIT
  git bundle create --quiet "$work/sheaf.bundle" HEAD
  # The inner shell is process 1 of its namespace: when it ends, everything in there ends.
  SHEAF_BARE_INSIDE=$work unshare --mount --pid --fork --kill-child --propagation private \
    "${BASH_SOURCE[0]}" ${cache:+--cache "$cache"} --commands "$commands" "$suite"
  exit
fi

work=$SHEAF_BARE_INSIDE
unset SHEAF_BARE_INSIDE
root=$work/root
mkdir "$root"
mount --bind "$root" "$root" # its / is a mount point then, as tests that unshare mounts want it

# The mirror and the way to it are those that this machine's apt uses.
# shellcheck disable=SC2016  # apt expands these names itself
mirror=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' |
  awk '$2 == "Debian" { print $1; exit }')
mirror=${mirror:-http://deb.debian.org/debian}
apt_settings=$(apt-config dump |
  grep -E '^Acquire::((http|https)::|Check-Date |Check-Valid-Until |Retries )' || true)

archive=${cache:+$cache/$suite.tar}
if [[ -n $archive && -f $archive ]]; then
  echo "bare: the $suite root of $archive"
  tar -C "$root" -xf "$archive"
else
  echo "bare: debootstrap $suite from $mirror"
  debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { tail -20 "$work/debootstrap.log" >&2 && exit 1; }
  [[ -z $archive ]] || { tar -C "$root" -cf "$archive.new" . && mv "$archive.new" "$archive"; }
fi
[[ -z $apt_settings ]] || echo "$apt_settings" >"$root/etc/apt/apt.conf.d/90machine"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
mv "$work/sheaf.bundle" "$root/root/"

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
if [[ -n $cache ]]; then
  mkdir -p "$cache/$suite-packages/partial"
  mount --bind "$cache/$suite-packages" "$root/var/cache/apt/archives"
fi

inside() {
  env -i HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    DEBIAN_FRONTEND=noninteractive chroot "$root" bash -euc "$1"
}
echo "bare: git and a fresh clone"
inside 'apt-get -qq update
  apt-get -qq install -y --no-install-recommends git ca-certificates
  git clone --quiet /root/sheaf.bundle /root/sheaf' >"$work/clone.log" 2>&1 ||
  { tail -20 "$work/clone.log" >&2 && exit 1; }

failed=0 passed=0
while IFS= read -r -d ';' command; do
  command=$(sed -E "s/^\s+|\s+$//g" <<<"$command")
  [[ -n $command ]] || continue
  echo "bare: $suite: $command"
  started=$SECONDS status=0
  inside "cd /root/sheaf; $command" </dev/null || status=$?
  if ((status == 0)); then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  echo "bare: $suite: $command: exit $status after $((SECONDS - started)) s"
done <<<"$commands;"

echo "$passed passed, $failed failed"
((failed == 0))
