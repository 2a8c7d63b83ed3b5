#!/usr/bin/env bash
# Manual pages, completions and the systemd unit, read by the programs that will read them.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo run --quiet -p compcache-tool -- generate-docs "$out"

if command -v groff >/dev/null 2>&1; then
    for page in "$out"/*.1; do
        said=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
        [ -z "$said" ] || { printf 'documents.sh: %s\n' "$said" >&2; exit 1; }
    done
else
    echo "  groff is not installed: manual pages are not checked" >&2
    [ "${CI:-false}" != true ] || exit 1
fi

bash -n "$out/compcache.bash"
# What the user gets at `compcache ct<Tab>`.
offered=$(bash -c 'source "$1/compcache.bash"
    COMP_WORDS=(compcache ct) COMP_CWORD=1
    _compcache compcache ct compcache
    echo "${COMPREPLY[*]}"' _ "$out")
[ "$offered" = ctl ] || { echo "documents.sh: bash offers '$offered' for 'compcache ct'" >&2; exit 1; }

# It looks for the programs that units name; ours is not installed.
if command -v systemd-analyze >/dev/null 2>&1; then
    mkdir "$out/units"
    for unit in dist/*.service; do
        sed "s|/usr/bin/compcache|/bin/true|" "$unit" >"$out/units/${unit##*/}"
    done
    said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$out"/units/*.service 2>&1 |
        grep -F "$out/units" || true)
    [ -z "$said" ] || { printf 'documents.sh: %s\n' "$said" >&2; exit 1; }
fi
