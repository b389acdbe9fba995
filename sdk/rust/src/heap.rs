//! The allocator of a component.
//!
//! An instance lives for one call, so memory is never given back: new blocks lie one behind the
//! other, and a block that is freed waits for the next one of its size. The last block grows where
//! it lies, which is what a column under construction does. Memory that was never used is zero.
//!
//! Memory grows in large steps, because each step is a call of the host and changes the process's
//! address space.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;

/// A block of more bytes stays where it is when it shrinks.
const LARGE: usize = 32 << 10;

/// Every block begins at a multiple of this, and is one in size.
const GRAIN: usize = 16;

/// The sizes between one power of two and the next, as a power of two.
const STEPS_LOG: u32 = 2;

/// Sizes of blocks, up to all of an address space of 32 bits.
const SIZES: usize = 128;

/// Memory that only grows.
///
/// # Safety
/// All bytes between the first address that [`grow`](Self::grow) was given and the last that it
/// returned belong to the heap alone, and are zero at first.
pub(crate) unsafe trait Memory {
    /// Where the heap begins, a multiple of 16.
    fn start(&self) -> usize;

    /// Makes room from `end`, where the memory ends now or `None` at first, for as many bytes or
    /// more. Where memory ends then, or `None` when there is no more.
    fn grow(&self, end: Option<usize>, bytes: usize) -> Option<usize>;

    /// A pointer to an address of this memory.
    fn at(&self, address: usize) -> *mut u8;
}

/// Blocks in a [`Memory`], for one thread.
pub(crate) struct Heap<M> {
    memory: M,
    /// Where the next new block begins; nothing before the first.
    next: Cell<Option<usize>>,
    /// Where memory ends.
    end: Cell<Option<usize>>,
    /// For each size, the block that was freed last. Its first word is the one before it.
    free: [Cell<*mut u8>; SIZES],
}

impl<M: Memory> Heap<M> {
    pub(crate) const fn new(memory: M) -> Self {
        Self {
            memory,
            next: Cell::new(None),
            end: Cell::new(None),
            free: [const { Cell::new(ptr::null_mut()) }; SIZES],
        }
    }

    /// A block that was never used; null where there is no room. Most blocks were freed before, so
    /// this is not made part of whoever wants one.
    #[cold]
    fn new_block(&self, size: usize, align: usize) -> *mut u8 {
        let next = self.next.get().unwrap_or_else(|| self.memory.start());
        let address = next.checked_next_multiple_of(align.max(GRAIN));
        let address = address.filter(|address| {
            address.checked_add(size).and_then(|end| self.extend_to(end)).is_some()
        });
        address.map_or(ptr::null_mut(), |address| self.memory.at(address))
    }

    /// Makes the last block end here.
    fn extend_to(&self, next: usize) -> Option<()> {
        let end = self.end.get();
        let has = end.unwrap_or_else(|| self.memory.start());
        if next > has {
            self.end.set(Some(self.memory.grow(end, next - has)?));
        }
        self.next.set(Some(next));
        Some(())
    }

    /// Whether this block of this size is the last.
    fn is_last(&self, block: *mut u8, size: usize) -> bool {
        self.next.get() == Some(block as usize + size)
    }

    /// A block that was freed, if there is one of the size and of the usual alignment.
    #[inline(always)]
    fn freed_block(&self, place: usize, align: usize) -> Option<*mut u8> {
        let head = &self.free[place % SIZES];
        let block = head.get();
        if block.is_null() || align > GRAIN {
            return None;
        }
        // SAFETY: `dealloc` wrote the pointer into the block, which nobody has used since.
        head.set(unsafe { block.cast::<*mut u8>().read() });
        Some(block)
    }
}

/// The place of the smallest size that holds as many bytes, and that size. There are four sizes to
/// each power of two.
#[inline(always)]
fn size_of_block(bytes: usize) -> (usize, usize) {
    // One less than grains, and no bytes as good as one.
    let last = bytes.saturating_sub(1) / GRAIN;
    // Nothing here goes past a word for as many bytes as a layout may have; a check would be a call.
    if last < 1 << STEPS_LOG {
        return (last, last.wrapping_add(1).wrapping_mul(GRAIN));
    }
    let shift = last.ilog2() - STEPS_LOG;
    let steps = last >> shift;
    // From 4 to 7 steps of the shift are full; the block has one more.
    let size = (steps.wrapping_add(1) << shift).wrapping_mul(GRAIN);
    (((shift as usize) << STEPS_LOG).wrapping_add(steps), size)
}

// SAFETY: blocks do not overlap, have the size and the alignment asked for, and stay in place; no
// method panics: sizes are at most `isize::MAX`, so that their places are within `SIZES` on 32 bits.
unsafe impl<M: Memory> GlobalAlloc for Heap<M> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (place, size) = size_of_block(layout.size());
        let freed = self.freed_block(place, layout.align());
        freed.unwrap_or_else(|| self.new_block(size, layout.align()))
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (place, size) = size_of_block(layout.size());
        if let Some(block) = self.freed_block(place, layout.align()) {
            // SAFETY: the block has at least this size.
            unsafe { block.write_bytes(0, layout.size()) };
            return block;
        }
        self.new_block(size, layout.align())
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (place, _) = size_of_block(layout.size());
        let head = &self.free[place % SIZES];
        // SAFETY: the block is ours again, aligned to a grain and at least one long.
        unsafe { block.cast::<*mut u8>().write(head.get()) };
        head.set(block);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let (_, old) = size_of_block(layout.size());
        let (_, new) = size_of_block(bytes);
        // A large block that shrinks is a finished column: what is left over is not worth a copy.
        if old == new || (new < old && old > LARGE) {
            return block;
        }
        if new > old && self.is_last(block, old) {
            return match self.extend_to(block as usize + new) {
                Some(()) => block,
                None => ptr::null_mut(),
            };
        }
        // SAFETY: the size is not zero and, rounded up to the alignment, at most `isize::MAX`, as
        // the caller has promised; both blocks have the bytes that are copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use component::HEAP;

/// The memory of a component, behind its data and stack.
#[cfg(target_arch = "wasm32")]
mod component {
    use core::arch::wasm32::{memory_grow, memory_size};

    use super::{GRAIN, Heap, Memory};

    const PAGE: usize = 64 << 10;

    /// What memory grows by at least, in pages.
    const STEP: usize = 8;

    /// The memory there is.
    pub(crate) struct Linear;

    // SAFETY: what lies behind `__heap_base` is nobody's, and the host gives memory of zeros.
    unsafe impl Memory for Linear {
        fn start(&self) -> usize {
            unsafe extern "C" {
                static __heap_base: u8;
            }
            (&raw const __heap_base as usize).next_multiple_of(GRAIN)
        }

        fn grow(&self, end: Option<usize>, bytes: usize) -> Option<usize> {
            let start = end.unwrap_or_else(|| self.start());
            let now = memory_size::<0>() * PAGE;
            match end {
                // At first, what the component has from its start.
                None if now - start >= bytes => return Some(now),
                // Somebody else's memory lies there.
                Some(end) if end != now => return None,
                _ => {}
            }
            let least = (start + bytes - now).div_ceil(PAGE);
            let grown = [least.max(STEP), least]
                .into_iter()
                .find(|pages| memory_grow::<0>(*pages) != usize::MAX)?;
            Some(now + grown * PAGE)
        }

        fn at(&self, address: usize) -> *mut u8 {
            core::ptr::with_exposed_provenance_mut(address)
        }
    }

    // SAFETY: a component has one thread.
    unsafe impl Sync for Heap<Linear> {}

    /// The allocator of the component.
    #[global_allocator]
    pub(crate) static HEAP: Heap<Linear> = Heap::new(Linear);
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// So many bytes, of which the heap gets a few at a time.
    struct Bytes(Vec<u128>);

    impl Bytes {
        fn new(bytes: usize) -> Self {
            Self(vec![0; bytes / 16])
        }
    }

    // SAFETY: the bytes are those of a vector of zeros that nothing else uses.
    unsafe impl Memory for Bytes {
        fn start(&self) -> usize {
            self.0.as_ptr() as usize
        }

        fn grow(&self, end: Option<usize>, bytes: usize) -> Option<usize> {
            let end = end.unwrap_or_else(|| self.start()) + bytes.next_multiple_of(1 << 12);
            (end <= self.start() + self.0.len() * 16).then_some(end)
        }

        fn at(&self, address: usize) -> *mut u8 {
            self.0.as_ptr().cast::<u8>().cast_mut().wrapping_add(address - self.start())
        }
    }

    #[test]
    fn sizes_ascend_and_hold_what_was_asked_for() {
        let mut last = (0, 16);
        for bytes in (0..100_000).chain([1 << 20, (1 << 20) + 1, 1 << 31, u32::MAX as usize]) {
            let (place, size) = size_of_block(bytes);
            assert!(size >= bytes && size.is_multiple_of(GRAIN) && place < SIZES, "{bytes}");
            assert!(bytes < 64 || size <= bytes + bytes / 4 + GRAIN, "{bytes} in {size}");
            assert!(place == last.0 && size == last.1 || place > last.0 && size > last.1);
            last = (place, size);
        }
    }

    #[test]
    fn blocks_keep_what_is_in_them() {
        let heap = Heap::new(Bytes::new(64 << 20));
        let mut blocks: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for step in 0..50_000_u32 {
            let (mark, align) = (step as u8 | 1, 1 << next(6));
            let most = 1 << next(13);
            let size = 1 + next(most) as usize;
            let check = |block: *mut u8, size: usize, mark: u8| {
                // SAFETY: the block was filled up to here.
                let bytes = unsafe { core::slice::from_raw_parts(block, size) };
                assert!(bytes.iter().all(|byte| *byte == mark), "step {step}");
            };
            let chosen = (!blocks.is_empty()).then(|| next(blocks.len() as u64) as usize);
            // SAFETY: every block is used with its own layout, within it, until it is freed.
            unsafe {
                match (next(4), chosen) {
                    (0, Some(chosen)) => {
                        let (block, layout, mark) = blocks.swap_remove(chosen);
                        check(block, layout.size(), mark);
                        heap.dealloc(block, layout);
                    }
                    (1, Some(chosen)) => {
                        let (block, layout, old) = blocks[chosen];
                        let moved = heap.realloc(block, layout, size);
                        check(moved, layout.size().min(size), old);
                        moved.write_bytes(mark, size);
                        let layout = Layout::from_size_align(size, layout.align()).unwrap();
                        blocks[chosen] = (moved, layout, mark);
                    }
                    (kind, _) => {
                        let layout = Layout::from_size_align(size, align).unwrap();
                        let block = match kind {
                            2 => heap.alloc(layout),
                            _ => heap.alloc_zeroed(layout),
                        };
                        assert!(!block.is_null() && (block as usize).is_multiple_of(align));
                        if kind != 2 {
                            check(block, size, 0);
                        }
                        block.write_bytes(mark, size);
                        blocks.push((block, layout, mark));
                    }
                }
            }
            if blocks.len() > 200 {
                let (block, layout, mark) = blocks.remove(0);
                check(block, layout.size(), mark);
                // SAFETY: as above.
                unsafe { heap.dealloc(block, layout) };
            }
        }
    }

    #[test]
    fn the_last_block_grows_in_place_and_memory_ends() {
        let heap = Heap::new(Bytes::new(1 << 16));
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: as above.
        unsafe {
            let block = heap.alloc(layout);
            assert_eq!(heap.realloc(block, layout, 10_000), block);
            let other = heap.alloc(layout);
            let grown = Layout::from_size_align(10_000, 8).unwrap();
            assert_ne!(heap.realloc(block, grown, 20_000), block);
            heap.dealloc(other, layout);
            assert_eq!(heap.alloc(layout), other);
            assert!(heap.alloc(Layout::from_size_align(1 << 16, 8).unwrap()).is_null());
            assert!(!heap.alloc(layout).is_null());
        }
    }
}
