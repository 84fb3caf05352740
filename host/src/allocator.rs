//! Tells glibc's allocator to keep the memory of frames.
//!
//! By default every buffer above some 128 KiB is mapped and unmapped for each event, and the kernel clears its pages
//! each time: with 1 MiB frames that is a quarter of all CPU time.
#![allow(unsafe_code)]

/// Call once, at the very start of a program.
pub fn keep_large_buffers() {
    #[cfg(target_env = "gnu")]
    {
        let options =
            [(libc::M_MMAP_THRESHOLD, 32 << 20), (libc::M_TRIM_THRESHOLD, 1 << 30), (libc::M_TOP_PAD, 64 << 20)];
        for (option, value) in options {
            // SAFETY: mallopt only stores the value; it may be called at any time, on any thread (mallopt(3)).
            unsafe { libc::mallopt(option, value) };
        }
    }
}
