#!/usr/bin/env bash
# Builds the library for C and prints its path. `--release`-like, without std and without unwinding.
set -euo pipefail
cd "$(dirname "$0")"
cargo rustc --quiet -p compcache-capi --lib --profile capi --crate-type staticlib "$@" -- \
    --cfg compcache_panic_handler
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
echo "$target/capi/libcompcache_capi.a"
