//! Objects that are read where they lie.

use super::compcache_pool;
use super::objects::handle_of;
use crate::object::{Header, header_of, with_object};
use crate::status::compcache_status::{self, *};
use crate::status::{Told, finish};
use alloc_xv::Reading;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

/// One piece of an object.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_fragment {
    /// Its bytes, to be read only.
    pub bytes: *const c_void,
    /// How many.
    pub len: usize,
}

/// An object that is being read; the contents are the library's. Begins with zeroes.
#[repr(C)]
pub struct compcache_reading {
    /// The library's.
    pub opaque: [u64; 16],
}

const _: () = {
    assert!(size_of::<HeldReading>() <= size_of::<compcache_reading>());
    assert!(align_of::<HeldReading>() <= align_of::<compcache_reading>());
};

/// What is in a [`compcache_reading`].
#[repr(C)]
struct HeldReading {
    /// [`READING`] while it is one.
    magic: u64,
    pool: *const Header,
    reading: MaybeUninit<Reading<'static>>,
}

const READING: u64 = 0x9e1d_c0ca_c8e5_0b03;

/// Holds an object and says where its bytes are: `*count` pieces of at most `room` in `fragments`.
/// Until `compcache_pool_read_end` the object is neither moved nor changed; who wants to write or free it waits,
/// spinning, and a second reader too. So hold it for a short time, and do not sleep meanwhile.
///
/// With too little room the object is not held, and `*count` says how many pieces there are.
///
/// Context: takes an arena's lock for a moment. Waits, spinning, while somebody reads or writes the object: never call
/// it for an object that the same thread, or what it interrupted, holds.
///
/// # Safety
///
/// See `compcache_pool_alloc`. `reading` is NULL or zeroes or was ended, and stays where it is until
/// it is ended; `fragments` is NULL or has room for so many; `count` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_read_begin(
    pool: *mut compcache_pool,
    handle: u64,
    reading: *mut compcache_reading,
    fragments: *mut compcache_fragment,
    room: usize,
    count: *mut usize,
) -> compcache_status {
    let begin = || {
        if reading.is_null() || fragments.is_null() || count.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let held = with_object!(pool, |pool| pool
            .read(handle_of(handle)?)
            .map_err(Told::told))?;
        let found = held.fragments();
        // SAFETY: not null, and the caller's word: so many may be written.
        unsafe {
            count.write(found.len());
            if found.len() > room {
                return Err(COMPCACHE_ERR_TOO_MANY_FRAGMENTS);
            }
            for (number, bytes) in found.iter().enumerate() {
                fragments.add(number).write(compcache_fragment {
                    bytes: bytes.as_ptr().cast(),
                    len: bytes.len(),
                });
            }
        }
        let place = reading.cast::<HeldReading>();
        // SAFETY: the object is not destroyed while it is being read; `reading` has room (checked
        // above), and the lifetime ends with `compcache_pool_read_end`.
        unsafe {
            let header = header_of(pool)?;
            header.readings.fetch_add(1, Ordering::AcqRel);
            place.write(HeldReading {
                magic: READING,
                pool: header,
                reading: MaybeUninit::new(core::mem::transmute::<Reading<'_>, Reading<'static>>(
                    held,
                )),
            });
        }
        Ok(())
    };
    finish(begin())
}

/// Lets go of an object. The pieces must not be looked at any more.
///
/// Context: any. Takes no lock.
///
/// # Safety
///
/// `reading` is NULL, zeroes, or was given to `compcache_pool_read_begin`; its pool lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn compcache_pool_read_end(
    reading: *mut compcache_reading,
) -> compcache_status {
    let end = || {
        if reading.is_null() {
            return Err(COMPCACHE_ERR_NULL_POINTER);
        }
        let place = reading.cast::<HeldReading>();
        // SAFETY: the caller's word; the magic number says that the rest is there, and goes.
        unsafe {
            if (&raw const (*place).magic).read() != READING {
                return Err(COMPCACHE_ERR_BAD_OBJECT);
            }
            (&raw mut (*place).magic).write(0);
            (*place).reading.assume_init_drop();
            (*(*place).pool).readings.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(())
    };
    finish(end())
}
