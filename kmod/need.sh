#!/bin/sh
# Says what is missing to build the module, with the package that brings it.
missing=
lacks() { missing="$missing
  $1  (package $2)"; }

[ -n "$KERNEL" ] && [ -e "$HEADERS/Makefile" ] ||
    lacks "kernel headers${KERNEL:+ in $HEADERS}" "linux-headers-${KERNEL:-6.1.0-NN-amd64, or linux-headers-amd64}"
# Pages are stored with preemption off, where a real-time kernel gives no memory: its locks sleep.
if [ -e "$HEADERS/.config" ] && grep -q '^CONFIG_PREEMPT_RT=y' "$HEADERS/.config"; then
    lacks "a kernel without PREEMPT_RT; $KERNEL is one with" "linux-image-amd64, or KERNEL=... for headers without -rt"
fi
command -v gcc >/dev/null || lacks "C compiler" gcc
command -v make >/dev/null || lacks make make
command -v ar >/dev/null || lacks "ar, objdump, readelf" binutils
command -v python3 >/dev/null || lacks python3 python3-minimal
command -v "$RUSTC" >/dev/null || lacks "Rust compiler $RUSTC" rustc-web
command -v "$CARGO" >/dev/null || lacks "cargo $CARGO" cargo-web
if command -v "$RUSTC" >/dev/null; then
    version=$("$RUSTC" --version | sed 's/^rustc 1\.\([0-9]*\)\..*/\1/')
    [ "$version" -ge 88 ] 2>/dev/null || lacks "Rust 1.88 or newer; $RUSTC is $("$RUSTC" --version)" rustc-web
    [ -e "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust/library/core/Cargo.toml" ] ||
        lacks "source of Rust's library" rust-web-src
fi
[ -z "$missing" ] && exit 0
echo "compcache: cannot build the module, missing:$missing" >&2
echo "On Debian: apt-get install gcc make binutils python3-minimal rustc-web rust-web-src cargo-web linux-headers-amd64" >&2
exit 1
