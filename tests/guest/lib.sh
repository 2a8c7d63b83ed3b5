# A guest with Debian's kernel under QEMU, without disks: what the tests of this folder share.
#
# Sourced. A package that cannot be installed or fetched fails the run: nothing here skips.
# Emulation only (tcg), so times in the guest mean nothing.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$repository/target}"
guest_dir=${guest_dir:-$CARGO_TARGET_DIR/guest}
# The first Debian kernel with ublk_drv; the package that names the newest of its kind.
guest_kernel=linux-image-6.12-cloud-amd64
guest_memory_mib=320
guest_cpus=2
# Words for qemu about the processor.
guest_processor=(-accel tcg)
# Programs built here that the guest has: names in target/release, or paths.
guest_binaries=(compcache examples/touch_pages)
# More words for qemu: devices.
guest_devices=()
# Programs of this machine that the guest needs, by name, each after the package that brings it.
guest_programs=()

guest_say() { printf 'guest: %s\n' "$*"; }
guest_fail() { guest_say "FAILED: $*" >&2; exit 1; }

guest_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

guest_packages() {
    local missing=() pair
    for pair in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio xz:xz-utils; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    for pair in ${guest_programs[@]+"${guest_programs[@]}"}; do
        command -v "${pair##*:}" >/dev/null || missing+=("${pair%%:*}")
    done
    if ! busybox 2>/dev/null | grep -q poweroff; then missing+=(busybox-static); fi
    [ ${#missing[@]} -gt 0 ] || return 0
    guest_root apt-get update -qq || guest_fail "no package lists"
    guest_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        guest_fail "cannot install ${missing[*]}"
}

# Fetches and unpacks the kernel once.
guest_fetch_kernel() {
    [ ! -e "$guest_dir/kernel/unpacked" ] || return 0
    rm -rf "$guest_dir/kernel"
    mkdir -p "$guest_dir/kernel"
    apt-cache show "$guest_kernel" >/dev/null 2>&1 || guest_root apt-get update -qq || true
    local package
    package=$(apt-cache depends "$guest_kernel" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -1)
    [ -n "$package" ] || guest_fail "no package $guest_kernel"
    (cd "$guest_dir/kernel" && apt-get download -qq "$package" 2>/dev/null) ||
        guest_fail "cannot fetch $package"
    dpkg -x "$guest_dir/kernel/"*.deb "$guest_dir/kernel/files" || guest_fail "cannot unpack $package"
    rm "$guest_dir/kernel/"*.deb
    touch "$guest_dir/kernel/unpacked"
}

# All that a guest with the command needs.
guest_prepare() {
    guest_packages
    guest_fetch_kernel
    cd "$repository"
    cargo build --quiet --release -p compcache-tool
    cargo build --quiet --release -p compcache-sys --example touch_pages
}

# The same for a server that runs here: sets `compcache`, the command, and `work`, a directory. At the end
# that is removed, and the server killed whose number is in `server`.
guest_prepare_server() {
    guest_prepare
    compcache=$CARGO_TARGET_DIR/release/compcache
    work=$(mktemp -d)
    server=
    trap guest_clean_up EXIT
}

guest_clean_up() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$work"
}

# guest_image INIT MODULE... : an initramfs with the programs, what they need, INIT, and modules of the
# kernel or by their paths.
guest_image() {
    local init=$1 root=$guest_dir/image name module file
    shift
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,modules,lib,lib64}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for name in ${guest_binaries[@]+"${guest_binaries[@]}"}; do
        case $name in /*) ;; *) name=$CARGO_TARGET_DIR/release/$name ;; esac
        strip -o "$root/bin/${name##*/}" "$name"
    done
    for name in ${guest_programs[@]+"${guest_programs[@]}"}; do
        cp "$(command -v "${name##*:}")" "$root/bin/"
    done
    find "$root/bin" -type f ! -name busybox -exec ldd {} + | grep -o '/[^ ]*' | grep '\.so' | sort -u |
        while read -r file; do install -D "$file" "$root$file"; done
    for module in "$@"; do
        case $module in
            /*) file=$module ;;
            *) file=$(find "$guest_dir/kernel/files" -name "$module.ko.xz" -o -name "$module.ko" | head -1) ;;
        esac
        [ -n "$file" ] || guest_fail "the kernel has no module $module"
        case $file in
            *.xz) xz -dc "$file" >"$root/modules/$module.ko" ;;
            *) cp "$file" "$root/modules/" ;;
        esac
    done
    cp "$init" "$root/init"
    chmod +x "$root/init"
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$guest_dir/image.gz"
}

# guest_run SECONDS [WORD...] : starts the guest, WORDs on its command line; its output goes here,
# and it has to say that it passed.
guest_run() {
    local seconds=$1 output=$guest_dir/output
    shift
    timeout "$seconds" qemu-system-x86_64 "${guest_processor[@]}" -m "$guest_memory_mib" -smp "$guest_cpus" \
        -kernel "$(find "$guest_dir/kernel/files/boot" -name 'vmlinuz-*' | head -1)" \
        -initrd "$guest_dir/image.gz" \
        -append "console=ttyS0 quiet panic=-1 $*" \
        ${guest_devices[@]+"${guest_devices[@]}"} \
        -nographic -no-reboot -nodefaults -serial stdio </dev/null >"$output" 2>&1 ||
        { tail -50 "$output"; guest_fail "the guest did not end within $seconds s"; }
    tr -d '\r' <"$output"
    grep -q '^guest: passed' "$output" || guest_fail "see above"
}
