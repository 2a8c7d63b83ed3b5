#!/usr/bin/env bash
# `compcache serve --vhost-user`: QEMU's disk, swap of a guest with Debian's 6.12 kernel, and of
# the next guest what the first has left. The server runs here, needs no root, and is asked by
# `compcache ctl` what the guests' requests have come to.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

guest_prepare_server

start() {
    : >"$work/out"
    : >"$work/err"
    "$compcache" serve --size 768M --vhost-user "$work/disk" --control "$work/control" \
        >"$work/out" 2>"$work/err" &
    server=$!
    for _ in $(seq 100); do ! grep -q '^vhost-user ' "$work/out" || return 0; sleep 0.1; done
    guest_fail "the server does not start: $(cat "$work/err")"
}

# mem_stat FIELD: a column of zram's mm_stat.
mem_stat() { "$compcache" ctl "$work/control" mm_stat | awk -v field="$1" '{print $field}'; }

guest_devices=(
    -object "memory-backend-memfd,id=memory,size=${guest_memory_mib}M,share=on"
    -numa node,memdev=memory
    -chardev "socket,id=disk,path=$work/disk"
    -device vhost-user-blk-pci,chardev=disk
)
guest_image tests/guest/vhost.init virtio_blk

guest_say "== killed; the next server takes its place"
start
kill -KILL "$server"
wait "$server" || true
[ -S "$work/disk" ] || guest_fail "the socket of a killed server is to be left"
start

guest_say "== swap in the guest"
rm -f "$guest_dir/output"
guest_run 200 phase=swap &
guest=$!
for _ in $(seq 600); do
    ! grep -q '^guest: swap is on' "$guest_dir/output" 2>/dev/null || break
    kill -0 "$guest" 2>/dev/null || break
    sleep 0.1
done
# Not taken from under a guest that has it.
kill -TERM "$server"
# The guest's memory is the guest's: what is locked is the server's own.
flags=$(awk '/memory-backend-memfd/ {found = 1} found && /^VmFlags/ {print; exit}' "/proc/$server/smaps")
[ -n "$flags" ] || guest_fail "the server does not have the guest's memory"
[ "$(id -u)" != 0 ] || grep -q '^VmFlags:.* lo ' "/proc/$server/smaps" || guest_fail "the server's own memory is not locked"
[[ " $flags " != *" lo "* ]] || guest_fail "the server has locked the guest's memory: $flags"
wait "$guest" || guest_fail "see above"
kill -0 "$server" 2>/dev/null || guest_fail "the server has ended under the guest"
[ "$(grep -c 'a virtual machine uses the disk' "$work/err")" = 1 ] ||
    guest_fail "expected one word of who uses it: $(head -3 "$work/err")"
guest_say "$(cat "$work/err")"
used=$(mem_stat 3)
guest_say "left stored: $used bytes of memory"
[ "$used" -gt $((12 << 20)) ] || guest_fail "12 MiB that do not compress cannot be in $used bytes"
[ "$used" -lt $((16 << 20)) ] || guest_fail "what was swapped and discarded takes memory: $used"

guest_say "== the next guest"
"$compcache" ctl "$work/control" mem_limit=$((used + (4 << 20)))
guest_run 100 phase=again
used=$(mem_stat 3)
guest_say "after blkdiscard: $used bytes of memory"
[ "$used" -lt $((1 << 20)) ] || guest_fail "discarded pages take memory: $used"

guest_say "== stopped"
kill -TERM "$server"
wait "$server" || guest_fail "the server ended with status $?: $(cat "$work/err")"
server=
[ ! -e "$work/disk" ] || guest_fail "the socket is left"
[ ! -e "$work/control" ] || guest_fail "the control socket is left"
guest_say "vhost-user took $SECONDS s"
