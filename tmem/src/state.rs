//! Who uses a page that left the index: pins, and the one moment at which its id is free.
//!
//! ```text
//!   bit  23     4   3 2 1 0
//!        [ pins  | - - D R ]      R retired: no key leads here any more
//!                                 D damaged: its bytes did not decode
//! ```
//!
//! A *pin* is a reader that decodes the page without the index lock. A page that is taken out of
//! the index while it is pinned is *retired*; the reader that lets go last frees it. Every change
//! is made under the index lock, so exactly one of them is told [`Fate::Free`].

const RETIRED: u32 = 1;
const DAMAGED: u32 = 1 << 1;
const PIN: u32 = 1 << 4;

/// Bits of a state.
pub(crate) const BITS: u32 = 24;

/// What a page's record says about its users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(u32);

/// Who has to free a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The caller: nobody else knows the page any more.
    Free,
    /// Somebody else, later.
    Keep,
}

impl State {
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits & ((1 << BITS) - 1))
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// One more reader; `None` if there are 2^20 already.
    pub(crate) fn pin(self) -> Option<Self> {
        let bits = self.0 + PIN;
        (bits < 1 << BITS).then_some(Self(bits))
    }

    /// A reader less.
    pub(crate) fn unpin(self) -> (Self, Fate) {
        debug_assert!(self.is_pinned(), "unpinned more often than pinned");
        let state = Self(self.0.saturating_sub(PIN));
        let last = state.0 & RETIRED != 0 && !state.is_pinned();
        (state, if last { Fate::Free } else { Fate::Keep })
    }

    /// The page left the index.
    pub(crate) fn retire(self) -> (Self, Fate) {
        debug_assert!(self.0 & RETIRED == 0, "retired twice");
        let fate = if self.is_pinned() {
            Fate::Keep
        } else {
            Fate::Free
        };
        (Self(self.0 | RETIRED), fate)
    }

    pub(crate) fn is_pinned(self) -> bool {
        self.0 >= PIN
    }

    pub(crate) fn is_retired(self) -> bool {
        self.0 & RETIRED != 0
    }

    pub(crate) fn with_damage(self) -> Self {
        Self(self.0 | DAMAGED)
    }

    pub(crate) fn is_damaged(self) -> bool {
        self.0 & DAMAGED != 0
    }
}

#[cfg(test)]
mod tests;
