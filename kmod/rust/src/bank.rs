//! Workspaces, one for each CPU, for all devices together.
//!
//! Compressing happens with preemption off, so there are never more borrowers than CPUs, and
//! nobody waits for a workspace.

use crate::errno::EINVAL;
use crate::pages::PAGE;
use compcache::{Lz4, Lz4Workspace, Shared};
use core::ops::Deref;
use core::slice;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

type Workspace = Shared<Lz4, PAGE>;

static START: AtomicPtr<Workspace> = AtomicPtr::new(core::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A fresh workspace, copied to make others: 29 KiB must not pass through the stack. It goes with the
/// rest of the module's initialisation.
#[unsafe(link_section = ".init.data")]
static FRESH: Workspace = Shared::new(Lz4Workspace::small());

/// All workspaces; none before [`compcache_bank_init`].
pub struct Bank;

impl Deref for Bank {
    type Target = [Workspace];

    #[inline]
    fn deref(&self) -> &[Workspace] {
        workspaces()
    }
}

#[inline]
fn workspaces() -> &'static [Workspace] {
    let start = START.load(Ordering::Acquire);
    if start.is_null() {
        return &[];
    }
    // SAFETY: set by `compcache_bank_init` to as many workspaces that live as long as the module.
    unsafe { slice::from_raw_parts(start, COUNT.load(Ordering::Relaxed)) }
}

/// Bytes of a workspace.
#[unsafe(no_mangle)]
pub extern "C" fn compcache_bank_bytes() -> usize {
    size_of::<Workspace>()
}

/// Makes `count` workspaces in `room`. Once, while the module is initialised. May sleep.
///
/// # Safety
///
/// `room` is `count * compcache_bank_bytes()` writable bytes, aligned to 128, that nobody else uses
/// until the module goes.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".init.text")]
pub unsafe extern "C" fn compcache_bank_init(room: *mut u8, count: usize) -> i32 {
    let start = room.cast::<Workspace>();
    if room.is_null() || !start.is_aligned() || count == 0 || !workspaces().is_empty() {
        return EINVAL;
    }
    for number in 0..count {
        // SAFETY: 1. inside the caller's room; 2. a workspace that nobody has used owns nothing and
        // does not know where it lies, so a copy of its bytes is one too.
        unsafe {
            start
                .add(number)
                .copy_from_nonoverlapping(&raw const FRESH, 1)
        };
    }
    COUNT.store(count, Ordering::Relaxed);
    START.store(start, Ordering::Release);
    0
}
