//! Steps of the state one by one, and loom's view of the protocol.

use super::*;

#[test]
fn whoever_lets_go_last_frees() {
    let (retired, fate) = State::default().retire();
    assert_eq!(fate, Fate::Free);
    assert!(retired.is_retired());

    let two = State::default().pin().unwrap().pin().unwrap();
    let (two, fate) = two.retire();
    assert_eq!(fate, Fate::Keep);
    let (one, fate) = two.unpin();
    assert_eq!(fate, Fate::Keep);
    let (none, fate) = one.unpin();
    assert_eq!(fate, Fate::Free);
    assert!(!none.is_pinned());
}

#[test]
fn a_page_that_stays_in_the_index_is_freed_by_no_reader() {
    let (state, fate) = State::default().pin().unwrap().unpin();
    assert_eq!((state, fate), (State::default(), Fate::Keep));
}

#[test]
fn there_is_room_for_a_million_readers_and_not_one_more() {
    let mut state = State::default();
    let mut pins = 0;
    while let Some(more) = state.pin() {
        state = more;
        pins += 1;
    }
    assert_eq!(pins, (1 << 20) - 1);
    assert_eq!(State::from_bits(state.bits()), state);
    assert!(!state.is_damaged() && state.with_damage().is_damaged());
}

/// `RUSTFLAGS="--cfg loom" cargo test -p compcache-tmem --release --lib loom`
///
/// One key, three page ids. loom goes through all interleavings; its cells report a page that is
/// written or freed while it is read.
#[cfg(loom)]
#[allow(unsafe_code, reason = "loom's cells are raw pointers")]
mod model {
    use super::super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    const PAGES: usize = 4;
    const FREED: u64 = u64::MAX;

    struct Index {
        /// The page that the key leads to.
        current: Option<usize>,
        state: [State; PAGES],
        free: Vec<usize>,
    }

    struct Model {
        index: Mutex<Index>,
        /// The page cache: one cell a page id, no lock of its own.
        pages: [UnsafeCell<u64>; PAGES],
    }

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                index: Mutex::new(Index {
                    current: None,
                    state: [State::default(); PAGES],
                    free: (0..PAGES).collect(),
                }),
                pages: std::array::from_fn(|_| UnsafeCell::new(FREED)),
            })
        }

        fn write(&self, id: usize, value: u64) {
            // SAFETY: loom checks that nobody else is at the cell, which is what is tested.
            self.pages[id].with_mut(|cell| unsafe { *cell = value });
        }

        fn read(&self, id: usize) -> u64 {
            // SAFETY: as in `write`.
            self.pages[id].with(|cell| unsafe { *cell })
        }

        /// What `Tmem::release` does: discard, then the id is anybody's.
        fn release(&self, id: usize) {
            self.write(id, FREED);
            self.index.lock().unwrap().free.push(id);
        }

        fn retire(index: &mut Index) -> Option<usize> {
            let id = index.current.take()?;
            let (state, fate) = index.state[id].retire();
            index.state[id] = state;
            (fate == Fate::Free).then_some(id)
        }

        fn put(&self, value: u64) {
            let id = self.index.lock().unwrap().free.pop().expect("enough ids");
            self.write(id, value);
            let old = {
                let mut index = self.index.lock().unwrap();
                let old = Self::retire(&mut index);
                index.state[id] = State::default();
                index.current = Some(id);
                old
            };
            if let Some(id) = old {
                self.release(id);
            }
        }

        fn flush(&self) {
            let old = Self::retire(&mut self.index.lock().unwrap());
            if let Some(id) = old {
                self.release(id);
            }
        }

        fn get(&self) -> Option<u64> {
            let id = {
                let mut index = self.index.lock().unwrap();
                let id = index.current?;
                index.state[id] = index.state[id].pin().unwrap();
                id
            };
            let value = self.read(id);
            let fate = {
                let mut index = self.index.lock().unwrap();
                let (state, fate) = index.state[id].unpin();
                index.state[id] = state;
                fate
            };
            if fate == Fate::Free {
                self.release(id);
            }
            Some(value)
        }

        fn take(&self) -> Option<u64> {
            let id = Self::retire(&mut self.index.lock().unwrap())?;
            let value = self.read(id);
            self.release(id);
            Some(value)
        }

        fn check(&self) {
            let index = self.index.lock().unwrap();
            let live = usize::from(index.current.is_some());
            let mut free = index.free.clone();
            free.sort_unstable();
            free.dedup();
            assert_eq!(free.len(), index.free.len(), "an id was freed twice");
            assert_eq!(free.len() + live, PAGES, "an id was lost");
        }
    }

    #[test]
    fn loom_a_reader_meets_an_overwrite() {
        loom::model(|| {
            let model = Model::new();
            model.put(1);
            let writer = thread::spawn({
                let model = model.clone();
                move || {
                    model.put(2);
                    assert_eq!(model.get(), Some(2), "the old page after the new one");
                }
            });
            assert!(matches!(model.get(), Some(1 | 2)));
            writer.join().unwrap();
            assert_eq!(model.get(), Some(2));
            model.check();
        });
    }

    #[test]
    fn loom_two_readers_meet_a_flush() {
        loom::model(|| {
            let model = Model::new();
            model.put(1);
            let readers = [0; 2].map(|_| {
                let model = model.clone();
                thread::spawn(move || assert!(matches!(model.get(), None | Some(1))))
            });
            model.flush();
            assert_eq!(model.get(), None, "a page after its flush");
            for reader in readers {
                reader.join().unwrap();
            }
            model.check();
        });
    }

    #[test]
    fn loom_an_exclusive_get_is_one_readers_only() {
        loom::model(|| {
            let model = Model::new();
            model.put(1);
            let other = thread::spawn({
                let model = model.clone();
                move || model.take()
            });
            let here = model.take();
            let there = other.join().unwrap();
            assert_eq!(
                [here, there].iter().flatten().collect::<Vec<_>>(),
                [&1],
                "exactly one has the page"
            );
            model.put(3);
            assert_eq!(model.take(), Some(3));
            model.check();
        });
    }
}
