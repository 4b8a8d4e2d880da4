//! A bump allocator: an instance lives for one decision, so nothing is ever given back.
//!
//! It starts behind the data and grows the memory only when the initial pages are used up, so the
//! usual call never changes a page mapping.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::Cell;

const PAGE_BYTES: usize = 65_536;

/// The allocator's one word of state: the next free address, 0 before the first use.
pub(super) struct Bump(Cell<usize>);

// SAFETY: a component instance runs on one thread and the module has no shared memory.
unsafe impl Sync for Bump {}

unsafe extern "C" {
    static __heap_base: u8;
}

impl Bump {
    /// An allocator that has given nothing yet.
    pub(super) const fn new() -> Self {
        Self(Cell::new(0))
    }

    /// Make everything before `end` memory that is taken.
    fn take_up_to(&self, end: usize) -> bool {
        let have = memory_size::<0>() * PAGE_BYTES;
        if end > have && memory_grow::<0>((end - have).div_ceil(PAGE_BYTES)) == usize::MAX {
            return false;
        }
        self.0.set(end);
        true
    }
}

// SAFETY: every block lies between `__heap_base` and the end of memory and is handed out once;
// arithmetic that would wrap answers null.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let next = match self.0.get() {
            0 => &raw const __heap_base as usize,
            next => next,
        };
        let Some(start) = next.checked_next_multiple_of(layout.align()) else { return core::ptr::null_mut() };
        let Some(end) = start.checked_add(layout.size()) else { return core::ptr::null_mut() };
        if self.take_up_to(end) { start as *mut u8 } else { core::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}

    /// The block handed out last grows where it stands; another one is copied.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let start = block as usize;
        if start + layout.size() == self.0.get() {
            let Some(end) = start.checked_add(size) else { return core::ptr::null_mut() };
            return if self.take_up_to(end) { block } else { core::ptr::null_mut() };
        }
        // SAFETY: the caller keeps to the contract of `realloc`, which asks more than that of `alloc`: a layout
        // of the old alignment and the new size is valid.
        let grown = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !grown.is_null() {
            // SAFETY: both blocks hold as many bytes, and a new one overlaps no other.
            unsafe { core::ptr::copy_nonoverlapping(block, grown, layout.size().min(size)) };
        }
        grown
    }
}
