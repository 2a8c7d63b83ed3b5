//! The compressed size of every page, on all processors.

use compress::{AnyCodec, Codec, same_filled};

use crate::pages::{PAGE_SIZE, PageSet};

/// A page whose stream is this long or longer is stored raw, as the cache does it.
const HUGE_BYTES: usize = PAGE_SIZE - PAGE_SIZE / 64;

/// The size each page would be stored in, in the order of the pages: 0 for a same-filled page,
/// 4096 for one that is stored raw.
///
/// # Errors
/// Where the codec has no memory to work in, or fails.
pub(crate) fn compressed_sizes(pages: &PageSet, codec: &AnyCodec) -> Result<Vec<u32>, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share_bytes = pages.count().div_ceil(threads) * PAGE_SIZE;
    let mut sizes = Vec::with_capacity(pages.count());
    std::thread::scope(|scope| {
        let workers: Vec<_> = pages
            .bytes()
            .chunks(share_bytes)
            .map(|share| scope.spawn(move || sizes_of(share, codec)))
            .collect();
        for worker in workers {
            let share = worker
                .join()
                .map_err(|_| format!("{codec}: a thread panicked"))?;
            sizes.extend(share.map_err(|error| format!("{codec}: {error}"))?);
        }
        Ok(sizes)
    })
}

fn sizes_of(pages: &[u8], codec: &AnyCodec) -> Result<Vec<u32>, String> {
    let mut workspace = codec
        .workspace(PAGE_SIZE)
        .map_err(|error| error.to_string())?;
    let mut out = vec![0; codec.max_compressed_len(PAGE_SIZE)];
    let size_of = |page| {
        if same_filled(page).is_some() {
            return Ok(0);
        }
        let size = codec
            .compress(&mut workspace, page, &mut out)
            .map_err(|error| error.to_string())?;
        Ok(stored_size(size) as u32)
    };
    pages.chunks_exact(PAGE_SIZE).map(size_of).collect()
}

fn stored_size(stream_bytes: usize) -> usize {
    if stream_bytes < HUGE_BYTES {
        stream_bytes
    } else {
        PAGE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_saves_less_than_a_64th_is_stored_raw() {
        assert_eq!(
            [1, 4031, 4032, 4096, 4112].map(stored_size),
            [1, 4031, 4096, 4096, 4096]
        );
    }

    #[test]
    fn sizes_come_in_the_order_of_the_pages() {
        let mut bytes = vec![0; PAGE_SIZE];
        bytes.extend(b"text ".iter().cycle().take(PAGE_SIZE));
        let mut word = 1u64;
        bytes.extend((0..PAGE_SIZE).map(|_| {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (word >> 56) as u8
        }));
        let pages = PageSet::new("test".to_owned(), bytes).unwrap();
        for codec in ["lz4", "zstd:1", "zstd:-3"] {
            let sizes = compressed_sizes(&pages, &codec.parse().unwrap()).unwrap();
            assert!(
                sizes[0] == 0 && (1..100).contains(&sizes[1]) && sizes[2] == 4096,
                "{codec}: {sizes:?}"
            );
        }
        let raw = compressed_sizes(&pages, &"raw".parse().unwrap()).unwrap();
        assert_eq!(raw, [0, 4096, 4096]);
    }
}
