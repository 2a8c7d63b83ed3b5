//! Statistics in Prometheus's text format.

use std::fmt::Write;

use crate::control::{Requests, Status};

/// Upper ends of the buckets that are shown, in nanoseconds: four a decade would be more lines than
/// anybody asks for.
const BUCKETS_NS: [u64; 16] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// A value of a device, by name: what `docs/metrics.md` lists.
type Value = (&'static str, &'static str, fn(&Status) -> u64);

const GAUGES: [Value; 22] = [
    ("disksize_bytes", "Size of the device.", |s| s.disksize),
    (
        "orig_data_size_bytes",
        "Uncompressed size of the pages stored.",
        |s| s.orig_data_size,
    ),
    (
        "compr_data_size_bytes",
        "Compressed size of the pages stored.",
        |s| s.compr_data_size,
    ),
    (
        "mem_used_total_bytes",
        "Memory taken, with fragmentation and tables.",
        |s| s.mem_used_total,
    ),
    (
        "mem_limit_bytes",
        "The most memory that may be taken; 0 for no limit.",
        |s| s.mem_limit,
    ),
    ("mem_used_max_bytes", "The most memory ever taken.", |s| {
        s.mem_used_max
    }),
    ("metadata_bytes", "Memory that holds no stored page.", |s| {
        s.metadata
    }),
    ("same_pages", "Pages that are one word repeated.", |s| {
        s.same_pages
    }),
    (
        "huge_pages",
        "Pages stored raw because they did not shrink.",
        |s| s.huge_pages,
    ),
    ("clients", "Clients that use the device.", |s| s.clients),
    (
        "own_pages",
        "Pages that are stored by themselves, by any codec.",
        |s| s.tiers.own_pages,
    ),
    (
        "cluster_pages",
        "Pages that are compressed together with neighbours.",
        |s| s.tiers.cluster_pages,
    ),
    (
        "shared_pages",
        "Pages that are the same as another, or nearly.",
        |s| s.tiers.shared_pages,
    ),
    (
        "backed_pages",
        "Pages that are in the backing store by themselves.",
        |s| s.tiers.backed_pages,
    ),
    ("clusters", "Clusters in memory.", |s| s.tiers.clusters),
    ("backed_clusters", "Clusters in the backing store.", |s| {
        s.tiers.backed_clusters
    }),
    (
        "shared_objects",
        "Objects that shared pages are in, patches among them.",
        |s| s.tiers.shared,
    ),
    (
        "patches",
        "Objects that are a difference from another.",
        |s| s.tiers.patches,
    ),
    (
        "dictionary_bytes",
        "What cold pages have in common, kept once for who reads them.",
        |s| s.tiers.dictionary_bytes,
    ),
    (
        "backed_bytes",
        "Compressed size of what is in the backing store.",
        |s| s.tiers.backed_bytes,
    ),
    (
        "backing_used_bytes",
        "Room taken in the backing store.",
        |s| s.tiers.backing_used_bytes,
    ),
    (
        "policy_turn_milliseconds",
        "After so long without use a page is one older.",
        |s| s.tiers.turn_ms,
    ),
];

const COUNTERS: [Value; 20] = [
    (
        "pages_compacted_total",
        "Pages given back by compaction.",
        |s| s.pages_compacted,
    ),
    (
        "huge_pages_since_total",
        "Pages that were ever stored raw.",
        |s| s.huge_pages_since,
    ),
    ("failed_reads_total", "Reads of a page that failed.", |s| {
        s.failed_reads
    }),
    (
        "failed_writes_total",
        "Writes of a page that failed.",
        |s| s.failed_writes,
    ),
    (
        "invalid_io_total",
        "Requests past the end, or not of whole sectors.",
        |s| s.invalid_io,
    ),
    ("notify_free_total", "Pages that were discarded.", |s| {
        s.notify_free
    }),
    (
        "pages_read_total",
        "Reads of a page or a part of it.",
        |s| s.pages_read,
    ),
    (
        "pages_written_total",
        "Writes of a page or a part of it.",
        |s| s.pages_written,
    ),
    (
        "recompressed_pages_total",
        "Pages stored again by a denser codec.",
        |s| s.tiers.recompressed,
    ),
    (
        "clustered_pages_total",
        "Pages compressed together with neighbours.",
        |s| s.tiers.clustered,
    ),
    (
        "deduplicated_pages_total",
        "Pages found to be the same as another.",
        |s| s.tiers.deduplicated,
    ),
    (
        "patched_pages_total",
        "Pages stored as a difference.",
        |s| s.tiers.patched,
    ),
    (
        "promoted_pages_total",
        "Pages that came back to the first codec because they were used.",
        |s| s.tiers.promoted,
    ),
    (
        "written_back_total",
        "Records written back: a page, or a cluster.",
        |s| s.tiers.written_back,
    ),
    (
        "read_back_total",
        "Records read from the backing store.",
        |s| s.tiers.read_back,
    ),
    (
        "backing_written_bytes_total",
        "Bytes written to the backing store.",
        |s| s.tiers.backing_written_bytes,
    ),
    (
        "backing_read_bytes_total",
        "Bytes of the records read from the backing store.",
        |s| s.tiers.backing_read_bytes,
    ),
    (
        "backing_errors_total",
        "Reads and writes that the backing store failed.",
        |s| s.tiers.backing_errors,
    ),
    (
        "squeezed_writes_total",
        "Writes that found no memory at first.",
        |s| s.tiers.squeezed,
    ),
    (
        "write_back_failures_total",
        "Times that pages stayed in memory because the backing store failed.",
        |s| s.tiers.write_errors,
    ),
];

/// The page.
pub(crate) fn page(status: &Status) -> String {
    let mut page = Page {
        text: String::with_capacity(16 << 10),
        device: format!("device=\"{}\"", escape(&status.name)),
    };
    page.head("info", "gauge", "Always 1; the labels tell the device.");
    let version = env!("CARGO_PKG_VERSION");
    let algorithm = escape(&status.algorithm);
    page.sample(
        "info",
        &format!(",algorithm=\"{algorithm}\",version=\"{version}\""),
        1,
    );
    for (name, help, value) in GAUGES {
        page.head(name, "gauge", help);
        page.sample(name, "", value(status));
    }
    for (name, help, value) in COUNTERS {
        page.head(name, "counter", help);
        page.sample(name, "", value(status));
    }
    page.head("uptime_seconds", "gauge", "Time since the server started.");
    page.sample("uptime_seconds", "", seconds(status.uptime_ns));
    sizes(&mut page, &status.sizes);
    requests(&mut page, &status.requests);
    page.text
}

struct Page {
    text: String,
    device: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = write!(
            self.text,
            "# HELP compcache_{name} {help}\n# TYPE compcache_{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let device = &self.device;
        let _ = writeln!(self.text, "compcache_{name}{{{device}{labels}}} {value}");
    }
}

/// Pages by compressed size: a gauge a class, since pages leave their class again.
fn sizes(page: &mut Page, sizes: &[u64]) {
    let name = "stored_pages";
    page.head(
        name,
        "gauge",
        "Stored pages by compressed size in bytes, up to le and above the class before.",
    );
    let class = 4096 / sizes.len().max(1);
    for (nth, &pages) in sizes.iter().enumerate() {
        page.sample(name, &format!(",le=\"{}\"", (nth + 1) * class), pages);
    }
}

fn requests(page: &mut Page, kinds: &[Requests]) {
    let kind = |requests: &Requests| format!(",kind=\"{}\"", escape(&requests.kind));
    page.head(
        "request_bytes_total",
        "counter",
        "Bytes of requests that did not fail.",
    );
    for requests in kinds {
        page.sample("request_bytes_total", &kind(requests), requests.bytes);
    }
    page.head("requests_failed_total", "counter", "Requests that failed.");
    for requests in kinds {
        page.sample("requests_failed_total", &kind(requests), requests.failed);
    }
    let name = "request_duration_seconds";
    page.head(
        name,
        "histogram",
        "How long requests took, to within a quarter.",
    );
    for requests in kinds {
        histogram(page, name, &kind(requests), requests);
    }
}

fn histogram(page: &mut Page, name: &str, kind: &str, requests: &Requests) {
    let bucket = format!("{name}_bucket");
    for upper in BUCKETS_NS {
        let within = requests.buckets.iter().filter(|found| found.0 <= upper);
        let count: u64 = within.map(|found| found.1).sum();
        page.sample(&bucket, &format!("{kind},le=\"{}\"", seconds(upper)), count);
    }
    // Of the buckets, so that it is never below the last of them.
    let all: u64 = requests.buckets.iter().map(|found| found.1).sum();
    page.sample(&bucket, &format!("{kind},le=\"+Inf\""), all);
    page.sample(&format!("{name}_sum"), kind, seconds(requests.sum_ns));
    page.sample(&format!("{name}_count"), kind, all);
}

/// Seconds, exact to the nanosecond.
fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        for (ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (2_500, "0.0000025"),
            (10_000_000_000, "10"),
            (1_000_000_100, "1.0000001"),
        ] {
            assert_eq!(seconds(ns), text);
        }
    }

    #[test]
    fn buckets_are_sums() {
        let status = Status {
            name: "a\"b\\".to_owned(),
            requests: vec![Requests {
                kind: "read".to_owned(),
                count: 6,
                sum_ns: 1500,
                buckets: vec![(1_000, 1), (1_250, 2), (20_000_000_000, 3)],
                ..Requests::default()
            }],
            ..Status::default()
        };
        let text = page(&status);
        let labels = r#"{device="a\"b\\",kind="read""#;
        for line in [
            format!(r#"compcache_request_duration_seconds_bucket{labels},le="0.000001"}} 1"#),
            format!(r#"compcache_request_duration_seconds_bucket{labels},le="0.0000025"}} 3"#),
            format!(r#"compcache_request_duration_seconds_bucket{labels},le="10"}} 3"#),
            format!(r#"compcache_request_duration_seconds_bucket{labels},le="+Inf"}} 6"#),
            format!("compcache_request_duration_seconds_sum{labels}}} 0.0000015"),
            format!("compcache_request_duration_seconds_count{labels}}} 6"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
