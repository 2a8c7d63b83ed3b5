//! Memory from the global allocator, where there is one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::WorkspaceError;

/// `len` zeroes, which never pass through the stack.
pub(crate) fn zeroed<T: Copy + Default>(len: usize) -> Result<Box<[T]>, WorkspaceError> {
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(len)
        .map_err(|_| WorkspaceError::OutOfMemory)?;
    memory.resize(len, T::default());
    Ok(memory.into_boxed_slice())
}
