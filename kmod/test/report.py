#!/usr/bin/env python3
"""The comparison with zram, from what the guest said: a table of medians, and whether the bars hold."""
import collections
import statistics
import sys

BARS = {"memory": 0.97, "memory after churn": 0.92, "time": 1.2}


def read(path):
    """(device, set) -> step -> key -> values of all rounds."""
    found = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(list)))
    for line in open(path, errors="replace"):
        words = line.split()
        if len(words) < 5 or words[0] != "result":
            continue
        device, group, step, rest = words[1], words[2], words[3], words[4:]
        if step == "mm_stat":
            found[device, group][step]["used"].append(int(rest[2]))
            continue
        for key, value in zip(rest[::2], rest[1::2]):
            found[device, group][step][key].append(float(value))
    return found


def main():
    found = read(sys.argv[1])
    groups = sorted({group for _, group in found} - {"swap", "fio"})
    failed = []
    rows = []

    def median(device, group, step, key):
        return statistics.median(found[device, group][step][key])

    def row(what, ours, theirs, unit, bar=None):
        ratio = ours / theirs
        held = "" if bar is None else ("ok" if ratio <= bar else "NOT HELD")
        rows.append((what, f"{theirs:.0f}", f"{ours:.0f}", unit, f"{ratio:.3f}", "" if bar is None else f"{bar:.2f}", held))
        if held == "NOT HELD":
            failed.append(f"{what}: {ratio:.3f}, expected at most {bar}")

    for group in groups:
        def memory(device, step):
            values = zip(found[device, group]["fixed"]["kib"], found[device, group]["begin"]["available"],
                         found[device, group][step]["available"])
            return statistics.median(fixed + begin - now for fixed, begin, now in values)

        for step, what, bar in (("fill", "fill", "memory"), ("churn", "churn", "memory after churn"),
                                ("dropped", "churn, file pages dropped", "memory after churn")):
            row(f"{group}: memory, {what}", memory("compcache", step), memory("zram", step), "KiB", BARS[bar])
        for step, what in (("shrunk", "churn, shrinkers called"), ("packed", "churn, packed by order")):
            row(f"{group}: memory, {what}", *(median(device, group, step, "kib") for device in ("compcache", "zram")),
                "KiB", BARS["memory after churn"])
        row(f"{group}: mm_stat, at the end", median("compcache", group, "mm_stat", "used") / 1024,
            median("zram", group, "mm_stat", "used") / 1024, "KiB")
        for step, what in (("shrunk", "shrinkers called"), ("packed", "packed by order")):
            row(f"{group}: mm_stat, {what}", *(median(device, group, step, "used") / 1024
                                               for device in ("compcache", "zram")), "KiB")
        total = {}
        for step in ("fill", "read", "churn", "read_again"):
            ours, theirs = (median(device, group, step, "us") for device in ("compcache", "zram"))
            row(f"{group}: time, {step}", ours, theirs, "us")
            total[step] = (ours, theirs)
        row(f"{group}: time, all of it", sum(ours for ours, _ in total.values()),
            sum(theirs for _, theirs in total.values()), "us", BARS["time"])
    row("swap: time", median("compcache", "swap", "swap", "us"), median("zram", "swap", "swap", "us"), "us", BARS["time"])
    sums = [0.0, 0.0]
    for mode in ("write", "randread", "randwrite", "randrw"):
        pair = [median(device, "fio", mode, "us") for device in ("compcache", "zram")]
        row(f"fio: time, {mode}", *pair, "us")
        sums = [sum(pair) for pair in zip(sums, pair)]
    row("fio: time, all of it", *sums, "us", BARS["time"])
    mismatches = sum(sum(step.get("mismatches", [])) for steps in found.values() for step in steps.values())
    if mismatches:
        failed.append(f"{mismatches:.0f} mismatches")

    rows.insert(0, ("medians", "zram", "ours", "", "ratio", "bar", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(word.ljust(width) if column in (0, 3, 6) else word.rjust(width)
                        for column, (word, width) in enumerate(zip(row, widths))).rstrip())
    rounds = len(found["zram", "swap"]["swap"]["us"])
    print(f"{rounds} interleaved rounds; memory is what MemAvailable fell by, modules and tables included; "
          "time is instructions of the guest")
    for line in failed:
        print("NOT HELD:", line)
    sys.exit(1 if failed else 0)


main()
