#!/usr/bin/env bash
# `compcache serve --nbd` beside nbdkit's memory plugin, plain and with allocator=zstd: 4 KiB random
# reads and writes by fio, 16 requests at once, over one and over four connections. The servers take
# turns in every round, so that what else the machine does hits all of them; the median counts.
# "nothing" is compcache's server without a device: about the most that fio can be given here.
#   bench/nbd.sh [--json] [--quick] [--size MIB] [--rounds N] [--seconds N] [--check]
# --check fails where the targets are missed: reads >= 1.0 and writes >= 0.8 times plain memory,
# both >= 3 times allocator=zstd (zstd against zstd), memory <= 0.75 of plain.
set -euo pipefail
cd "$(dirname "$0")/.."

size=256 rounds=5 seconds=3 json=false check=false
while [ $# -gt 0 ]; do
    case $1 in
        --json) json=true ;;
        --quick) size=64 rounds=2 seconds=1 ;;
        --check) check=true ;;
        --size) size=$2; shift ;;
        --rounds) rounds=$2; shift ;;
        --seconds) seconds=$2; shift ;;
        *) echo "nbd.sh: $1: not known; see the head of this file" >&2; exit 2 ;;
    esac
    shift
done
for tool in nbdkit fio python3; do
    command -v "$tool" >/dev/null || {
        echo "nbd.sh: $tool is missing; apt-get install nbdkit libnbd-bin fio python3" >&2
        exit 1
    }
done

cargo build --quiet --release -p compcache-tool
cargo build --quiet --release -p compcache-nbd --example nothing
built=${CARGO_TARGET_DIR:-target}/release
compcache=$built/compcache
work=$(mktemp -d)
pids=()
stop() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

start() { # name command...
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
    echo $! >"$work/$name.pid"
}
start compcache-lz4 "$compcache" serve --size "${size}M" --nbd "unix:$work/compcache-lz4.sock"
start compcache-zstd "$compcache" serve --size "${size}M" --codec zstd:1 --nbd "unix:$work/compcache-zstd.sock"
start nbdkit-memory nbdkit -f -U "$work/nbdkit-memory.sock" memory "${size}M"
start nbdkit-zstd nbdkit -f -U "$work/nbdkit-zstd.sock" memory "${size}M" allocator=zstd
start nothing "$built/examples/nothing" "unix:$work/nothing.sock" "$size"
servers=(nbdkit-memory compcache-lz4 nbdkit-zstd compcache-zstd nothing)
for server in "${servers[@]}"; do
    for _ in $(seq 100); do [ ! -S "$work/$server.sock" ] || break; sleep 0.05; done
done

resident() { awk '/^VmRSS:/ { print $2 * 1024 }' "/proc/$(cat "$work/$1.pid")/status"; }

run_fio() { # server output options...
    local server=$1 output=$2
    shift 2
    fio --name=job --ioengine=nbd --uri="nbd+unix:///?socket=$work/$server.sock" --bs=4k \
        --size="${size}M" --group_reporting --buffer_compress_percentage=55 --refill_buffers \
        --randrepeat=1 --output-format=json --output="$output" "$@" >/dev/null
}

for server in "${servers[@]}"; do
    echo "$server before $(resident "$server")" >>"$work/memory"
    run_fio "$server" "$work/fill" --rw=write --iodepth=16
    echo "$server after $(resident "$server")" >>"$work/memory"
done
for round in $(seq "$rounds"); do
    for jobs in 1 4; do
        for rw in randread randwrite; do
            for server in "${servers[@]}"; do
                run_fio "$server" "$work/$server.$rw.$jobs.$round.json" --rw=$rw --iodepth=16 \
                    --numjobs=$jobs --time_based --runtime="$seconds"
            done
        done
    done
done

python3 bench/nbd_report.py "$work" "$size" "$json" "$check"
