#!/usr/bin/env bash
# Builds the stack without std, checks what it asks the linker for, how much stack its functions
# take, and that a C program can store and read pages with it.
set -euo pipefail
cd "$(dirname "$0")"

# Bytes of stack of one function, beside compcache_init, through which the cache itself passes.
FRAME_MAX=2048
ENTRIES=(init put get write discard compact stats)

target=${CARGO_TARGET_DIR:-target}/no_std
cargo build --quiet --release --target-dir "$target"
library=$target/release/libcompcache_no_std.a

keep=()
for name in "${ENTRIES[@]}"; do keep+=(-u "compcache_$name"); done
whole=$target/compcache.o
ld -r "${keep[@]}" --gc-sections --gc-keep-exported -o "$whole" "$library"

needs=$(nm -u "$whole" | awk '{print $2}' | sort)
echo "undefined symbols: $(echo $needs)"
if extra=$(grep -vxE 'mem(cpy|move|set|cmp)|bcmp' <<<"$needs"); then
    echo "no_std: asks for more than memory functions: $extra" >&2
    exit 1
fi
if found=$(nm -C "$whole" | grep -E '__rust_(alloc|dealloc|realloc)|__rg_|__rdl_| std::| alloc::'); then
    printf 'no_std: std or an allocator is linked:\n%s\n' "$found" >&2
    exit 1
fi

# The largest frames, from the instructions that make room on the stack.
frames=$(objdump -d --no-show-raw-insn -C "$whole" | awk '
    /^[0-9a-f]+ <.*>:$/ { name = $0; sub(/^[0-9a-f]+ </, "", name); sub(/>:$/, "", name) }
    match($0, /sub +\$0x[0-9a-f]+,%rsp/) {
        bytes = substr($0, RSTART, RLENGTH); sub(/.*\$/, "", bytes); sub(/,.*/, "", bytes)
        if (length(bytes) < 10) print bytes, name
    }' | while read -r bytes name; do echo $((bytes)) "$name"; done | sort -rn)
echo "largest stack frames (bytes):"
head -n 5 <<<"$frames"
if large=$(awk -v max=$FRAME_MAX '$1 > max && $2 != "compcache_init"' <<<"$frames" | grep .); then
    printf 'no_std: stack frames of more than %s bytes:\n%s\n' "$FRAME_MAX" "$large" >&2
    exit 1
fi

cc -std=c11 -Wall -Wextra -O1 -o "$target/main" main.c "$library"
"$target/main"
