//! `compcache analyze`: what would compressing these pages save?

mod estimate;
mod measure;

use compcache_bench::result::PagesInfo;
use serde::{Deserialize, Serialize};

use crate::bench::{JsonTarget, each_once, of_process};
use crate::cli::AnalyzeArgs;
use crate::pages::{PAGE_SIZE, PageSet, files};
use crate::progress::Progress;
use crate::{output, tables};

/// Width of the buckets of a size histogram.
const BUCKET_BYTES: usize = 64;

/// The document that `compcache analyze --json` writes. All sizes are bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Analysis {
    /// Version of this shape; 1.
    pub(crate) version: u32,
    /// The pages.
    pub(crate) pages: PagesInfo,
    /// What they take now.
    pub(crate) orig_data_size: u64,
    /// One entry for each codec.
    pub(crate) codecs: Vec<CodecAnalysis>,
}

/// What one codec makes of the pages.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CodecAnalysis {
    /// As `--codec` takes it.
    pub(crate) codec: String,
    /// Bytes of all stored pages; same-filled pages take none, a page stored raw its 4096.
    pub(crate) compr_data_size: u64,
    /// `orig_data_size` for each byte of `cache_bytes`: the ratio that counts in the end.
    pub(crate) ratio: f64,
    /// Pages stored raw: they shrink by less than a 64th.
    pub(crate) incompressible: u64,
    /// Memory of this cache, metadata included, estimated.
    pub(crate) cache_bytes: u64,
    /// Memory of a slab allocator (SLUB's kmalloc classes) and a slot of 16 bytes a page, estimated.
    pub(crate) slab_bytes: u64,
    /// How many of the pages that are not same-filled have a size in each 64-byte bucket; 4096 has one of its own.
    pub(crate) size_histogram: Vec<u64>,
}

/// Runs the subcommand.
pub(crate) fn run(args: &AnalyzeArgs) -> Result<(), String> {
    let mut json = JsonTarget::open(args.json.json.as_deref())?;
    let progress = Progress::new();
    progress.say("reading pages", 0.0);
    let pages = if args.from.pages.is_empty() {
        of_process(&args.from.pid)?
    } else {
        files::read(&args.from.pages)?
    };
    let codecs = each_once(&args.codecs);
    let mut analysis = Analysis {
        version: 1,
        pages: pages.info(),
        orig_data_size: (pages.count() * PAGE_SIZE) as u64,
        codecs: Vec::with_capacity(codecs.len()),
    };
    for (nth, codec) in codecs.iter().enumerate() {
        progress.say(&codec.to_string(), nth as f64 / codecs.len() as f64);
        let sizes = measure::compressed_sizes(&pages, codec)?;
        analysis
            .codecs
            .push(summary(codec.to_string(), &pages, &sizes));
    }
    drop(progress);
    let tables = json.prints_tables();
    json.write(&analysis)?;
    if tables {
        output::print(&tables::analysis(&analysis))?;
    }
    Ok(())
}

/// Adds up what the sizes come to; a size of 0 is a same-filled page.
fn summary(codec: String, pages: &PageSet, sizes: &[u32]) -> CodecAnalysis {
    let cache_bytes = estimate::cache_bytes(sizes);
    let mut size_histogram = vec![0; PAGE_SIZE / BUCKET_BYTES + 1];
    for size in sizes.iter().filter(|size| **size > 0) {
        size_histogram[*size as usize / BUCKET_BYTES] += 1;
    }
    CodecAnalysis {
        codec,
        compr_data_size: sizes.iter().map(|size| u64::from(*size)).sum(),
        ratio: (pages.count() * PAGE_SIZE) as f64 / cache_bytes as f64,
        incompressible: sizes
            .iter()
            .filter(|size| **size as usize == PAGE_SIZE)
            .count() as u64,
        cache_bytes,
        slab_bytes: estimate::slab_bytes(sizes),
        size_histogram,
    }
}
