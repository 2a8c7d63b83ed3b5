#!/usr/bin/env python3
"""Checks the JSON of `compcache bench --tiers`: its shape, and what must hold.

    ci/check_tiers.py FILE            shape, no wrong page, memory
    ci/check_tiers.py --times FILE    times as well: for a machine that does nothing else

Every bar is printed with what was measured. With `--quick` pages and phases are few: tables and
workspaces weigh more than in a real store, so memory is checked less strictly there (--quick).
"""

import json
import sys

SETTING_KEYS = [
    "effective_ratio", "lz4_effective_ratio", "zstd1_effective_ratio",
    "hot_get_p50_vs_lz4", "mean_get_vs_lz4", "put_vs_lz4", "mismatches",
]
LATENCY = ["mean", "p50", "p99", "p999", "max"]
LATENCIES = ["get_ns", "hot_get_ns", "cold_get_ns", "put_ns", "fill_put_ns"]
RATIO_MIN = {"cold80": 1.45, "cold95": 1.6}

failures = []


def ensure(condition, text):
    if not condition:
        failures.append(text)


def bar(what, got, low=None, high=None, below=None, enforced=True):
    holds = (low is None or got >= low) and (high is None or got <= high) \
        and (below is None or got < below)
    aim = f">= {low}" if low is not None else f"<= {high}" if high is not None else f"< {below}"
    note = "" if holds else "  MISSED" if enforced else "  missed (not enforced)"
    print(f"  {what:<58}{got:>10.4f}  {aim}{note}")
    if enforced:
        ensure(holds, f"{what}: {got:.4f}, expected {aim}")


def latency(value, where):
    for key in LATENCY:
        ensure(isinstance(value[key], (int, float)) and value[key] >= 0, f"{where}.{key}: {value[key]!r}")
    order = [value[key] for key in LATENCY[1:]]
    ensure(order == sorted(order), f"{where}: percentiles out of order: {order}")


def check_setting(name, setting, memory, times):
    for key in SETTING_KEYS:
        ensure(isinstance(setting[key], (int, float)), f"{name}.{key}: {setting[key]!r}")
    ensure(setting["mismatches"] == 0, f"{name}: {setting['mismatches']} pages came back different")
    names = [store["name"] for store in setting["stores"]]
    ensure(names == ["lz4", "zstd1", "tiered"], f"{name}: stores are {names}")
    for store in setting["stores"]:
        for key in LATENCIES:
            latency(store[key], f"{name}, {store['name']}: {key}")
    held = {store["memory"]["pages_held"] for store in setting["stores"]}
    ensure(len(held) == 1, f"{name}: the stores hold {held} pages")
    more = setting["effective_ratio"] / setting["lz4_effective_ratio"]
    bar(f"{name}: effective ratio, of LZ4's", more, low=RATIO_MIN[name], enforced=memory)
    bar(f"{name}: median hot get, of LZ4's", setting["hot_get_p50_vs_lz4"], high=1.1, enforced=times)
    bar(f"{name}: mean get, of LZ4's", setting["mean_get_vs_lz4"], high=1.6, enforced=times)
    bar(f"{name}: put, of LZ4's", setting["put_vs_lz4"], high=1.1, enforced=times)
    bar(f"{name}: put while filling, of LZ4's", setting["fill_put_vs_lz4"], high=1.1, enforced=times)


def check_copies(copies, memory, times):
    ensure(copies["mismatches"] == 0, f"copies: {copies['mismatches']} pages came back different")
    bar("second copy, of what LZ4 takes for it", copies["second_copy_vs_lz4"], high=0.10, enforced=memory)
    unrelated = copies["unrelated"]
    ensure(unrelated["mismatches"] == 0, f"unrelated: {unrelated['mismatches']} pages came back different")
    bar("unrelated pages: time of puts, on to off", unrelated["put_on_vs_off"], high=1.02, enforced=times)
    bar("unrelated pages: memory, on to off", unrelated["memory_on_vs_off"], high=1.003, enforced=memory)


def check_writeback(back):
    ensure(back["mismatches"] == 0, f"writeback: {back['mismatches']} pages came back different")
    ensure(back["unreadable"] == 0, f"writeback: {back['unreadable']} gets failed")
    ensure(back["counters"]["written_back"] > 0, "writeback: nothing was written back")
    ensure(back["mem_used_max"] <= back["mem_limit"], f"writeback: {back['mem_used_max']} bytes used with a limit of {back['mem_limit']}")
    ensure(back["text_runs"] > 0, "writeback: the pages have no text to look for")
    ensure(back["text_runs_found"] == 0, f"writeback: {back['text_runs_found']} runs of text are in the file")
    bar("backing file, for each compressed byte", back["file_per_compressed"], high=1.05)


def check_long(long):
    for store in long["stores"]:
        ensure(store["mismatches"] == 0, f"long run, {store['name']}: {store['mismatches']} pages came back different")
        bar(f"long run, {long['operations']} operations, {store['name']}: used/compressed",
            store["used_per_compressed_max"], below=1.05, enforced=store["name"] == "tiered")


def main():
    arguments = sys.argv[1:]
    times = "--times" in arguments
    memory = "--quick" not in arguments
    files = [argument for argument in arguments if not argument.startswith("--")]
    if len(files) != 1 or set(arguments) - set(files) - {"--times", "--quick"}:
        sys.exit(__doc__)
    with open(files[0], encoding="utf-8") as file:
        result = json.load(file)
    try:
        tiers = result["tiers"]
        for name in RATIO_MIN:
            check_setting(name, tiers[name], memory, times)
        check_copies(tiers["copies"], memory, times)
        check_writeback(tiers["writeback"])
        if tiers.get("long"):
            check_long(tiers["long"])
    except (KeyError, TypeError) as error:
        failures.append(f"the shape is not that of the contract: {error!r}")
    for failure in failures:
        print(f"check_tiers.py: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
