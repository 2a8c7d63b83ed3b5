#!/usr/bin/env bash
# Every crate of the library with no feature, with each feature alone, and with all of them.
# Warnings are errors; a build without std must not pull it in through a dependency.
set -euo pipefail
cd "$(dirname "$0")/.."
# The tests at the end use what was built for all tests.
tests_flags=${RUSTFLAGS:-}
tests_target=${CARGO_TARGET_DIR:-target}
export RUSTFLAGS="$tests_flags -D warnings"
export CARGO_TARGET_DIR="$tests_target/features"

check() {
    echo "  $*"
    cargo check --quiet --lib "$@"
}

check -p alloc_xv --no-default-features
check -p alloc_xv --no-default-features --features std
check -p compress --no-default-features
check -p compress --no-default-features --features lz4
check -p compress --no-default-features --features alloc
check -p compress --no-default-features --features lz4,alloc
check -p compress --no-default-features --features zstd
check -p compress --all-features
check -p compcache --no-default-features
check -p compcache --no-default-features --features std
check -p compcache --no-default-features --features zstd
check -p compcache --all-features
check -p compcache-device --no-default-features
check -p compcache-nbd
check -p compcache-capi
check -p compcache-tmem --no-default-features
check -p compcache-tmem --no-default-features --features std

# The command without any front end, as README builds it for `bench`.
cargo check --quiet -p compcache-tool --no-default-features --all-targets

# And with each alone.
for feature in nbd fuse ublk vhost-user top docs; do
    echo "  the command with $feature"
    cargo check --quiet -p compcache-tool --no-default-features --features "$feature"
done

# What is linked without std: none of these crates may turn an allocator or std on again.
tree=$(cargo tree -p compcache -p compcache-tmem --no-default-features -e normal,features --prefix none)
if found=$(grep -E '(lz4_flex|spin|bitvec|crossbeam-utils|lock_api|twox-hash|siphasher|alloc_xv|compress|compcache) feature "(std|alloc)"' <<<"$tree"); then
    printf 'features.sh: without std, dependencies still have:\n%s\n' "$found" >&2
    exit 1
fi

export RUSTFLAGS="$tests_flags" CARGO_TARGET_DIR="$tests_target"
[ -n "$RUSTFLAGS" ] || unset RUSTFLAGS
echo "  tests of compcache without zstd"
cargo test --quiet -p compcache --test model --test errors
echo "  tests of compress with each codec alone"
cargo test --quiet -p compress --lib --no-default-features --features lz4
cargo test --quiet -p compress --lib --no-default-features --features lz4,alloc
cargo test --quiet -p compress --lib --no-default-features --features zstd
