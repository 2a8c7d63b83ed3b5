#!/usr/bin/env bash
# Swap on this machine's own kernel: a process limited to 64 MiB touches 200 MiB.
#
#   tests/swap/host.sh [VIA]        VIA: fuse (default), ublk
#
# Needs root. What the kernel lacks is a loud skip, also in CI; not being root is a failure there.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

via=${1:-fuse}
limit=$((64 << 20))
touched=200

say() { printf 'swap/host: %s\n' "$*"; }
fail() { say "FAILED: $*" >&2; exit 1; }
skip() { printf '\n!!!! SKIPPED: swap on this machine: %s\n\n' "$*" >&2; exit 0; }

if [ "$(id -u)" != 0 ]; then
    [ "${CI:-false}" != true ] || fail "needs root"
    skip "needs root"
fi
[ -e /proc/swaps ] || skip "the kernel has no swap"
case $via in
    fuse) needed="/dev/fuse /dev/loop-control" ;;
    ublk) needed=/dev/ublk-control ;;
    *) fail "no such way: $via" ;;
esac
for file in $needed; do [ -e "$file" ] || skip "the kernel has no $file"; done

if [ -d /sys/fs/cgroup/memory ]; then
    group=/sys/fs/cgroup/memory/compcache-test-$$
    limit_file=memory.limit_in_bytes
elif grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    group=/sys/fs/cgroup/compcache-test-$$
    limit_file=memory.max
else
    skip "the kernel has no memory cgroups"
fi

cargo build --quiet --release -p compcache-tool
cargo build --quiet --release -p compcache-sys --example touch_pages
compcache=$CARGO_TARGET_DIR/release/compcache
touch_pages=$CARGO_TARGET_DIR/release/examples/touch_pages

work=$(mktemp -d)
server=
toucher=
device=

clean_up() {
    [ -z "$toucher" ] || kill -9 "$toucher" 2>/dev/null || true
    [ ! -d "$group" ] || echo 2G >"$group/$limit_file" || true
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server"
        for _ in $(seq 100); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
    fi
    [ -z "$device" ] || ! grep -q "^$device " /proc/swaps || swapoff "$device" || true
    wait 2>/dev/null || true
    [ ! -d "$group" ] || rmdir "$group" || true
    rm -rf "$work"
}
trap clean_up EXIT

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local tenths=$(($1 * 10)) what=$2
    shift 2
    for _ in $(seq "$tenths"); do
        "$@" && return 0
        sleep 0.1
    done
    cat "$work"/*.err >&2 || true
    fail "no $what"
}

start() {
    : >"$work/server.out"
    "$compcache" swap --size 512M --via "$via" "$@" >"$work/server.out" 2>"$work/server.err" &
    server=$!
    wait_for 20 "swap" grep -q '^swap on ' "$work/server.out"
    device=$(sed -n 's/^swap on \([^ ]*\) .*/\1/p' "$work/server.out")
    grep -q "^$device " /proc/swaps || fail "$device is not in /proc/swaps"
    say "$(cat "$work/server.out")"
}

# Of a server in the background nobody may ask for its status: it stays as a zombie then.
has_ended() { ! grep -q '^State:.[^Z]' "/proc/$server/status" 2>/dev/null; }

# The server has ended well and has left nothing.
check_gone() {
    wait_for 30 "end of the server" has_ended
    wait "$server" || fail "the server ended with status $?"
    check_left_nothing
}

check_left_nothing() {
    ! grep -q "^$device " /proc/swaps || fail "$device is still swap"
    [ ! -e "/sys/block/${device#/dev/}/loop/backing_file" ] || fail "$device still has a file"
    [ ! -e "/run/compcache/swap-$server" ] || fail "the server's record is still there"
    ! grep -q '^compcache ' /proc/mounts || fail "a mount is left"
    server=
    device=
}

in_group() {
    # Appends the shell itself, which the program then replaces.
    bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
}

mkdir "$group"
echo "$limit" >"$group/$limit_file"

say "== a process limited to 64 MiB touches $touched MiB"
start --priority 1000
began=$SECONDS
in_group "$touch_pages" "$touched" >"$work/touch.out" || fail "$(cat "$work/touch.out")"
say "$(cat "$work/touch.out") seconds $((SECONDS - began))"
out=$(sed -n 's/.*pswpout \([0-9]*\).*/\1/p' "$work/touch.out")
[ "$out" -ge 30000 ] || fail "only $out pages were swapped out"
kill -TERM "$server"
check_gone

say "== stopped while pages are swapped out: they come back"
start --priority 1000
mkfifo "$work/go"
in_group "$touch_pages" "$touched" --wait <"$work/go" >"$work/touch.out" &
toucher=$!
exec 9>"$work/go"
wait_for 60 "filled memory" grep -q filled "$work/touch.out"
# What comes back is charged to the group, and the kernel kills a group that is full.
echo 1G >"$group/$limit_file"
kill -TERM "$server"
kill -INT "$server" 2>/dev/null || true
check_gone
echo go >&9
exec 9>&-
wait "$toucher" || fail "$(cat "$work/touch.out")"
toucher=
say "$(tail -1 "$work/touch.out")"

say "== in the background"
"$compcache" swap --size 64M --via "$via" --priority 1000 --daemon --pid-file "$work/pid" >"$work/server.out" ||
    fail "it does not start"
server=$(cat "$work/pid")
# Not waited for: swap is on when the command has ended.
device=$(sed -n 's/^swap on \([^ ]*\) .*/\1/p' "$work/server.out")
grep -q "^$device " /proc/swaps || fail "'$device' is not in /proc/swaps"
listed=$("$compcache" ctl --json)
[[ $listed == *'"[SWAP]"'* ]] || fail "ctl does not list it: $listed"
kill -TERM "$server"
wait_for 30 "end of the server" has_ended
[ ! -e "$work/pid" ] || fail "the pid file is left"
check_left_nothing

rmdir "$group"
say "passed"
