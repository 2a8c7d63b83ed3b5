#!/usr/bin/env bash
# `compcache serve --nbd` and the kernel's client, nbd.ko: swap of a guest with Debian's 6.12 kernel,
# then ext4 on the same device. The server runs here, needs no root, and is asked by the guest what
# its pages take.
set -euo pipefail
# The client and the programs of ext4 are where root looks for them.
PATH=$PATH:/usr/sbin:/sbin
source "$(dirname "$0")/lib.sh"

# Small: every page that it takes back in costs a round trip through an emulated network card.
guest_memory_mib=144
guest_programs=(nbd-client:nbd-client e2fsprogs:mkfs.ext4 e2fsprogs:e2fsck)
guest_prepare_server

"$compcache" serve --size 768M --nbd "unix:$work/disk" --control "$work/control" --daemon --pid-file "$work/pid" \
    >"$work/out" || guest_fail "the server does not start"
server=$(cat "$work/pid")

# One connection for the device; each to the second address is answered by what `ctl` says.
guest_devices=(
    -netdev "user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:10809-unix:$work/disk,guestfwd=tcp:10.0.2.101:1-cmd:$compcache ctl $work/control mm_stat"
    -device virtio-net-pci,netdev=net,romfile=
)
guest_image tests/guest/nbd.init failover net_failover virtio_net nbd
guest_run 600

# Refused while there is a client.
"$compcache" ctl "$work/control" reset || guest_fail "a client is left"
guest_say "== stopped"
kill -TERM "$server"
# Nobody may be there to ask it for its status: it stays as a zombie then.
for _ in $(seq 100); do grep -q '^State:.[^Z]' "/proc/$server/status" 2>/dev/null || break; sleep 0.1; done
! grep -q '^State:.[^Z]' "/proc/$server/status" 2>/dev/null || guest_fail "the server does not stop"
server=
for file in disk control pid; do [ ! -e "$work/$file" ] || guest_fail "$file is left"; done
guest_say "nbd took $SECONDS s"
