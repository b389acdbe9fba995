//! Vectors that are made and freed for every row.
//!
//! Before the standard library asks the allocator, it calls a function that does nothing, for the
//! linker's sake; and the allocator is a call as well. In a component a call looks at the clock and
//! for the end of the stack, which costs more than a block of memory. So the heap is asked here in
//! line. Vectors made in either way may be freed in either way.

#[cfg(target_arch = "wasm32")]
use alloc::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use alloc::vec::Vec;

#[cfg(target_arch = "wasm32")]
use crate::heap::HEAP;

/// The block of so many, where they take one.
#[cfg(target_arch = "wasm32")]
#[inline(always)]
fn layout<T>(count: usize) -> Option<Layout> {
    Layout::array::<T>(count).ok().filter(|layout| layout.size() > 0)
}

/// As [`Vec::with_capacity`].
#[cfg(target_arch = "wasm32")]
#[inline(always)]
pub(crate) fn with_capacity<T>(count: usize) -> Vec<T> {
    let Some(layout) = layout::<T>(count) else {
        return Vec::with_capacity(count);
    };
    // SAFETY: the layout has a size; and the heap is the global allocator, whose block has room for
    // so many.
    unsafe {
        let block = HEAP.alloc(layout);
        if block.is_null() {
            handle_alloc_error(layout);
        }
        Vec::from_raw_parts(block.cast(), 0, count)
    }
}

/// Frees a vector of what needs no dropping.
#[cfg(target_arch = "wasm32")]
#[inline(always)]
pub(crate) fn free<T: Copy>(vector: Vec<T>) {
    let mut vector = core::mem::ManuallyDrop::new(vector);
    if let Some(layout) = layout::<T>(vector.capacity()) {
        // SAFETY: the heap is the global allocator, and this the layout of the vector's block, which
        // nobody has any more.
        unsafe { HEAP.dealloc(vector.as_mut_ptr().cast(), layout) };
    }
}

/// As [`Vec::with_capacity`].
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn with_capacity<T>(count: usize) -> Vec<T> {
    Vec::with_capacity(count)
}

/// Frees a vector of what needs no dropping.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn free<T: Copy>(vector: Vec<T>) {
    drop(vector);
}
