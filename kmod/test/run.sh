#!/usr/bin/env bash
# Builds the module, looks at its use of the stack, tests it in guests under QEMU (emulation: no KVM
# needed), and compares it with the kernel's zram. The last line is the summary; status 0 if all held.
#
#   kmod/test/run.sh [PART...]     PART: build, stack, functional, zswap, new, debug, compare; all of them without
#
# COMPCACHE_CORPUS=DIR   a directory of NAME.pages or NAME.pages.zst: the comparison is also made with
#                        the pages in it
# ROUNDS=N               rounds of the comparison (3)
set -euo pipefail
kmod=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$kmod/build}
mkdir -p "$BUILD/test"
# Of all guests; each kernel has its own folder below.
guest_dir=$BUILD/test/guest
export CARGO_TARGET_DIR=$BUILD/tool
source "$kmod/../tests/guest/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
began=$SECONDS
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(build stack functional zswap new debug compare)
wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }

packages() {
    local missing=() pair
    for pair in gcc:gcc make:make ar:binutils python3:python3-minimal fio:fio mke2fs:e2fsprogs zstd:zstd \
        /usr/bin/rustc:rustc-web /usr/bin/cargo:cargo-web; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ -n "$(ls -d /usr/src/rustc-*/library 2>/dev/null)" ] || missing+=(rust-web-src)
    [ ${#missing[@]} -gt 0 ] || return 0
    guest_root apt-get update -qq || guest_fail "no package lists"
    guest_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        guest_fail "cannot install ${missing[*]}"
}

# kernel NAME PACKAGE: fetches the image that a package of Debian's stands for, and installs its headers.
kernel() {
    guest_dir=$BUILD/test/$1
    guest_kernel=$2
    guest_fetch_kernel
    version=$(basename "$guest_dir"/kernel/files/boot/vmlinuz-*)
    version=${version#vmlinuz-}
    [ -e "/usr/src/linux-headers-$version/Makefile" ] ||
        guest_root apt-get install -y -qq --no-install-recommends "linux-headers-$version" >/dev/null ||
        guest_fail "cannot install linux-headers-$version"
    make --no-print-directory -C "$kmod" BUILD="$BUILD" KERNEL="$version" >"$guest_dir/make.out" 2>&1 ||
        { cat "$guest_dir/make.out"; guest_fail "the module does not build for $version"; }
    # Debian's packages have no image to make BTF from; that is not the module's.
    if grep -v 'Skipping BTF generation' "$guest_dir/make.out" | grep .; then
        guest_fail "warnings of the build for $version, above"
    fi
    guest_say "built for $version: $(stat -c %s "$BUILD/$version/compcache.ko") bytes with all debugging information"
}

programs() {
    local name
    for name in "$kmod/test/pages.rs" "$kmod/../sys/examples/touch_pages.rs"; do
        /usr/bin/rustc --edition 2024 -O -C strip=symbols -o "$BUILD/test/$(basename "$name" .rs)" "$name"
    done
}

# The default pages of the project's benchmark, as a file.
default_pages() {
    [ ! -e "$BUILD/test/default.pages" ] || return 0
    (cd "$kmod/.." && RUSTC=/usr/bin/rustc CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=false /usr/bin/cargo build --quiet --locked --release \
        --no-default-features -p compcache-tool) || guest_fail "the command does not build"
    "$CARGO_TARGET_DIR/release/compcache" generate --size 96M -o "$BUILD/test/default.pages.new" >/dev/null
    mv "$BUILD/test/default.pages.new" "$BUILD/test/default.pages"
}

# A disk with the programs and pages that guests use.
tools() {
    local root=$BUILD/test/tools file
    rm -rf "$root" "$BUILD/test/tools.img"
    mkdir -p "$root/bin" "$root/lib"
    for file in fio mke2fs e2fsck; do
        cp "$(command -v $file)" "$root/bin/"
        ldd "$root/bin/$file" | grep -o '/[^ ]*\.so[^ ]*' | sort -u | xargs -I{} cp -Ln {} "$root/lib/"
    done
    cp "$BUILD/test/default.pages" "$root/"
    head -c 16M "$BUILD/test/default.pages" >"$root/small.pages"
    tail -c 16M "$BUILD/test/default.pages" >"$root/other.pages"
    if [ -n "${COMPCACHE_CORPUS:-}" ]; then
        rm -f "$BUILD/test/corpus.pages"
        for file in "$COMPCACHE_CORPUS"/*.pages "$COMPCACHE_CORPUS"/*.pages.zst; do
            case $file in
                *'*'*) ;;
                *.zst) zstd -dcq "$file" >>"$BUILD/test/corpus.pages" ;;
                *) cat "$file" >>"$BUILD/test/corpus.pages" ;;
            esac
        done
        cp "$BUILD/test/corpus.pages" "$root/"
    fi
    mke2fs -q -F -t ext4 -O ^has_journal -m 0 -d "$root" "$BUILD/test/tools.img" \
        "$(($(du -sm "$root" | cut -f1) * 11 / 10 + 16))M" || guest_fail "no disk image"
}

virtio=(virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk
    crc16 crc32c_generic libcrc32c mbcache jbd2 ext4)
disks() {
    guest_devices=(-drive "file=$BUILD/test/tools.img,format=raw,if=virtio,readonly=on,cache=unsafe")
}
# image NAME MODULE...: an initramfs of its own for a guest; modules a kernel lacks are built into it.
image() {
    local kernel=$BUILD/test/$1 modules=() name
    shift
    for name in "${virtio[@]}" "$@"; do
        [[ $name == /* ]] || find "$kernel/kernel/files" -name "$name.ko*" | grep -q . || continue
        modules+=("$name")
    done
    guest_binaries=("$BUILD/test/pages" "$BUILD/test/touch_pages")
    guest_image "$kmod/test/init" "${modules[@]}"
}

# checks VERSION CONFIG: what this kernel has of checks, as words for its command line in `options`, and as
# names for the guest in `names`, which is shown that each is on.
checks() {
    local name symbol words
    options=(panic_on_warn=1 no_hash_pointers) names=
    local lacks=()
    [ -s "$2" ] || guest_fail "no configuration of $1"
    while read -r name symbol words; do
        if grep -q "^CONFIG_$symbol=y" "$2"; then
            names+=${names:+,}$name
            # shellcheck disable=SC2206
            options+=($words)
        else
            lacks+=("$symbol")
        fi
    done <<'END'
slub SLUB_DEBUG slub_debug=FZPU
poison PAGE_POISONING page_poison=1 init_on_alloc=1 init_on_free=1
kfence KFENCE kfence.sample_interval=5
pagealloc DEBUG_PAGEALLOC debug_pagealloc=on
owner PAGE_OWNER page_owner=on
kmemleak DEBUG_KMEMLEAK kmemleak=on
preempt PREEMPT_DYNAMIC preempt=full
shuffle SHUFFLE_PAGE_ALLOCATOR page_alloc.shuffle=1
stall PREEMPT_RCU rcupdate.rcu_cpu_stall_timeout=6
watchdog SOFTLOCKUP_DETECTOR
hang DETECT_HUNG_TASK
wx DEBUG_WX
list BUG_ON_DATA_CORRUPTION
lockdep PROVE_LOCKING
END
    guest_say "$1 is built without ${lacks[*]}"
}
# Errors made on purpose, as a module.
faults() {
    local out=$BUILD/$1/faults
    mkdir -p "$out"
    cp "$kmod/test/faults.c" "$out/"
    echo 'obj-m := faults.o' >"$out/Kbuild"
    make --no-print-directory -s -C "/usr/src/linux-headers-$1" M="$out" modules >"$out/make.out" 2>&1 ||
        { cat "$out/make.out"; guest_fail "faults.ko does not build for $1"; }
}
# debug KERNEL VERSION MIB
debug() {
    faults "$2"
    checks "$2" "$(find "$BUILD/test/$1/kernel/files/boot" -name 'config-*')"
    guest_modules=("$BUILD/$2/compcache.ko" "$BUILD/$2/faults/faults.ko")
    guest_memory_mib=$3
    guest "$1" "debug-$1" 400 run=debug "checks=$names" "${options[@]}"
}

# guest KERNEL NAME SECONDS WORD...: in a folder of its own, so that several may run at once.
guest() {
    local kernel=$1 name=$2 seconds=$3 from=$SECONDS
    shift 3
    guest_dir=$BUILD/test/run-$name
    mkdir -p "$guest_dir"
    ln -sfn "$BUILD/test/$kernel/kernel" "$guest_dir/kernel"
    shift 0
    image "$kernel" "${guest_modules[@]}"
    guest_run "$seconds" "$@"
    guest_say "$name took $((SECONDS - from)) s"
}

packages
guest_packages
kernel old linux-image-amd64
old=$version
new=
if wants new || wants debug; then
    kernel new linux-image-6.12-amd64
    new=$version
fi
if wants stack; then
    for version in "$old" ${new:+"$new"}; do
        python3 "$kmod/stack.py" "$BUILD/$version/compcache_rust.o" 2048 >"$BUILD/test/stack.out" ||
            { cat "$BUILD/test/stack.out"; guest_fail "the stack"; }
        guest_say "$version: $(tail -1 "$BUILD/test/stack.out")"
    done
fi
if wants functional || wants zswap || wants new || wants debug || wants compare; then
    programs
    default_pages
    tools
fi

functional() {
    disks
    # Twice the memory compresses to 0.88 of it: the rest has to be more than the system needs.
    guest_memory_mib=420
    guest_modules=("$BUILD/$old/compcache.ko")
    if wants functional; then guest old functional 300 "run=${TESTS:-swap,attributes,files,leaks}"; fi
    if wants new; then
        guest_modules=("$BUILD/$new/compcache.ko")
        guest_memory_mib=450
        guest new new 300 run=swap,attributes,files,leaks
    fi
    if wants zswap; then
        truncate -s 512M "$BUILD/test/swap.img"
        guest_devices+=(-drive "file=$BUILD/test/swap.img,format=raw,if=virtio,cache=unsafe")
        guest_memory_mib=192
        guest_modules=("$BUILD/$old/compcache.ko" zbud)
        guest old zswap 200 run=zswap
    fi
}
debugging() {
    disks
    debug old "$old" 420
    debug new "$new" 450
}
# Time is counted in instructions, a nanosecond each: figures that a busy machine does not change.
comparison() {
    disks
    guest_cpus=1
    guest_processor=(-accel tcg -icount "shift=0,sleep=off")
    guest_memory_mib=640
    guest_modules=("$BUILD/$old/compcache.ko" lz4_compress lz4 zsmalloc zram)
    guest old compare 500 run=compare "rounds=${ROUNDS:-3}"
}

# Two at once: for most of the time one of them uses one CPU.
functional >"$BUILD/test/functional.out" 2>&1 &
first=$!
trap 'kill $first 2>/dev/null || true' EXIT
status=0
rm -f "$BUILD/test/compare.out" "$BUILD/test/debug.out"
if wants compare; then (comparison) >"$BUILD/test/compare.out" 2>&1 || status=1; fi
if wants debug; then (debugging) >"$BUILD/test/debug.out" 2>&1 || status=1; fi
wait $first || status=1
trap - EXIT
grep -ah '^guest: ' "$BUILD/test/functional.out" "$BUILD/test/debug.out" 2>/dev/null || true
if [ $status != 0 ]; then
    grep -aE '^guest: FAILED' "$BUILD/test/compare.out" 2>/dev/null || true
    guest_fail "see $BUILD/test/*.out"
fi
if wants compare; then python3 "$kmod/test/report.py" "$BUILD/test/compare.out" || status=1; fi
if [ $status = 0 ]; then verdict="all held"; else verdict="NOT all held"; fi
echo "kmod: $verdict; parts: ${parts[*]}; $((SECONDS - began)) s"
exit $status
