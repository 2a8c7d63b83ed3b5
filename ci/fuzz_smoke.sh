#!/usr/bin/env bash
# Runs each fuzz target on its seeds and then for a few seconds on what it makes of them.
#   ci/fuzz_smoke.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-8}
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT

cargo +nightly fuzz build
for target in $(cargo +nightly fuzz list); do
    seeds=fuzz/seeds/$target
    [ -d "$seeds" ] || { echo "fuzz_smoke.sh: $target has no seeds in $seeds" >&2; exit 1; }
    mkdir "$corpus/$target"
    # Operations are a few bytes each; what decoders get is as long as a page.
    case $target in
        codec_*) longest=5000 ;;
        nbd_*) longest=2000 ;;
        *) longest=600 ;;
    esac
    log=$corpus/$target.log
    if ! cargo +nightly fuzz run "$target" "$corpus/$target" "$seeds" -- \
        -max_total_time="$seconds" -max_len=$longest -len_control=20 -seed=1 >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz_smoke.sh: $target found something" >&2
        exit 1
    fi
    echo "  $target: $(grep -a '^Done' "$log")"
done
