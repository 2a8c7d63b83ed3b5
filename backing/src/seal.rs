//! [`Sealer`]: authenticated encryption of records and tables.
//!
//! ```text
//!  sealed   [ bytes ][ zeroes ][ padding's length, 1..=16 ][ tag, 16 ]   whole units
//!            └────────────── encrypted ──────────────────┘
//!  nonce    [ generation of the segment, 8 ][ first unit, 4 ]
//!  not stored, but authenticated   [ kind, 1 ][ key, 8 ][ segment, 4 ][ first unit, 4 ][ units, 4 ]
//! ```
//!
//! A segment gets a new generation, a number that never comes back, whenever it is opened; within
//! a generation the place for the next record only grows, also over places whose write failed. So
//! no nonce is used twice with a key.

use crate::token::{RECORD_MAX, Token, UNIT_LEN};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::Zeroizing;

pub(crate) const TAG_LEN: usize = 16;

/// Generations that one key may seal: 2^40 segments of 2^14 AES blocks each, with which GCM's
/// output still differs from random bytes with a chance of 2^-21 only.
pub(crate) const GENERATION_MAX: u64 = 1 << 40;

/// Units of something sealed.
pub(crate) const fn sealed_units(len: usize) -> u32 {
    ((len + 1 + TAG_LEN).div_ceil(UNIT_LEN)) as u32
}

const _: () = assert!(sealed_units(RECORD_MAX) < crate::token::SEGMENT_UNITS / 2);

/// What a sealed piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Record = 1,
    Table = 2,
}

/// Where a sealed piece lies, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) key: u64,
    pub(crate) generation: u64,
    pub(crate) token: Token,
}

impl Place {
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.generation.to_le_bytes());
        nonce[8..].copy_from_slice(&self.token.first_unit().to_le_bytes());
        nonce
    }

    fn associated(&self) -> [u8; 21] {
        let mut bytes = [0; 21];
        bytes[0] = self.kind as u8;
        bytes[1..9].copy_from_slice(&self.key.to_le_bytes());
        bytes[9..13].copy_from_slice(&self.token.segment().to_le_bytes());
        bytes[13..17].copy_from_slice(&self.token.first_unit().to_le_bytes());
        bytes[17..].copy_from_slice(&self.token.units().to_le_bytes());
        bytes
    }
}

/// The last place that was sealed. Places are sealed in ascending order, so none comes twice.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    last: Option<(u64, u32)>,
}

impl Sequence {
    /// Takes a place, if it lies behind all before.
    fn take(&mut self, place: &Place) -> Result<(), Broken> {
        let now = (place.generation, place.token.first_unit());
        let in_order = self.last.is_none_or(|last| last < now);
        debug_assert!(in_order, "{now:?} after {:?}", self.last);
        if !in_order || place.generation > GENERATION_MAX {
            return Err(Broken);
        }
        self.last = Some(now);
        Ok(())
    }
}

/// The bytes are not what was sealed there, or must not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// A key that exists only here. It is overwritten when it is dropped.
pub(crate) enum Sealer {
    /// Where the processor multiplies and encrypts for it: a third of ChaCha's time.
    Aes(Box<Aes256Gcm>),
    /// Everywhere else: a quarter of the time of AES without instructions for it.
    ChaCha(Box<ChaCha20Poly1305>),
}

impl Sealer {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        Self::with(has_aes())
    }

    fn with(aes: bool) -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key)?;
        let key = (&*key).into();
        Ok(if aes {
            Self::Aes(Box::new(Aes256Gcm::new(key)))
        } else {
            Self::ChaCha(Box::new(ChaCha20Poly1305::new(key)))
        })
    }

    /// Appends `bytes`, sealed, to `out`: the units of the place's token.
    ///
    /// # Errors
    /// If the place was sealed before, with which a nonce would come twice; nothing is appended.
    pub(crate) fn seal(
        &self,
        sequence: &mut Sequence,
        place: Place,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        sequence.take(&place)?;
        let (start, len) = (out.len(), place.token.stored_len());
        debug_assert_eq!(place.token.units(), sealed_units(bytes.len()));
        let padding = len.checked_sub(TAG_LEN + bytes.len()).ok_or(Broken)?;
        let padding_byte = u8::try_from(padding).map_err(|_| Broken)?;
        out.extend_from_slice(bytes);
        out.resize(start + len - TAG_LEN - 1, 0);
        out.push(padding_byte);
        let sealed = out.get_mut(start..).ok_or(Broken)?;
        let (nonce, associated) = (place.nonce(), place.associated());
        let buffer = InOutBuf::from(sealed);
        let tag = match self {
            Self::Aes(cipher) => cipher.encrypt_inout_detached(&nonce.into(), &associated, buffer),
            Self::ChaCha(cipher) => {
                cipher.encrypt_inout_detached(&nonce.into(), &associated, buffer)
            }
        };
        let Ok(tag) = tag else {
            // It did not happen, so the bytes are still readable: they must not stay.
            out.truncate(start);
            return Err(Broken);
        };
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens a sealed piece where it lies. How many bytes from its start on are what was sealed.
    pub(crate) fn open(&self, place: Place, sealed: &mut [u8]) -> Result<usize, Broken> {
        if sealed.len() != place.token.stored_len() {
            return Err(Broken);
        }
        let at = sealed.len().checked_sub(TAG_LEN).ok_or(Broken)?;
        let (bytes, tag) = sealed.split_at_mut_checked(at).ok_or(Broken)?;
        let tag = <[u8; TAG_LEN]>::try_from(&*tag).map_err(|_| Broken)?;
        let (nonce, associated) = (place.nonce(), place.associated());
        let buffer = InOutBuf::from(&mut *bytes);
        match self {
            Self::Aes(cipher) => {
                cipher.decrypt_inout_detached(&nonce.into(), &associated, buffer, &tag.into())
            }
            Self::ChaCha(cipher) => {
                cipher.decrypt_inout_detached(&nonce.into(), &associated, buffer, &tag.into())
            }
        }
        .map_err(|_| Broken)?;
        let padding = usize::from(*bytes.last().ok_or(Broken)?);
        if !(1..=UNIT_LEN).contains(&padding) {
            return Err(Broken);
        }
        bytes.len().checked_sub(padding).ok_or(Broken)
    }
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests;
