#!/usr/bin/env bash
# Builds the program, boots it in QEMU and checks what it says. Needs rustup (for the target
# x86_64-unknown-none) and qemu-system-x86_64; the build needs crates, so a network or a filled cargo cache the first time.
set -euo pipefail
cd "$(dirname "$0")"

skipped() {
    printf '\n!!!! SKIPPED: %s\n\n' "$*" >&2
    [ "${CI:-false}" != true ] || exit 1
    exit 0
}

if ! rustc --print sysroot | xargs -I{} test -d {}/lib/rustlib/x86_64-unknown-none; then
    command -v rustup >/dev/null || skipped "the bare-metal example needs rustup: rustup target add x86_64-unknown-none"
    rustup target add x86_64-unknown-none
fi
if ! command -v qemu-system-x86_64 >/dev/null && command -v apt-get >/dev/null; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq qemu-system-x86 || true
fi
command -v qemu-system-x86_64 >/dev/null ||
    skipped "the bare-metal example needs QEMU: apt-get install qemu-system-x86"

target=${CARGO_TARGET_DIR:-target}
# Flags of the environment would replace those of .cargo/config.toml.
env -u RUSTFLAGS cargo build --quiet --release --target-dir "$target/baremetal"
program=$target/baremetal/x86_64-unknown-none/release/baremetal

status=0
timeout 120 qemu-system-x86_64 -accel tcg -m "${MEMORY:-32}" -kernel "$program" -no-reboot -nodefaults \
    -display none -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=4 </dev/null |
    tee "$target/baremetal/output" || status=${PIPESTATUS[0]}
# QEMU's exit status: twice what the program said, plus one.
if [ "$status" != 33 ] || [ "$(tail -n 1 "$target/baremetal/output" | tr -d '\r')" != "baremetal: passed" ]; then
    echo "baremetal: QEMU ended with status $status; expected 33 and 'baremetal: passed'" >&2
    exit 1
fi
