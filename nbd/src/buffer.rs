//! Inbox and outbox: made once for a connection, never grown.

/// Bytes between two marks.
///
/// ```text
///   0          start            end             capacity
///   │  gone      │  held          │  room            │
/// ```
struct Bytes {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Bytes {
    fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn held(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Lets go of the first `count` bytes.
    fn let_go(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            // Where the cache is warm, and nothing has to be moved later.
            (self.start, self.end) = (0, 0);
        }
    }
}

/// Bytes that arrived and are not used yet.
pub(crate) struct Inbox(Bytes);

impl Inbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Bytes::new(capacity))
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.bytes.len()
    }

    /// What arrived and is not used yet.
    pub(crate) fn filled(&self) -> &[u8] {
        self.0.held()
    }

    /// Marks bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.0.let_go(count);
    }

    /// Where to receive, so that `need` bytes from `start` on fit: empty only if they are there.
    pub(crate) fn room(&mut self, need: usize) -> &mut [u8] {
        let Bytes { bytes, start, end } = &mut self.0;
        let fits = start.saturating_add(need) <= bytes.len();
        if !fits || *end == bytes.len() {
            bytes.copy_within(*start..*end, 0);
            (*start, *end) = (0, *end - *start);
        }
        bytes.get_mut(*end..).unwrap_or_default()
    }

    /// Marks bytes of the room as arrived.
    pub(crate) fn received(&mut self, count: usize) {
        self.0.end = self.0.end.saturating_add(count).min(self.0.bytes.len());
    }
}

/// Bytes to send.
pub(crate) struct Outbox(Bytes);

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Bytes::new(capacity))
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.bytes.len()
    }

    /// Bytes that may still be written.
    pub(crate) fn room(&self) -> usize {
        self.0.bytes.len() - self.0.end
    }

    pub(crate) fn pending(&self) -> &[u8] {
        self.0.held()
    }

    pub(crate) fn sent(&mut self, count: usize) {
        self.0.let_go(count);
    }

    /// Where the next byte goes, to come back to with [`truncate`](Self::truncate).
    pub(crate) fn mark(&self) -> usize {
        self.0.end
    }

    /// Takes back what was written since the mark.
    pub(crate) fn truncate(&mut self, mark: usize) {
        self.0.end = self.0.end.min(mark).max(self.0.start);
    }

    /// Room of this size, to be filled; empty where there is not so much.
    pub(crate) fn reserve(&mut self, len: usize) -> &mut [u8] {
        let Bytes { bytes, end, .. } = &mut self.0;
        match bytes.get_mut(*end..end.saturating_add(len)) {
            Some(room) => {
                *end += len;
                room
            }
            None => {
                debug_assert!(false, "callers look at the room first");
                Default::default()
            }
        }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let room = self.reserve(bytes.len());
        if room.len() == bytes.len() {
            room.copy_from_slice(bytes);
        }
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_makes_room_for_what_is_needed() {
        let mut inbox = Inbox::new(8);
        assert_eq!(inbox.room(4).len(), 8);
        inbox.room(4).copy_from_slice(b"abcdefgh");
        inbox.received(8);
        assert!(inbox.room(8).is_empty());
        inbox.consume(6);
        assert_eq!(inbox.filled(), b"gh");
        assert_eq!(inbox.room(8).len(), 6);
        assert_eq!(inbox.filled(), b"gh");
        inbox.consume(100);
        assert!(inbox.filled().is_empty() && inbox.room(8).len() == 8);
    }

    #[test]
    fn an_outbox_takes_back_what_was_not_to_be() {
        let mut outbox = Outbox::new(8);
        outbox.u16(1);
        let mark = outbox.mark();
        outbox.u32(7);
        outbox.truncate(mark);
        outbox.put(b"xy");
        assert_eq!(outbox.pending(), b"\0\x01xy");
        assert_eq!(outbox.room(), 4);
        outbox.sent(3);
        assert_eq!(outbox.pending(), b"y");
        outbox.sent(1);
        assert_eq!(outbox.room(), 8);
    }
}
