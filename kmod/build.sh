#!/usr/bin/env bash
# Builds the module for one kernel: called by the Makefile, which names everything.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
config=$HEADERS/.config
has() { grep -q "^$1=y" "$config"; }

# What kbuild gives C, where a compiler for Rust knows it. No SSE: the target's floating point is
# in software. Without -Zplt and -Zdirect-access-external-data symbols are looked up in a table
# that modules do not have.
flags="-Crelocation-model=static -Ccode-model=kernel -Cno-redzone=yes -Ctarget-cpu=x86-64 -Cjump-tables=no"
flags+=" -Zplt=yes -Zdirect-access-external-data=yes -Cforce-unwind-tables=no"
# With IBT kbuild shows the linked module to objtool; without, it passes over shipped objects.
by_kbuild=
objtool="--hacks=jump_label --hacks=noinstr --mcount --orc --static-call --uaccess"
if has CONFIG_RETPOLINE || has CONFIG_MITIGATION_RETPOLINE; then
    flags+=" -Zretpoline-external-thunk"
    objtool+=" --retpoline"
fi
if has CONFIG_RETHUNK || has CONFIG_MITIGATION_RETHUNK; then
    flags+=" -Zfunction-return=thunk-extern"
    objtool+=" --rethunk"
fi
if has CONFIG_SLS || has CONFIG_MITIGATION_SLS; then
    objtool+=" --sls"
fi
if has CONFIG_X86_KERNEL_IBT; then
    flags+=" -Zcf-protection=branch"
    by_kbuild=1
fi

# One build of the crate for all kernels that want the same.
flavour=$(printf '%s' "$flags" | cksum | cut -d' ' -f1)
crate=$BUILD/rust-$flavour
export RUSTC_BOOTSTRAP=1 RUSTC RUSTFLAGS="$flags" CARGO_TARGET_DIR="$crate"
unset CARGO_ENCODED_RUSTFLAGS RUSTUP_TOOLCHAIN CARGO_BUILD_TARGET
(cd "$here/rust" && "$CARGO" build --quiet --locked --release --target x86_64-unknown-none -Zbuild-std=core)
archive=$crate/x86_64-unknown-none/release/libcompcache_kmod.a

mkdir -p "$OUT"
cd "$OUT"
# The crate with all it uses is one object; the others are the library's own memcpy and the like, which
# the kernel has.
object=$(ar t "$archive" | grep '^compcache_kmod-')
[ "$(wc -l <<<"$object")" = 1 ] || { echo "compcache: expected one object of the crate, found: $object" >&2; exit 1; }
if ! [ compcache_rust.o_shipped -nt "$archive" ]; then
    ar x "$archive" "$object"
    mv "$object" compcache_rust.o
    rm -f compcache_rust.o_shipped
    # shellcheck disable=SC2086
    [ -n "$by_kbuild" ] || "$HEADERS/tools/objtool/objtool" $objtool --module compcache_rust.o
    # Rust's debugging information makes pahole complain; compcache_rust.o keeps it.
    objcopy --strip-debug compcache_rust.o compcache_rust.o_shipped
fi
touch .compcache_rust.o.cmd

for file in compcache.h compcache_device.h compcache_main.c compcache_io.c compcache_attrs.c compcache_shim.c compcache_zpool.c; do
    cmp -s "$here/$file" "$file" || cp "$here/$file" .
done
{
    echo 'obj-m := compcache.o'
    echo 'compcache-y := compcache_main.o compcache_io.o compcache_attrs.o compcache_shim.o compcache_rust.o'
    # zpool went from newer kernels; its interface changed between.
    if grep -q '	zpool_register_driver	' "$HEADERS/Module.symvers"; then
        echo 'compcache-y += compcache_zpool.o'
        # Debian's headers name the folder that kernels share; a kernel's own tree has it all.
        source=$HEADERS
        [ -e "$source/include/linux/zpool.h" ] ||
            source=$(sed -n 's/^source *:= *//p; s/^include \(.*\)\/Makefile$/\1/p' "$HEADERS/Makefile" | head -1)
        if grep -q zpool_ops "$source/include/linux/zpool.h"; then
            echo 'ccflags-y += -DCOMPCACHE_ZPOOL=1'
        else
            echo 'ccflags-y += -DCOMPCACHE_ZPOOL=2'
        fi
    fi
} >Kbuild.new
cmp -s Kbuild.new Kbuild || cp Kbuild.new Kbuild
rm Kbuild.new
make --no-print-directory -s -C "$HEADERS" M="$OUT" modules
