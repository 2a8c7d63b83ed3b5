#!/usr/bin/env bash
# `compcache swap` in guests with Debian's 6.12 kernel: by every way it knows, refusing to stop when
# memory does not suffice, after SIGKILL, and on a kernel that has none of what it needs.
#
#   tests/guest/swap.sh [VIA...]        VIA: ublk, fuse, none; all of them without
#   PRESSURE=1 tests/guest/swap.sh      also with all of the guest's memory taken, which does not
#                                       always end in time (README, Limits)
set -euo pipefail
source "$(dirname "$0")/lib.sh"

ways=("$@")
[ ${#ways[@]} -gt 0 ] || ways=(ublk fuse none)

guest_prepare

for via in "${ways[@]}"; do
    case $via in
        ublk) modules=(ublk_drv) ;;
        fuse) modules=(loop) ;;
        none) modules=() ;;
        *) guest_fail "no such way: $via" ;;
    esac
    began=$SECONDS
    guest_say "== swap by $via"
    guest_image tests/guest/swap.init "${modules[@]}"
    guest_run 200 "via=$via" ${PRESSURE:+pressure}
    guest_say "swap by $via took $((SECONDS - began)) s"
done
