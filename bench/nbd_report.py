"""What bench/nbd.sh measured, as a table or as JSON, with the ratios that are aimed at."""

import json
import pathlib
import statistics
import sys

PLAIN, ZSTD = "nbdkit-memory", "nbdkit-zstd"
OURS, OURS_ZSTD = "compcache-lz4", "compcache-zstd"
# Keeps no page: the bound of what a client reaches, with no target of its own.
NOTHING = "nothing"
SERVERS = [PLAIN, OURS, ZSTD, OURS_ZSTD, NOTHING]
CASES = [(rw, jobs) for jobs in (1, 4) for rw in ("randread", "randwrite")]


def iops(path, rw):
    text = path.read_text()
    # fio's engines print lines of their own before the document.
    job = json.loads(text[text.index("{"):])["jobs"][0]
    return job[rw.removeprefix("rand")]["iops"]


def main():
    work, size = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    wants_json, check = (argument == "true" for argument in sys.argv[3:5])
    memory = {server: {} for server in SERVERS}
    for line in (work / "memory").read_text().splitlines():
        server, when, count = line.split()
        memory[server][when] = int(count)
    pages = {server: m["after"] - m["before"] for server, m in memory.items()}
    cases, missed = [], []
    for rw, jobs in CASES:
        found = {
            server: statistics.median(
                iops(path, rw) for path in work.glob(f"{server}.{rw}.{jobs}.*.json")
            )
            for server in SERVERS
        }
        ratio = found[OURS] / found[PLAIN]
        ratio_zstd = found[OURS_ZSTD] / found[ZSTD]
        cases.append(
            {
                "case": rw,
                "connections": jobs,
                "iops": {server: round(count) for server, count in found.items()},
                "lz4_to_memory": round(ratio, 3),
                "zstd_to_zstd": round(ratio_zstd, 3),
                "nothing_to_zstd": round(found[NOTHING] / found[ZSTD], 3),
            }
        )
        least = 1.0 if rw == "randread" else 0.8
        if ratio < least:
            missed.append(f"{rw} over {jobs}: {ratio:.2f} times memory; expected {least}")
        if ratio_zstd < 3:
            missed.append(f"{rw} over {jobs}: {ratio_zstd:.2f} times zstd; expected 3")
    if pages[OURS] > 0.75 * pages[PLAIN]:
        missed.append(f"memory {pages[OURS]}; expected 0.75 of {pages[PLAIN]}")
    if pages[OURS_ZSTD] >= pages[ZSTD]:
        missed.append(f"memory {pages[OURS_ZSTD]} with zstd; expected less than {pages[ZSTD]}")
    if wants_json:
        print(json.dumps({"size_mib": size, "memory_bytes": pages, "cases": cases, "missed": missed}))
    else:
        table(cases, pages)
        for line in missed:
            print("missed:", line)
    return 1 if check and missed else 0


def table(cases, pages):
    print(f"{'IOPS':24}" + "".join(f"{server:>16}" for server in SERVERS) + "   lz4/memory  zstd/zstd  nothing/zstd")
    for case in cases:
        name = f"{case['case']}, {case['connections']} conn."
        counts = "".join(f"{case['iops'][server]:16}" for server in SERVERS)
        print(f"{name:24}{counts}{case['lz4_to_memory']:13.2f}{case['zstd_to_zstd']:11.2f}"
              f"{case['nothing_to_zstd']:14.2f}")
    counts = "".join(f"{pages[server] / 2**20:16.1f}" for server in SERVERS)
    print(f"{'memory for pages, MiB':24}{counts}")


if __name__ == "__main__":
    sys.exit(main())
