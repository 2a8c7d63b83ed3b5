//! [`MemoryStore`]: a store for tests and examples.

use super::Store;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::io;

const BLOCK: usize = 4096;

/// A sparse store in memory: blocks of 4 KiB that were written and not discarded take room.
pub struct MemoryStore {
    len: u64,
    span: u64,
    block_len: u64,
    blocks: RwLock<BTreeMap<u64, Box<[u8; BLOCK]>>>,
}

impl MemoryStore {
    /// Room for `len` bytes, at any offset under four times that: a sparse file.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self {
            len,
            span: len.saturating_mul(4),
            block_len: BLOCK as u64,
            blocks: RwLock::default(),
        }
    }

    /// Room for `len` bytes, at offsets under `len`: a block device.
    #[must_use]
    pub fn dense(len: u64) -> Self {
        Self {
            span: len,
            block_len: 0,
            ..Self::new(len)
        }
    }

    /// Bytes of the blocks that take room.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        self.blocks.read().len() as u64 * BLOCK as u64
    }

    /// All bytes of the blocks that take room.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        let blocks = self.blocks.read();
        blocks
            .values()
            .flat_map(|block| block.iter().copied())
            .collect()
    }

    fn check(&self, offset: u64, len: usize) -> io::Result<()> {
        let end = offset.checked_add(len as u64);
        match end {
            Some(end) if end <= self.span => Ok(()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// Parts of `len` bytes from `offset` on that lie in one block each: block, place in it, length.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = offset + done as u64;
        let inside = (at % BLOCK as u64) as usize;
        let part = (BLOCK - inside).min(len - done);
        done += part;
        (part != 0).then_some((at / BLOCK as u64, inside, part))
    })
}

impl Store for MemoryStore {
    fn read_at(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        self.check(offset, out.len())?;
        let blocks = self.blocks.read();
        for (block, inside, part) in parts(offset, out.len()) {
            let (now, rest) = out.split_at_mut(part);
            match blocks.get(&block) {
                Some(block) => now.copy_from_slice(&block[inside..inside + part]),
                None => now.fill(0),
            }
            out = rest;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len())?;
        let mut blocks = self.blocks.write();
        for (block, inside, part) in parts(offset, bytes.len()) {
            let (now, rest) = bytes.split_at(part);
            if !blocks.contains_key(&block) && blocks.len() as u64 * BLOCK as u64 >= self.len {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let block = blocks.entry(block).or_insert_with(|| Box::new([0; BLOCK]));
            block[inside..inside + part].copy_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.checked_add(len).filter(|&end| end <= self.span);
        let end = end.ok_or(io::ErrorKind::InvalidInput)?;
        let first = offset.div_ceil(BLOCK as u64);
        let behind = end / BLOCK as u64;
        if first < behind {
            let mut blocks = self.blocks.write();
            let mut rest = blocks.split_off(&first);
            blocks.append(&mut rest.split_off(&behind));
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn span(&self) -> u64 {
        self.span
    }

    fn block_len(&self) -> u64 {
        self.block_len
    }
}
