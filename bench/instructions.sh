#!/bin/sh
# Mean instructions of an allocation and of a free, counted by callgrind, at pools of 1,000,
# 100,000 and 1,000,000 objects. Exit status 1 if a limit does not hold.
#
#   bench/instructions.sh [--json FILE] [--split] [--quick] [--history NAME] [--limit N]
#
#   --json FILE   everything that was counted
#   --split       where the instructions are, by function
#   --quick       without the pool of 1,000,000 objects
#   --history NAME  only this one: random, every_second, ascending, descending, boundary, same_size
#   --limit N     instructions that an operation may take on average; 300, the target, if not given
set -eu
if ! command -v valgrind >/dev/null; then
    cat >&2 <<'TEXT'
instructions.sh: valgrind is not installed. It is in every distribution:
    apt-get install valgrind      (Debian, Ubuntu)
    dnf install valgrind          (Fedora)
    pacman -S valgrind            (Arch)
TEXT
    exit 1
fi
manifest=$(dirname "$0")/Cargo.toml
exec cargo run --quiet --release --manifest-path "$manifest" --example instructions -- "$@"
