#!/usr/bin/env python3
"""Checks the JSON of `compcache bench`: its shape, and the bounds that the project promises.

    ci/check_bench.py FILE
"""

import json
import sys

LATENCY = ["mean", "p50", "p99", "p999", "max"]
CACHE_SIZES = [
    "threads", "orig_data_size", "compr_data_size", "mem_used_total", "metadata_bytes",
    "same_pages", "huge_pages", "mismatches",
]
CACHE_TIMES = ["put_ns", "get_ns", "codec_compress_ns", "codec_decompress_ns"]
ENGINES = [
    "alloc_xv", "slab", "buddy", "first_fit", "xvmalloc", "zsmalloc", "tlsf", "malloc",
]
PHASES = ["fill", "churn", "discard", "compact", "drain"]
# Footprint for each byte of payload, of alloc_xv.
BOUNDS = {"fill": 1.018, "churn": 1.04, "discard": 1.12, "compact": 1.03}
SMALL_POOL_OBJECTS = 4000
SMALL_POOL_FILL = 1.025
LARGE_POOL_OBJECTS = 60_000
LARGE_POOL_CHURN = 1.035
SLAB_FACTOR = 1.3

failures = []


def ensure(condition, text):
    if not condition:
        failures.append(text)


def number(value, where):
    ensure(isinstance(value, (int, float)) and value >= 0, f"{where}: not a number: {value!r}")


def latency(value, where):
    for key in LATENCY:
        number(value[key], f"{where}.{key}")
    order = [value[key] for key in LATENCY[1:]]
    ensure(order == sorted(order), f"{where}: percentiles out of order: {order}")


def check_pages(pages):
    ensure(isinstance(pages["source"], str), "pages.source is not text")
    for key in ["count", "same_filled", "duplicates"]:
        number(pages[key], f"pages.{key}")
    ensure(pages["count"] > 0, "no pages")


def check_cache(runs, pages):
    ensure(runs, "no run of the cache")
    for run in runs:
        where = f"cache {run['codec']} with {run['threads']} threads"
        for key in CACHE_SIZES + ["put_pages_per_s", "get_pages_per_s"]:
            number(run[key], f"{where}: {key}")
        for key in CACHE_TIMES:
            latency(run[key], f"{where}: {key}")
        ensure(run["mismatches"] == 0, f"{where}: {run['mismatches']} pages came back different")
        ensure(run["orig_data_size"] == pages["count"] * 4096, f"{where}: not all pages stored")
        ensure(run["same_pages"] == pages["same_filled"], f"{where}: same-filled pages missed")
        ensure(run["compr_data_size"] <= run["mem_used_total"], f"{where}: less memory than data")


def check_allocators(allocators):
    names = [allocator["name"] for allocator in allocators]
    ensure(names == ENGINES, f"allocators are {names}")
    phases = {}
    for allocator in allocators:
        name = allocator["name"]
        order = [phase["phase"] for phase in allocator["phases"]]
        ensure(order == PHASES, f"{name}: phases are {order}")
        for phase in allocator["phases"]:
            where = f"{name}, {phase['phase']}"
            number(phase["payload_bytes"], f"{where}: payload_bytes")
            number(phase["footprint_bytes"], f"{where}: footprint_bytes")
            latency(phase["alloc_ns"], f"{where}: alloc_ns")
            latency(phase["free_ns"], f"{where}: free_ns")
            phases[name, phase["phase"]] = phase
    return phases


def ratio(phase):
    payload = phase["payload_bytes"]
    return phase["footprint_bytes"] / payload if payload else float("nan")


def print_ratios(phases):
    print(f"  {'footprint/payload':<18}" + "".join(f"{phase:>10}" for phase in PHASES[:-1])
          + f"{'drained':>12}")
    for name in ENGINES:
        ratios = "".join(f"{ratio(phases[name, phase]):>10.4f}" for phase in PHASES[:-1])
        print(f"  {name:<18}{ratios}{phases[name, 'drain']['footprint_bytes']:>12}")


def check_bounds(phases):
    fill = phases["alloc_xv", "fill"]
    objects = fill.get("objects", 0)
    bounds = dict(BOUNDS)
    if objects <= SMALL_POOL_OBJECTS:
        bounds["fill"] = SMALL_POOL_FILL
    if objects >= LARGE_POOL_OBJECTS:
        bounds["churn"] = LARGE_POOL_CHURN
    for phase, bound in bounds.items():
        got = ratio(phases["alloc_xv", phase])
        ensure(got <= bound, f"alloc_xv, {phase}: {got:.4f}, expected at most {bound}")
    drained = phases["alloc_xv", "drain"]
    ensure(drained["payload_bytes"] == 0, "alloc_xv, drain: payload is left")
    ensure(drained.get("data_bytes", 0) == 0, "alloc_xv, drain: pages with blocks are left")
    factor = phases["slab", "fill"]["footprint_bytes"] / fill["footprint_bytes"]
    print(f"  slab takes {factor:.3f} times what alloc_xv takes after the fill")
    ensure(factor >= SLAB_FACTOR, f"slab: {factor:.3f}, expected at least {SLAB_FACTOR}")
    for phase in PHASES:
        ours = phases["alloc_xv", phase]["footprint_bytes"]
        for name in ENGINES[1:]:
            theirs = phases[name, phase]["footprint_bytes"]
            ensure(ours <= theirs, f"{phase}: {name} takes {theirs}, alloc_xv {ours}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        result = json.load(file)
    try:
        ensure(result["version"] == 1, f"version is {result['version']}")
        check_pages(result["pages"])
        check_cache(result["cache"], result["pages"])
        phases = check_allocators(result["allocators"])
        if not failures:
            print_ratios(phases)
            check_bounds(phases)
    except KeyError as error:
        failures.append(f"key {error} is missing")
    for failure in failures:
        print(f"check_bench.py: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
