#!/usr/bin/env bash
# Builds the library for C, without std and without unwinding, and prints its path.
#
#   build.sh [--target TRIPLE]      for a kernel: x86_64-unknown-none and the like
set -euo pipefail
cd "$(dirname "$0")"
[ $# = 0 ] || { [ $# = 2 ] && [ "$1" = --target ]; } || { sed -n '2,4s/^# \?//p' "$0" >&2; exit 2; }
cargo rustc --quiet -p compcache-capi --lib --profile capi --crate-type staticlib "$@" -- \
    --cfg compcache_panic_handler
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
echo "$target/${2:+$2/}capi/libcompcache_capi.a"
