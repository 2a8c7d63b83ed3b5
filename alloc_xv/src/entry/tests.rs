//! Round trips of the word, and loom's view of the protocol.

use super::*;

#[test]
fn words_keep_their_parts() {
    for offset in [0, 1, 0x8000_0000, u32::MAX] {
        for size in [1, 2, 4096, 65536, 65544, 1 << 17] {
            for tag in [0, 1, 0x555, TAG_MAX] {
                let object = Object { offset, size, tag };
                assert_eq!(Word::object(object).meaning(), Meaning::Object(object));
                assert!(!Word::object(object).is_locked());
            }
        }
    }
    for value in [0, 1, VALUE_MAX] {
        assert_eq!(Word::value(value).unwrap().meaning(), Meaning::Value(value));
    }
    assert_eq!(Word::value(VALUE_MAX + 1), None);
    assert_eq!(Word::vacant(8192, TAG_MAX).meaning(), Meaning::Nothing);
    assert_eq!(Word::vacant(8192, TAG_MAX).vacant_parts(), (8192, TAG_MAX));
    assert_eq!(Word::NOTHING.meaning(), Meaning::Nothing);
}

#[test]
fn a_block_has_its_header_and_whole_granules() {
    assert_eq!(block_granules(1), 2);
    assert_eq!(block_granules(4), 2);
    assert_eq!(block_granules(5), 3);
    assert_eq!(block_granules(4096), 1025);
}

/// `RUSTFLAGS="--cfg loom" cargo test -p alloc_xv --release loom`
#[cfg(loom)]
#[allow(unsafe_code, reason = "loom's cells are raw pointers")]
mod model {
    use super::super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::AtomicU64 as LoomU64;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    impl Cell for LoomU64 {
        fn load(&self, order: Ordering) -> u64 {
            LoomU64::load(self, order)
        }
        fn store(&self, value: u64, order: Ordering) {
            LoomU64::store(self, value, order);
        }
    }

    /// Two places an object can be in, an entry that says in which, and an arena lock.
    struct Model {
        arena: Mutex<()>,
        entry: LoomU64,
        bytes: [UnsafeCell<u64>; 2],
    }

    impl Model {
        fn new() -> Arc<Self> {
            let object = Object {
                offset: 0,
                size: 8,
                tag: 0,
            };
            Arc::new(Self {
                arena: Mutex::new(()),
                entry: LoomU64::new(Word::object(object).0),
                bytes: [UnsafeCell::new(7), UnsafeCell::new(0)],
            })
        }

        /// Waits for the entry as the slots do: never with the arena's lock in hand.
        fn lock(&self) -> Word {
            loop {
                {
                    let _arena = self.arena.lock().unwrap();
                    if let Some(word) = try_lock(&self.entry) {
                        return word;
                    }
                }
                thread::yield_now();
            }
        }

        fn read(&self) -> Option<u64> {
            let word = self.lock();
            let found = match word.meaning() {
                Meaning::Object(object) => {
                    // loom panics here if anybody writes these bytes meanwhile.
                    Some(self.bytes[object.offset as usize].with(|p| unsafe { *p }))
                }
                _ => None,
            };
            unlock(&self.entry, word);
            found
        }

        /// Writes a new object in place, outside the arena's lock.
        fn write(&self, value: u64) {
            let word = self.lock();
            if let Meaning::Object(object) = word.meaning() {
                self.bytes[object.offset as usize].with_mut(|p| unsafe { *p = value });
            }
            unlock(&self.entry, word);
        }

        fn move_it(&self) {
            let _arena = self.arena.lock().unwrap();
            let word = read(&self.entry);
            if word.is_locked() {
                return;
            }
            if let Meaning::Object(object) = word.meaning() {
                let to = 1 - object.offset;
                let value = self.bytes[object.offset as usize].with(|p| unsafe { *p });
                self.bytes[to as usize].with_mut(|p| unsafe { *p = value });
                self.bytes[object.offset as usize].with_mut(|p| unsafe { *p = 0 });
                set_unlocked(
                    &self.entry,
                    Word::object(Object {
                        offset: to,
                        ..object
                    }),
                );
            }
        }

        /// Changes the tag with the store that lets go: no arena lock.
        fn set_tag(&self, bits: u16) {
            let word = self.lock();
            match word.meaning() {
                Meaning::Object(object) => {
                    let tag = object.tag | bits;
                    // Whoever holds it reads it first, as those do who note that it was read.
                    self.bytes[object.offset as usize].with(|p| unsafe { *p });
                    unlock(&self.entry, Word::object(Object { tag, ..object }));
                }
                _ => unlock(&self.entry, word),
            }
        }

        /// Changes the tag in passing, under the arena's lock; true if it was not left out.
        fn visit(&self, bits: u16) -> bool {
            let _arena = self.arena.lock().unwrap();
            let word = read(&self.entry);
            if word.is_locked() {
                return false;
            }
            if let Meaning::Object(object) = word.meaning() {
                let tag = object.tag | bits;
                set_unlocked(&self.entry, Word::object(Object { tag, ..object }));
            }
            true
        }

        fn tag(&self) -> Option<u16> {
            let word = self.lock();
            unlock(&self.entry, word);
            match word.meaning() {
                Meaning::Object(object) => Some(object.tag),
                _ => None,
            }
        }

        fn free(&self) {
            loop {
                {
                    let _arena = self.arena.lock().unwrap();
                    if let Some(word) = try_lock(&self.entry) {
                        if let Meaning::Object(object) = word.meaning() {
                            self.bytes[object.offset as usize].with_mut(|p| unsafe { *p = 0 });
                        }
                        set_unlocked(&self.entry, Word::NOTHING);
                        return;
                    }
                }
                thread::yield_now();
            }
        }
    }

    fn bounded(f: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(f);
    }

    #[test]
    fn loom_read_against_move() {
        bounded(|| {
            let model = Model::new();
            let other = model.clone();
            let mover = thread::spawn(move || other.move_it());
            assert_eq!(model.read(), Some(7));
            mover.join().unwrap();
            assert_eq!(model.read(), Some(7));
        });
    }

    #[test]
    fn loom_read_against_write_and_move() {
        bounded(|| {
            let model = Model::new();
            let (a, b) = (model.clone(), model.clone());
            let mover = thread::spawn(move || a.move_it());
            let writer = thread::spawn(move || b.write(9));
            assert!(matches!(model.read(), Some(7 | 9)));
            mover.join().unwrap();
            writer.join().unwrap();
            assert_eq!(model.read(), Some(9));
        });
    }

    #[test]
    fn loom_a_tag_that_the_holder_changes_against_a_visit_and_a_move() {
        bounded(|| {
            let model = Model::new();
            let (a, b) = (model.clone(), model.clone());
            let mover = thread::spawn(move || a.move_it());
            let visitor = thread::spawn(move || b.visit(2));
            model.set_tag(1);
            mover.join().unwrap();
            // Neither change is lost, and neither undoes the move.
            let seen = visitor.join().unwrap();
            let expected = if seen { 1 | 2 } else { 1 };
            assert_eq!(model.tag(), Some(expected));
            assert_eq!(model.read(), Some(7));
        });
    }

    #[test]
    fn loom_a_tag_against_a_visit_and_a_free() {
        bounded(|| {
            let model = Model::new();
            let (a, b) = (model.clone(), model.clone());
            let visitor = thread::spawn(move || b.visit(2));
            let freer = thread::spawn(move || a.free());
            model.set_tag(1);
            visitor.join().unwrap();
            freer.join().unwrap();
            // A late store of either would bring back an object that is gone.
            assert_eq!(model.tag(), None);
            assert_eq!(model.read(), None);
        });
    }

    #[test]
    fn loom_read_against_free() {
        bounded(|| {
            let model = Model::new();
            let other = model.clone();
            let freer = thread::spawn(move || other.free());
            // The object or nothing, never the bytes of a freed one.
            assert!(matches!(model.read(), Some(7) | None));
            freer.join().unwrap();
            assert_eq!(model.read(), None);
        });
    }
}
