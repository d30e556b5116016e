//! Large allocations in large pages.
//!
//! A processor keeps the places of some thousand pages at hand. With pages of 4 KiB that is a few
//! megabytes, and arithmetic that strides through more waits for the places of pages as often as for
//! numbers. Linux has pages of 2 MiB for who asks for them: training steps take up to a tenth
//! less time with them; the measurements are in docs/performance.md.
//!
//! This file contains unsafe code: an allocator, which hands all work to the system's.
#![expect(unsafe_code, reason = "an allocator is unsafe by its interface")]

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of a large page.
const PAGE: usize = 2 << 20;

/// The system's allocator, which is told that large allocations may lie in large pages. A program
/// has all its memory from it by `#[global_allocator]`. Anywhere but on Linux it is the system's
/// allocator as it is.
///
/// ```
/// use counterweight_core::huge_pages::HugePages;
/// #[global_allocator]
/// static ALLOCATOR: HugePages = HugePages;
/// let mut numbers = vec![1_u64; 1 << 20];
/// numbers.extend(0..1 << 20);
/// assert_eq!(numbers.iter().sum::<u64>(), (1 << 20) + (1 << 19) * ((1 << 20) - 1));
/// ```
#[derive(Debug)]
pub struct HugePages;

// SAFETY: All memory comes from the system's allocator and goes back to it with the same layout. The
// advice changes how memory is mapped, and nothing that is in it.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        advised(unsafe { System.realloc(at, layout, size) }, size)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Tells the system that all of an allocation that fills large pages may lie in them.
#[cfg(target_os = "linux")]
fn advised(at: *mut u8, size: usize) -> *mut u8 {
    use rustix::mm::{Advice, madvise};
    if size < PAGE || at.is_null() {
        return at;
    }
    let ahead = at.addr().next_multiple_of(PAGE) - at.addr();
    let inside = size.saturating_sub(ahead) / PAGE * PAGE;
    if inside > 0 {
        // SAFETY: The pages are part of what was just allocated, and nothing in them changes. It is an
        // advice: a system without such pages says so, which does not matter.
        let _ = unsafe { madvise(at.add(ahead).cast(), inside, Advice::LinuxHugepage) };
    }
    at
}

#[cfg(not(target_os = "linux"))]
fn advised(at: *mut u8, _: usize) -> *mut u8 {
    at
}
