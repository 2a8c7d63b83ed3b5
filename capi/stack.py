#!/usr/bin/env python3
"""The deepest stack of each function of the C interface, on x86-64.

    capi/stack.py LIBRARY [--max BYTES] [--table]

Links the library, disassembles it, adds up frames along the deepest chain of calls. Where a call goes through
a pointer, CALLS says what it may reach; a caller that is not in there is an error, and so is recursion. What a panic takes is
not counted (it does not return), nor what the embedder's callbacks take. Exit status 1 if a function needs
more than --max.
"""

import argparse
import re
import subprocess
import sys
import tempfile

# Calls through pointers: caller, and what it may reach; "" is the embedder.
CALLS = [
    # Pages, locks and messages; lock_init, lock_destroy and the memory of zsmalloc's shape.
    (r"compcache_capi::host::", ""),
    (r"compcache_capi::object::life::begin$", ""),
    (r"^compcache_(pool|cache)_(create|destroy)$", ""),
    (r"^compcache_zs_(create|destroy)_pool$", ""),
    # An object in more than two pieces: they are looked up by the pool that it is in ...
    (r"alloc_xv::fragments::Parts::(fragments|fragments_into|write_pieces|write|clear|copy_to)$", r"as alloc_xv::fragments::Resolve>::resolve$"),
    (r"alloc_xv::pool::Reading::fragments$", r"as alloc_xv::fragments::Resolve>::resolve$"),
    (r"^compcache_(pool_(read_begin|write|alloc|alloc_from)|zs_(obj_read_begin|malloc))$",
     r"as alloc_xv::fragments::Resolve>::resolve$"),
    # ... which calls back for each of them.
    (r"as alloc_xv::fragments::Resolve>::resolve$", r"alloc_xv::fragments::Parts::\w+::\{\{closure\}\}$|call_once\{\{vtable.shim\}\}$"),
]

# Ends of the road: they do not return.
PANIC = re.compile(r"^(core::panicking|core::slice::index::|core::str::slice_error|core::option::(unwrap|expect)_failed|"
                   r"core::result::unwrap_failed|core::cell::panic|__rustc::rust_begin_unwind|<?core::slice::copy_from_slice|"
                   r"alloc_xv::space::words::corrupt|.*len_mismatch_fail|.*rust_begin_unwind)")
# Functions of memory that the embedder supplies: as leaves of this many bytes.
MEMORY = re.compile(r"^(\*ABS\*|mem(cpy|move|set|cmp)|bcmp|__mem)")
MEMORY_BYTES = 64


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exports(library):
    names = set()
    for line in run("nm", "--defined-only", library).splitlines():
        if found := re.search(r" T (compcache_\w+)$", line):
            names.add(found[1])
    return sorted(names)


def link(library, names, folder):
    """A program that has all of the library's functions, and memory functions of its own."""
    source, program = f"{folder}/main.c", f"{folder}/main"
    with open(source, "w") as file:
        file.write("#include <stddef.h>\n")
        file.write("void _start(void) { for (;;) ; }\n")
        for name in ("memcpy", "memmove"):
            file.write(f"void *{name}(void *to, const void *from, size_t n) {{ (void)from; (void)n; return to; }}\n")
        file.write("void *memset(void *to, int c, size_t n) { (void)c; (void)n; return to; }\n")
        for name in ("memcmp", "bcmp"):
            file.write(f"int {name}(const void *a, const void *b, size_t n) {{ return a == b && n; }}\n")
    keep = [f"-Wl,-u,{name}" for name in names]
    run("cc", "-O1", "-fno-builtin", "-static", "-no-pie", "-nostdlib", "-Wl,--gc-sections", *keep, "-o", program,
        source, library)
    return program


def global_offsets(program):
    """What the words of the global offset table point to."""
    words = {}
    for section in (".got", ".got.plt"):
        dump = subprocess.run(["objdump", "-s", "-j", section, program], capture_output=True, text=True).stdout
        for found in re.finditer(r"^ ([0-9a-f]+) ((?:[0-9a-f]{2,8} ?){1,4}) ", dump, re.M):
            data = bytes.fromhex(found[2].replace(" ", ""))
            for at in range(0, len(data) - 7, 8):
                words[int(found[1], 16) + at] = f"{int.from_bytes(data[at:at + 8], 'little'):x}"
    return words


class Function:
    def __init__(self, name):
        self.name, self.pushed, self.room, self.calls, self.indirect, self.dynamic = name, set(), 0, set(), [], False
        self.loaded = set()  # registers that a function's address was put into

    def frame(self):
        return 8 + 8 * len(self.pushed) + self.room


def disassemble(program):
    functions, current, offsets, before = {}, None, global_offsets(program), ""
    for line in run("objdump", "-d", "--no-show-raw-insn", "-C", program).splitlines():
        if found := re.match(r"^([0-9a-f]+) <(.*)>:$", line):
            current = functions.setdefault(found[1].lstrip("0"), Function(found[2]))
            continue
        found = re.match(r"^\s+([0-9a-f]+):\t(\S+)\s*(.*)$", line)
        if not found or current is None:
            continue
        address, op, args = found.groups()
        if op in ("addr32", "bnd", "notrack", "data16", "rep", "lock", "repz"):
            op, _, args = args.partition(" ")
            args = args.strip()
        last, before = before, f"{op} {args}"
        if op in ("lea", "mov") and (known := re.search(r"\(%rip\),(%r\w+)\s+# ([0-9a-f]+) (<[^+]*>)?", args)):
            # The address of a function: it may be called through this register.
            target = offsets.get(int(known[2], 16)) if op == "mov" else known[2] if known[3] else None
            # What formats numbers is there for panics, which are not counted.
            if target and not ("core::fmt::" in (known[3] or "")):
                current.calls.add(target)
                current.loaded.add(known[1])
        elif op.startswith("push"):
            # Callee-saved registers are pushed once on each path; other values count each time.
            current.pushed.add(args if re.fullmatch(r"%r(bp|bx|1[2-5]|ax)", args) else address)
        elif op.startswith("sub") and args.endswith(",%rsp"):
            if not args.startswith("$"):
                current.dynamic = True
            else:
                current.room += int(args[1:].split(",")[0], 16)
        elif op.startswith("and") and args.endswith(",%rsp"):
            current.room += -int(args[1:].split(",")[0], 16) & 0xffff
        elif op.startswith("call") or op.startswith("jmp"):
            target = re.match(r"^([0-9a-f]+) <(.*?)(\+0x[0-9a-f]+)?>$", args)
            if target and not (op.startswith("jmp") and (target[3] or target[2] == current.name)):
                current.calls.add(target[1])
            elif (slot := re.search(r"\(%rip\)\s+# ([0-9a-f]+) ", args)) and int(slot[1], 16) in offsets:
                current.calls.add(offsets[int(slot[1], 16)])
            elif op.startswith("jmp") and re.fullmatch(rf"add %\w+,{re.escape(args[1:])}", last):
                pass  # a table of cases
            elif args.startswith("*") and args[1:] not in current.loaded:
                current.indirect.append(f"{op} {args}")
        elif re.match(r"j\w+", op):
            target = re.match(r"^([0-9a-f]+) <(.*?)>$", args)
            if target and "+0x" not in target[2] and target[2] != current.name:
                current.calls.add(target[1])
    return functions


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("library")
    arguments.add_argument("--max", type=int, default=2048)
    arguments.add_argument("--table", action="store_true", help="all functions, as a table")
    chosen = arguments.parse_args()

    names = exports(chosen.library)
    with tempfile.TemporaryDirectory() as folder:
        functions = disassemble(link(chosen.library, names, folder))
    by_name = {}
    for address, function in functions.items():
        by_name.setdefault(function.name, address)

    problems, done, active = [], {}, []

    def depth(address):
        function = functions.get(address)
        if function is None or PANIC.match(function.name):
            return 0, ()
        if MEMORY.match(function.name):
            return MEMORY_BYTES, (function.name,)
        if address in done:
            return done[address]
        if address in active:
            problems.append(f"recursion: {function.name}")
            return 0, ()
        active.append(address)
        if function.dynamic:
            problems.append(f"a frame of variable size: {function.name}")
        reached = set(function.calls)
        for call in function.indirect:
            if call.startswith("jmp") and re.search(r"\(,%r\w+,8\)", call):
                continue  # a table of cases
            rules = [callee for caller, callee in CALLS if re.search(caller, function.name)]
            if not rules:
                problems.append(f"a call through a pointer that CALLS does not know: {function.name}: {call}")
            for callee in filter(None, rules):
                reached |= {other for other, found in functions.items() if re.search(callee, found.name)}
        deepest = max((depth(callee) for callee in reached), default=(0, ()))
        active.pop()
        done[address] = (function.frame() + deepest[0], (f"{function.name} {function.frame()}",) + deepest[1])
        return done[address]

    table = sorted(((depth(by_name[name]), name) for name in names), reverse=True)
    for (bytes_, chain), name in table if chosen.table else table[:3]:
        print(f"{bytes_:6} {name}")
        if not chosen.table:
            for step in chain:
                print(f"         {step}")
    for problem in sorted(set(problems)):
        print(f"stack.py: {problem}", file=sys.stderr)
    worst = table[0][0][0]
    print(f"deepest stack: {worst} bytes ({table[0][1]}), of {len(names)} functions; at most {chosen.max} are allowed")
    return 1 if problems or worst > chosen.max else 0


if __name__ == "__main__":
    sys.exit(main())
