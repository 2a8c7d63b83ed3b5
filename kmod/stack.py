#!/usr/bin/env python3
"""The deepest use of the stack by the crate's functions, from its disassembly.

    stack.py OBJECT LIMIT

A frame is what a function pushes and subtracts, and the return address. A call through a register may
lead to any function that stands at the same place of any table of functions (of a trait or closure). What the C side does with its stack
when it is called is not ours and not counted. Fails over LIMIT bytes, where the stack grows by an amount
that is not in the code, and where functions call each other in a circle.
"""
import collections
import re
import subprocess
import sys


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


HEAD = re.compile(r"^[0-9a-f]+ <(.*)>:$")
CODE = re.compile(r"^\s+([0-9a-f]+):\t(\S+)\s*(.*)$")
ARGUMENTS = {"rdi", "rsi", "rdx", "rcx", "r8", "r9"}
LOAD = re.compile(r"^(?:(0x[0-9a-f]+))?\(%\w+\),%(\w+)$")
COPY = re.compile(r"^%(\w+),%(\w+)$")
RELOCATION = re.compile(r"^\s+[0-9a-f]+: (R_X86_64_\S+)\s+(\S+?)([-+]0x[0-9a-f]+)?$")


def read(path):
    """Functions with the bytes of their frames and what they call, and whose address is taken."""
    frames, calls, starts = {}, collections.defaultdict(set), {}
    indirect, grows = collections.defaultdict(set), set()
    loads, copies = collections.defaultdict(set), collections.defaultdict(set)
    section = name = mnemonic = None
    for line in run("objdump", "-dr", "--no-show-raw-insn", path).splitlines():
        if line.startswith("Disassembly of section "):
            section = line.split()[-1].rstrip(":")
        elif match := HEAD.match(line):
            name = match[1]
            frames[name] = 8
            starts.setdefault(section, name)
        elif match := CODE.match(line):
            _, mnemonic, rest = match.groups()
            if mnemonic == "push":
                frames[name] += 8
            elif mnemonic == "sub" and rest.endswith(",%rsp"):
                amount = re.match(r"\$(0x[0-9a-f]+),", rest)
                if amount:
                    frames[name] += int(amount[1], 16)
                else:
                    grows.add(name)
            elif mnemonic == "mov" and (load := LOAD.match(rest)):
                loads[name, load[2]].add(int(load[1] or "0", 16))
            elif mnemonic == "mov" and (copy := COPY.match(rest)):
                copies[name, copy[2]].add(copy[1])
            elif mnemonic in ("call", "jmp") and rest.startswith("*"):
                sys.exit(f"stack: {name} calls through a register without a thunk: not understood")
            elif mnemonic.startswith(("call", "j")):
                # Inside the object a jump may have no relocation.
                target = re.search(r"<([^+>]+)>$", rest)
                if target and target[1] != name:
                    calls[name].add(target[1])
        elif match := RELOCATION.match(line):
            symbol = match[2]
            if mnemonic and mnemonic.startswith(("call", "j")):
                thunk = re.match(r"__x86_indirect_thunk_(\w+)", symbol)
                if thunk:
                    indirect[name].add(thunk[1])
                else:
                    calls[name].add(symbol)
    return frames, calls, places_of(calls, indirect, loads, copies, starts), grows, starts


def places_of(calls, indirect, loads, copies, starts):
    """For each function that calls through a register: from which places of a table of functions
    that may have come, there or, if it was handed in, in its callers."""
    places = {}
    for name, registers in indirect.items():
        known = set(registers)
        while more := set().union(*(copies[name, register] for register in known)) - known:
            known |= more
        found = set().union(*(loads[name, register] for register in known))
        # The first three words of such a table are no functions to call, and none here is long.
        found = {place for place in found if 0x18 <= place < 0x80}
        if not found:
            for caller, called in calls.items():
                if name in {starts.get(to, to) for to in called}:
                    found |= set().union(*(loads[caller, register] for register in known & ARGUMENTS))
        places[name] = found
    return places


def main():
    path, limit = sys.argv[1], int(sys.argv[2])
    frames, calls, indirect, grows, starts = read(path)

    def resolve(symbol):
        # A section's name stands for the function at its start.
        return symbol if symbol in frames else starts.get(symbol, symbol)

    edges = {name: {resolve(to) for to in calls[name]} - {name} for name in frames}
    # Tables of functions, by the place in the table: that of a trait has size and alignment first.
    entries_at = collections.defaultdict(set)
    section = ""
    for line in run("readelf", "-Wr", path).splitlines():
        if line.startswith("Relocation section"):
            section = line.split("'")[1]
        field = line.split()
        if section.startswith(".rela.rodata") and len(field) > 4 and field[2] == "R_X86_64_64":
            name = resolve(field[4])
            if name in frames:
                entries_at[int(field[0], 16)].add(name)
    for name, places in indirect.items():
        targets = set().union(*(entries_at[place] for place in places))
        if not targets:
            sys.exit(f"stack: it is not clear what {name} calls through a register")
        edges[name] |= targets
    for name in sorted(grows):
        sys.exit(f"stack: {name} grows by an amount that is not in the code")

    depth, path_of = {}, {}

    def walk(name, above):
        if name not in frames:
            return 0
        if name in above:
            sys.exit("stack: a circle: " + " -> ".join([*above[above.index(name):], name]))
        if name not in depth:
            best, then = 0, None
            for to in sorted(edges[name]):
                below = walk(to, [*above, name])
                if below > best:
                    best, then = below, to
            depth[name], path_of[name] = frames[name] + best, then
        return depth[name]

    sys.setrecursionlimit(10000)
    entries = sorted(name for name in frames if name.startswith("compcache_"))
    if not entries:
        sys.exit("stack: no functions for C found")
    for name in entries:
        walk(name, [])
    deepest = max(entries, key=lambda name: depth[name])
    print(f"stack: {len(entries)} functions for C, {len(frames)} in all; the deepest need, in bytes:")
    for name in sorted(entries, key=lambda name: -depth[name])[:5]:
        print(f"  {depth[name]:6} {name}")
    print(f"  by way of")
    name = deepest
    while name:
        print(f"  {frames[name]:6}   {name}")
        name = path_of.get(name)
    if depth[deepest] > limit:
        sys.exit(f"stack: {depth[deepest]} bytes; expected at most {limit}")
    print(f"stack: deepest {depth[deepest]} bytes, limit {limit}: ok")


main()
