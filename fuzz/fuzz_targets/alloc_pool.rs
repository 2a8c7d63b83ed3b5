//! The handle pool beside a list of objects: stale, forged and held handles, ranges that do not
//! fit, pages that run out, the limit, packing.
#![no_main]

mod model_common;

use alloc_xv::{
    AccessError, AllocError, Compact, Counting, Failing, Handle, OBJECT_MAX, PageSource, Pool,
    Reading,
};
use libfuzzer_sys::fuzz_target;
use model_common::{
    Counted, Input, OPS_MAX, Regions, Source, is_no_memory, pattern, without_pages_max,
};

const HELD_MAX: usize = 3;

/// One arena: with more, which one is used depends on the thread's stack, so that an input
/// would not do the same twice.
type Objects<'s, P> = Pool<Source<'s, P>, spin::Mutex<()>, 1>;

struct Live {
    handle: Handle,
    bytes: Vec<u8>,
}

fn assert_refused<P: PageSource>(pool: &Objects<'_, P>, handle: Handle) {
    let bad = AccessError::BadHandle;
    assert_eq!(pool.size(handle), Err(bad));
    assert_eq!(pool.read(handle).err(), Some(bad));
    assert_eq!(pool.read_into(handle, 0, &mut [0]), Err(bad));
    assert_eq!(pool.write(handle, 0, &[1]), Err(bad));
    assert_eq!(pool.free(handle), Err(bad));
}

fn verify<P: PageSource>(pool: &Objects<'_, P>, object: &Live) {
    assert_eq!(pool.size(object.handle), Ok(object.bytes.len()));
    let reading = pool.read(object.handle).unwrap();
    assert!(reading.fragments().concat() == object.bytes);
}

fn alloc<P: PageSource>(
    pool: &Objects<'_, P>,
    size: usize,
    seed: u64,
    filled: bool,
) -> Option<Live> {
    let before = pool.stats();
    let mut bytes = pattern(seed, size);
    let result = if filled {
        pool.alloc_from(&bytes)
    } else {
        bytes.fill(0);
        pool.alloc(size)
    };
    match result {
        Ok(handle) => {
            assert_eq!(Handle::from_bits(handle.to_bits()), Some(handle));
            Some(Live { handle, bytes })
        }
        Err(error) => {
            if size > OBJECT_MAX {
                let max = OBJECT_MAX;
                assert_eq!(error, AllocError::BadSize { size, max });
            } else {
                assert!(is_no_memory(error), "{error}");
            }
            assert_eq!(without_pages_max(pool.stats()), without_pages_max(before));
            None
        }
    }
}

fn write<P: PageSource>(
    pool: &Objects<'_, P>,
    object: &mut Live,
    seed: u64,
    input: &mut Input<'_>,
) {
    let (offset, len) = (usize::from(input.word()), usize::from(input.word()));
    // Most ranges fit.
    let offset = offset % (object.bytes.len() + 2);
    let len = match len % 8 {
        0 => len,
        _ => len % (object.bytes.len() - offset.min(object.bytes.len()) + 1),
    };
    let new = pattern(!seed, len);
    let size = object.bytes.len();
    match object.bytes.get_mut(offset..offset + len) {
        Some(part) => {
            part.copy_from_slice(&new);
            pool.write(object.handle, offset, &new).unwrap();
            let mut back = vec![0xa5; len];
            pool.read_into(object.handle, offset, &mut back).unwrap();
            assert!(back == new);
        }
        None => {
            let error = Err(AccessError::BadRange { offset, len, size });
            assert_eq!(pool.write(object.handle, offset, &new), error);
            assert_eq!(
                pool.read_into(object.handle, offset, &mut vec![0; len]),
                error
            );
        }
    }
}

fn run<P: PageSource + 'static>(pages: &'static P, mut input: Input<'_>) {
    let frames: Counted<P> = Counting::new(pages);
    let pool: Objects<'_, P> = Pool::new(Failing::new(&frames));
    let mut live: Vec<Live> = Vec::new();
    let mut stale: Vec<Handle> = Vec::new();
    let mut held: Vec<(Live, Reading<'_>)> = Vec::new();
    for seed in 0..OPS_MAX as u64 {
        if input.is_empty() {
            break;
        }
        let op = input.byte() % 32;
        let choice = usize::from(input.byte());
        let place = (!live.is_empty()).then(|| choice % live.len());
        match (op, place) {
            (0..=10, _) => {
                let size = input.size();
                live.extend(alloc(&pool, size, seed, op % 2 == 0));
            }
            (11..=16, Some(place)) => {
                let object = live.swap_remove(place);
                verify(&pool, &object);
                assert_eq!(pool.free(object.handle), Ok(()));
                assert_refused(&pool, object.handle);
                stale.push(object.handle);
            }
            (17, Some(place)) => verify(&pool, &live[place]),
            (18 | 19, Some(place)) => write(&pool, &mut live[place], seed, &mut input),
            (20, Some(place)) if held.len() < HELD_MAX => {
                let object = live.swap_remove(place);
                let reading = pool.read(object.handle).unwrap();
                held.push((object, reading));
            }
            (21, _) if !held.is_empty() => {
                let (object, reading) = held.swap_remove(choice % held.len());
                assert!(reading.fragments().concat() == object.bytes);
                drop(reading);
                live.push(object);
            }
            (22 | 23, _) => {
                if let Some(&handle) = stale.get(choice % stale.len().max(1)) {
                    assert!(live.iter().all(|object| object.handle != handle));
                    assert_refused(&pool, handle);
                }
            }
            (24, _) => {
                // Somewhere near a handle that is or was good.
                let near = live.first().map(|object| object.handle);
                let near = near.or(stale.last().copied()).map_or(0, Handle::to_bits);
                let forged = Handle::from_bits(near ^ input.number());
                let is_good = |handle| {
                    let mut good = live.iter().chain(held.iter().map(|(object, _)| object));
                    good.any(|object| object.handle == handle)
                };
                if let Some(handle) = forged.filter(|&handle| !is_good(handle)) {
                    assert_refused(&pool, handle);
                }
            }
            (25, _) => {
                pool.compact(choice as u64);
            }
            (26, _) => match choice as u32 % 5 {
                // The thread never comes, so that allocations pack.
                4 => pool.attach(Some(std::thread::current())),
                moves => pool.set_inline_moves(moves),
            },
            (27, _) => pool.source().fail_after(choice % 8),
            (28, _) => pool.source().never_fail(),
            (29, _) => pool.set_limit_pages(choice),
            (30, _) => pool.set_limit_pages(usize::MAX),
            (31, _) if held.is_empty() => pool.check().unwrap(),
            _ => {}
        }
    }
    for (object, reading) in held {
        assert!(reading.fragments().concat() == object.bytes);
        drop(reading);
        live.push(object);
    }
    pool.check().unwrap();
    let stats = pool.stats();
    assert_eq!(stats.objects, live.len() as u64);
    let payload: usize = live.iter().map(|object| object.bytes.len()).sum();
    assert_eq!(stats.payload_bytes, payload as u64);
    assert_eq!(pool.pages_used(), frames.taken());
    assert_eq!(stats.used_bytes(), (frames.taken() * P::PAGE_SIZE) as u64);
    for object in &live {
        verify(&pool, object);
    }
    if stale.len().is_multiple_of(2) {
        for object in live.drain(..) {
            assert_eq!(pool.free(object.handle), Ok(()));
        }
        pool.check().unwrap();
        // The generations of handles stay: one directory.
        assert!(pool.pages_used() <= 1);
    }
    drop(pool);
    assert_eq!(frames.taken(), 0);
}

thread_local! {
    static REGIONS: Regions = Regions::new();
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    REGIONS.with(|regions| match input.byte() % 8 {
        0 => run(regions.middle, input),
        1 => run(regions.large, input),
        2..=4 => run(regions.windows, input),
        _ => run(regions.small, input),
    });
});
