//! What the tests share.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod model;

use alloc_xv::RegionSource;
use compcache::{Codec, Lz4, Shared};
use compcache_tmem::{ObjectId, PoolId, StdTmem};

pub(crate) type Bank = Vec<Shared<Lz4, 4096>>;

pub(crate) fn bank(workspaces: usize) -> Bank {
    (0..workspaces)
        .map(|_| Shared::new(Lz4.workspace(4096).expect("a workspace")))
        .collect()
}

pub(crate) fn region(frames: usize) -> RegionSource<4096> {
    RegionSource::new(Vec::leak(vec![0xee; (frames + 3) * 4096])).expect("room for frames")
}

/// A page that half compresses and says which one it is.
pub(crate) fn page(number: u64) -> [u8; 4096] {
    let mut page = [0; 4096];
    let mut state = number | 1;
    for (place, chunk) in page.chunks_mut(8).enumerate() {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(number);
        let word = if place % 2 == 0 { number } else { state };
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    page
}

pub(crate) fn tmem(pages: u64) -> StdTmem<Lz4> {
    StdTmem::with_pages(pages).expect("a tmem")
}

pub(crate) fn object(number: u64) -> ObjectId {
    ObjectId::from(number)
}

pub(crate) fn get(
    tmem: &StdTmem<Lz4>,
    pool: PoolId,
    object: ObjectId,
    index: u32,
) -> Option<[u8; 4096]> {
    let mut page = [0xa5; 4096];
    tmem.get(pool, object, index, &mut page)
        .expect("an undamaged page")
        .then_some(page)
}
