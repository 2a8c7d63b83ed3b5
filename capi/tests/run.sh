#!/usr/bin/env bash
# The C interface: headers are current, the library asks for nothing but memory functions, its stack is bounded, and
# a C program that provokes every error passes, natively, under valgrind, and under AddressSanitizer with UBSan.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\ncapi: %s (%d s)\n' "$*" "$SECONDS"; }

skipped() {
    printf '\n!!!! SKIPPED: %s\n\n' "$*" >&2
    [ "${CI:-false}" != true ] || exit 1
}

missing=()
for tool in valgrind gcc g++; do command -v $tool >/dev/null || missing+=($tool); done
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq "${missing[@]}" || true
fi

step "headers"
cargo test --quiet -p compcache-capi --test headers

step "library"
library=$(./build.sh)
out=$(cd "$(dirname "$library")" && pwd)/tests
mkdir -p "$out"

# What it asks the linker for, and that neither std nor an allocator is in it.
whole=$out/whole.o
ld -r --gc-sections --gc-keep-exported $(nm --defined-only "$library" 2>/dev/null | sed -n 's/.* T \(compcache_.*\)/-u \1/p') -o "$whole" "$library"
needs=$(nm -u "$whole" | awk '{print $2}' | sort)
echo "undefined symbols:" $needs
if extra=$(grep -vxE 'mem(cpy|move|set|cmp)|bcmp' <<<"$needs"); then
    echo "capi: asks for more than memory functions: $extra" >&2
    exit 1
fi
if found=$(nm -C "$whole" | grep -E '__rust_(alloc|dealloc|realloc)|__rg_|__rdl_| std::| alloc::'); then
    printf 'capi: std or an allocator is linked:\n%s\n' "$found" >&2
    exit 1
fi
if [ "$(uname -m)" = x86_64 ]; then
    max=$(sed -n 's/^#define COMPCACHE_STACK_MAX //p' include/compcache.h)
    python3 stack.py "$library" --max "$max" | tail -n 1
fi

step "gcc and g++"
flags=(-Wall -Wextra -Werror -Iinclude -pthread)
gcc -std=c11 -D_GNU_SOURCE -O1 -g "${flags[@]}" -o "$out/main" tests/*.c "$library"
g++ -std=c++11 "${flags[@]}" -o "$out/cxx" tests/cxx.cc "$library"
"$out/cxx"
# The most objects a pool can have take a gigabyte.
if [ "$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)" -gt 2500 ]; then
    "$out/main"
else
    skipped "the test of a full pool needs 2.5 GiB of memory"
    "$out/main" pool cache errors failures threads zs panic stack
fi

tests=(pool cache errors failures threads zs)
step "AddressSanitizer and UBSan"
# With a nightly compiler the library's own accesses are checked too, not only those of the C program.
checked=$library
if cargo +nightly --version >/dev/null 2>&1; then
    RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=address" cargo +nightly rustc --quiet -p compcache-capi --lib --profile capi \
        --crate-type staticlib --target "$(rustc -vV | sed -n 's/^host: //p')" --target-dir "$(dirname "$library")/asan" -- \
        --cfg compcache_panic_handler
    checked=$(echo "$(dirname "$library")"/asan/*/capi/libcompcache_capi.a)
else
    skipped "the library itself under AddressSanitizer needs a nightly toolchain: rustup toolchain install nightly"
fi
gcc -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all "${flags[@]}" \
    -o "$out/main-asan" tests/*.c "$checked"
ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 "$out/main-asan" "${tests[@]}"

step "valgrind"
if command -v valgrind >/dev/null; then
    valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all \
        --fair-sched=yes "$out/main" "${tests[@]}"
else
    skipped "valgrind is not installed: apt-get install valgrind"
fi

step "the example"
make --quiet -C example LIBRARY="$library" OUT="$out/example"
"$out/example"
make --quiet -C example install LIBRARY="$library" DESTDIR="$out/staging" PREFIX=/usr
test -f "$out/staging/usr/lib/libcompcache.a" && grep -q '^Version: [0-9]' "$out/staging/usr/lib/pkgconfig/compcache.pc"

step "all passed"
