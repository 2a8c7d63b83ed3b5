//! What is said over a control socket: one JSON object a line, each way.
//!
//! ```text
//!   → {"version":1,"get":"mm_stat"}
//!   ← {"version":1,"text":"   40960 ..."}
//!   → {"version":1,"set":"mem_limit","value":"1G"}
//!   ← {"version":1,"failure":{"kind":"invalid","message":"..."}}
//!   → {"version":1,"set":"recompress","value":"type=idle","progress":true}
//!   ← {"version":1,"progress":{"done":4096,"of":262144}}          any number of these first
//!   ← {"version":1,"text":"pages_tried 1234\npages_changed 1200\n"}
//! ```
//!
//! Who asks for progress ends the work by going away.
//!
//! Fields that a side does not know are passed over, so that fields may be added; the version
//! changes when one is removed or means something else.

use serde::{Deserialize, Serialize};

/// The version that is spoken here.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a request with its newline.
pub(crate) const REQUEST_MAX: usize = 4096;
/// Bytes of an answer with its newline: a status is some 10 KiB.
pub(crate) const ANSWER_MAX: usize = 1 << 20;

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub(crate) enum What {
    /// Change an attribute.
    Set {
        /// Its name.
        set: String,
        /// As it would be written into the file in /sys/block/zram0.
        value: String,
        /// Tell how far it is.
        #[serde(default, skip_serializing_if = "is_false")]
        progress: bool,
    },
    /// Read an attribute.
    Get {
        /// Its name.
        get: String,
    },
    /// Everything that is counted.
    Status {
        /// Nothing; the field tells the request from others.
        status: Empty,
    },
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// `{}`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Empty {}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) result: Outcome,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// An attribute's text; after a change what was done, empty where there is nothing to count.
    Text(String),
    /// How far it is; another answer follows.
    Progress(Progress),
    /// Everything that is counted.
    Status(Box<Status>),
    /// Nothing was done.
    Failure(Failure),
}

/// How far a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    /// 0 where it is not known.
    pub(crate) of: u64,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// One line with the next step.
    pub(crate) message: String,
}

/// For programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKind {
    /// EBUSY: the device is in use.
    Busy,
    /// EINVAL: no such attribute or value.
    Invalid,
    /// EIO: the backing store failed, or has no room.
    Io,
    /// Another version is spoken here.
    Version,
    /// A kind that a newer server has.
    #[serde(other)]
    Other,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Everything that is counted about a device. Sizes in bytes, times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) disksize: u64,
    pub(crate) algorithm: String,
    /// Pages that can be compressed at once.
    pub(crate) streams: u64,
    /// Where clients find it, as `serve` prints it.
    pub(crate) places: Vec<String>,
    pub(crate) clients: u64,
    pub(crate) uptime_ns: u64,
    /// zram's mm_stat.
    pub(crate) orig_data_size: u64,
    pub(crate) compr_data_size: u64,
    pub(crate) mem_used_total: u64,
    pub(crate) mem_limit: u64,
    pub(crate) mem_used_max: u64,
    pub(crate) same_pages: u64,
    pub(crate) pages_compacted: u64,
    pub(crate) huge_pages: u64,
    pub(crate) huge_pages_since: u64,
    /// zram's io_stat.
    pub(crate) failed_reads: u64,
    pub(crate) failed_writes: u64,
    pub(crate) invalid_io: u64,
    pub(crate) notify_free: u64,
    /// Pages read and written.
    pub(crate) pages_read: u64,
    pub(crate) pages_written: u64,
    /// Memory that holds no stored page.
    pub(crate) metadata: u64,
    pub(crate) requests: Vec<Requests>,
    /// Stored pages by compressed size, in sixteenths of a page.
    pub(crate) sizes: Vec<u64>,
    /// What became of cold pages.
    #[serde(default)]
    pub(crate) tiers: Tiers,
}

/// In which forms pages are, what was done, and what is done by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tiers {
    /// The denser codecs, in order.
    pub(crate) recompress: Vec<String>,
    /// Where the backing store is.
    pub(crate) backing_dev: Option<String>,
    /// The policy.
    pub(crate) turn_ms: u64,
    pub(crate) cold_age: u64,
    /// Numbers of denser codecs; 0 for none.
    pub(crate) cold_rung: u64,
    pub(crate) cool_rung: u64,
    pub(crate) clusters_on: bool,
    pub(crate) same_on: bool,
    pub(crate) patches_on: bool,
    /// A dictionary is made of what cold pages have in common, and its bytes, if there is one.
    #[serde(default)]
    pub(crate) dictionary_on: bool,
    #[serde(default)]
    pub(crate) dictionary_bytes: u64,
    /// Pages of 4096 bytes that may still be written back; nothing for no limit.
    pub(crate) writeback_limit: Option<u64>,
    /// Pages by form.
    pub(crate) pages: u64,
    pub(crate) same_filled_pages: u64,
    pub(crate) own_pages: u64,
    pub(crate) cluster_pages: u64,
    pub(crate) shared_pages: u64,
    pub(crate) backed_pages: u64,
    /// Objects behind them.
    pub(crate) clusters: u64,
    pub(crate) shared: u64,
    pub(crate) patches: u64,
    pub(crate) backed_clusters: u64,
    /// Bytes of live records in the backing store, and of the store in use.
    pub(crate) backed_bytes: u64,
    pub(crate) backing_used_bytes: u64,
    /// Ever done, in pages.
    pub(crate) recompressed: u64,
    pub(crate) clustered: u64,
    pub(crate) deduplicated: u64,
    pub(crate) patched: u64,
    pub(crate) promoted: u64,
    /// In records: a cluster is one.
    pub(crate) written_back: u64,
    pub(crate) read_back: u64,
    /// In bytes.
    pub(crate) backing_written_bytes: u64,
    pub(crate) backing_read_bytes: u64,
    pub(crate) backing_errors: u64,
    /// Writes that found no memory.
    pub(crate) squeezed: u64,
    /// Times that writing back stopped because the store failed.
    pub(crate) write_errors: u64,
    /// Bytes of the pages, and of memory for them.
    pub(crate) orig_data_size: u64,
    pub(crate) mem_used_total: u64,
}

impl Tiers {
    /// Pages' bytes for each byte of memory, everything counted; what is in the backing store takes
    /// none.
    pub(crate) fn effective_ratio(&self) -> f64 {
        match self.mem_used_total {
            0 => 0.0,
            memory => self.orig_data_size as f64 / memory as f64,
        }
    }

    /// Whether anything is ever done to cold pages.
    #[cfg(feature = "top")]
    pub(crate) fn are_on(&self) -> bool {
        !self.recompress.is_empty() || self.backing_dev.is_some() || self.same_on
    }

    /// The numbers by name.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 25] {
        [
            ("pages", self.pages),
            ("same_filled_pages", self.same_filled_pages),
            ("own_pages", self.own_pages),
            ("cluster_pages", self.cluster_pages),
            ("shared_pages", self.shared_pages),
            ("backed_pages", self.backed_pages),
            ("clusters", self.clusters),
            ("shared", self.shared),
            ("patches", self.patches),
            ("backed_clusters", self.backed_clusters),
            ("dictionary_bytes", self.dictionary_bytes),
            ("backed_bytes", self.backed_bytes),
            ("backing_used_bytes", self.backing_used_bytes),
            ("recompressed", self.recompressed),
            ("clustered", self.clustered),
            ("deduplicated", self.deduplicated),
            ("patched", self.patched),
            ("promoted", self.promoted),
            ("written_back", self.written_back),
            ("read_back", self.read_back),
            ("backing_written_bytes", self.backing_written_bytes),
            ("backing_read_bytes", self.backing_read_bytes),
            ("backing_errors", self.backing_errors),
            ("squeezed", self.squeezed),
            ("write_errors", self.write_errors),
        ]
    }
}

/// Requests of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) kind: String,
    pub(crate) count: u64,
    pub(crate) failed: u64,
    pub(crate) bytes: u64,
    pub(crate) sum_ns: u64,
    /// Upper end in nanoseconds (exclusive) and requests, of buckets that are not empty, in order.
    pub(crate) buckets: Vec<(u64, u64)>,
}

/// What the live view shows.
#[cfg(feature = "top")]
impl Requests {
    /// What was done since `earlier`, of the same kind of the same device.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |upper: u64| {
            let found = earlier
                .buckets
                .binary_search_by_key(&upper, |bucket| bucket.0);
            found.ok().and_then(|nth| earlier.buckets.get(nth))
        };
        let buckets = self.buckets.iter().map(|&(upper, count)| {
            let old = before(upper).map_or(0, |bucket| bucket.1);
            (upper, count.saturating_sub(old))
        });
        Self {
            kind: self.kind.clone(),
            count: self.count.saturating_sub(earlier.count),
            failed: self.failed.saturating_sub(earlier.failed),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
            buckets: buckets.filter(|bucket| bucket.1 > 0).collect(),
        }
    }

    /// The time within which this share (0 to 1) was done, to within a quarter; `None` without
    /// requests.
    pub(crate) fn quantile_ns(&self, share: f64) -> Option<u64> {
        let all: u64 = self.buckets.iter().map(|bucket| bucket.1).sum();
        let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
        let mut below = 0;
        self.buckets.iter().find_map(|&(upper, count)| {
            below += count;
            (below >= wanted).then_some(upper)
        })
    }
}

/// One line.
///
/// # Errors
/// What serde says; no value of these types makes it fail.
pub(crate) fn to_line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Option<What> {
        let request: Request = serde_json::from_str(text).ok()?;
        Some(request.what)
    }

    #[test]
    fn requests_are_what_the_documentation_shows() {
        let get = |name: &str| What::Get {
            get: name.to_owned(),
        };
        assert_eq!(
            request(r#"{"version":1,"get":"mm_stat"}"#),
            Some(get("mm_stat"))
        );
        assert_eq!(
            request(r#"{"version":1,"get":"x","later":[]}"#),
            Some(get("x"))
        );
        let set = What::Set {
            set: "mem_limit".to_owned(),
            value: "1G".to_owned(),
            progress: false,
        };
        let line = to_line(&Request {
            version: 1,
            what: set,
        });
        let text = String::from_utf8(line.unwrap()).unwrap();
        assert_eq!(
            text,
            "{\"version\":1,\"set\":\"mem_limit\",\"value\":\"1G\"}\n"
        );
        assert!(matches!(
            request(r#"{"version":1,"status":{}}"#),
            Some(What::Status { .. })
        ));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"version":1}"#,
            r#"{"get":"x"}"#,
            r#"{"version":1,"get":7}"#,
            r#"{"version":-1,"get":"x"}"#,
        ] {
            assert!(request(text).is_none(), "{text}");
        }
    }

    #[cfg(feature = "top")]
    #[test]
    fn quantiles_are_of_what_was_done_since() {
        let early = Requests {
            count: 10,
            buckets: vec![(100, 10)],
            ..Requests::default()
        };
        let late = Requests {
            count: 20,
            buckets: vec![(100, 11), (200, 8), (400, 1)],
            ..Requests::default()
        };
        let new = late.since(&early);
        assert_eq!((new.count, new.buckets.len()), (10, 3));
        let quantiles = [0.0, 0.1, 0.5, 0.9, 1.0].map(|share| new.quantile_ns(share));
        assert_eq!(quantiles, [100, 100, 200, 200, 400].map(Some));
        assert_eq!(late.since(&late).quantile_ns(0.5), None);
    }
}
