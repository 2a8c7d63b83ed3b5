//! [`Subject`]: a served device as requests about it see it.

use std::sync::Arc;
use std::time::Instant;

use compcache_device::{AnyCodec, BlockDevice, Device, Kind, Latency, PAGE_SIZE, Stat};

use super::place::Name;
use super::protocol::{Requests, Status, Tiers};

/// Who uses a device.
pub(crate) trait Users: Send + Sync {
    /// How many use it now.
    fn clients(&self) -> usize;

    /// Keeps others from beginning to use it as a whole (mount, swapon) while the answer lives.
    ///
    /// # Errors
    /// What does so already, and what to do, in one line.
    fn hold(&self) -> Result<Box<dyn HeldUsers + '_>, String>;
}

/// Those who are left: clients that come and go.
pub(crate) trait HeldUsers {
    /// How many there are now. Waits for no request to the device.
    fn clients(&self) -> usize;
}

/// A served device, and what only its server knows about it.
pub(crate) struct Subject {
    pub(crate) name: Name,
    pub(crate) device: Arc<Device>,
    pub(crate) codec: AnyCodec,
    places: Vec<String>,
    users: Box<dyn Users>,
    started: Instant,
}

impl Subject {
    pub(crate) fn new(
        name: Name,
        device: &Arc<Device>,
        places: Vec<String>,
        users: Box<dyn Users>,
    ) -> Self {
        Self {
            name,
            device: Arc::clone(device),
            // The one for new pages.
            codec: first_codec(device),
            places,
            users,
            started: Instant::now(),
        }
    }

    /// Forgets all pages and clears the statistics, unless somebody would miss them.
    ///
    /// # Errors
    /// Who would.
    pub(crate) fn reset(&self) -> Result<(), String> {
        let users = self.users.hold()?;
        self.device.reset_unless(|| match users.clients() {
            0 => Ok(()),
            1 => Err("1 client connected; disconnect it first".to_owned()),
            clients => Err(format!(
                "{clients} clients connected; disconnect them first"
            )),
        })
    }

    /// Pages that can be compressed at once.
    pub(crate) fn streams(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Everything that is counted.
    pub(crate) fn status(&self) -> Status {
        let stat = self.device.stat();
        let tiers = self.tiers(&stat);
        let Stat {
            io,
            mm,
            memory,
            requests,
            sizes,
            ..
        } = stat;
        Status {
            tiers,
            name: self.name.to_string(),
            pid: std::process::id(),
            disksize: self.device.size(),
            algorithm: self.codec.to_string(),
            streams: self.streams() as u64,
            places: self.places.clone(),
            clients: self.users.clients() as u64,
            uptime_ns: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            orig_data_size: mm.orig_data_size,
            compr_data_size: mm.compr_data_size,
            mem_used_total: mm.mem_used_total,
            mem_limit: mm.mem_limit,
            mem_used_max: mm.mem_used_max,
            same_pages: mm.same_pages,
            pages_compacted: mm.pages_compacted,
            huge_pages: mm.huge_pages,
            huge_pages_since: mm.huge_pages_since,
            failed_reads: io.failed_reads,
            failed_writes: io.failed_writes,
            invalid_io: io.invalid_io,
            notify_free: io.notify_free,
            pages_read: io.reads,
            pages_written: io.writes,
            metadata: memory.metadata,
            requests: Kind::ALL
                .iter()
                .zip(&requests)
                .map(|(kind, latency)| describe(*kind, latency))
                .collect(),
            sizes: sizes.to_vec(),
        }
    }
}

fn first_codec(device: &Device) -> AnyCodec {
    let first = device.cache().codec().rung(0);
    first.unwrap_or(AnyCodec::Lz4(compress::Lz4))
}

impl Subject {
    fn tiers(&self, stat: &Stat) -> Tiers {
        let (device, forms, backing) = (&self.device, &stat.tiers, &stat.backing);
        let policy = device.tiered().policy();
        let ladder = device.cache().codec().to_string();
        let pages = stat.mm.orig_data_size / PAGE_SIZE;
        let elsewhere =
            stat.mm.same_pages + forms.cluster_pages + forms.shared_pages + forms.backed_pages;
        Tiers {
            recompress: ladder.split(' ').skip(1).map(str::to_owned).collect(),
            backing_dev: device.backing_path().map(|path| path.display().to_string()),
            turn_ms: policy.turn_ms,
            cold_age: policy.cold_age.into(),
            cold_rung: policy.cold_rung as u64,
            cool_rung: policy.cool_rung as u64,
            clusters_on: policy.clusters,
            same_on: policy.same,
            patches_on: policy.patches,
            dictionary_on: policy.dictionary,
            dictionary_bytes: stat.dictionary,
            writeback_limit: backing.limit,
            pages,
            same_filled_pages: stat.mm.same_pages,
            own_pages: pages.saturating_sub(elsewhere),
            cluster_pages: forms.cluster_pages,
            shared_pages: forms.shared_pages,
            backed_pages: forms.backed_pages,
            clusters: forms.clusters,
            shared: forms.shared,
            patches: forms.patches,
            backed_clusters: forms.backed_clusters,
            backed_bytes: forms.backed_bytes,
            backing_used_bytes: backing.allocated,
            recompressed: forms.recompressed,
            clustered: forms.clustered,
            deduplicated: forms.deduplicated,
            patched: forms.patched,
            promoted: forms.promoted,
            written_back: forms.written_back,
            read_back: forms.backed_reads,
            backing_written_bytes: backing.written,
            backing_read_bytes: backing.read,
            backing_errors: backing.errors,
            squeezed: stat.squeezed,
            write_errors: stat.write_errors,
            orig_data_size: stat.mm.orig_data_size,
            mem_used_total: stat.mm.mem_used_total,
        }
    }
}

fn describe(kind: Kind, latency: &Latency) -> Requests {
    Requests {
        kind: kind.name().to_owned(),
        count: latency.requests(),
        failed: latency.failed(),
        bytes: latency.bytes(),
        sum_ns: latency.sum_ns(),
        buckets: latency.buckets().collect(),
    }
}
