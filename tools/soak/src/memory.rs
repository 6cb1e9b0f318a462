//! The resident memory of the process, freed of what is glibc's own.
//!
//! With an arena for each thread, small buffers that moved between threads hold pages of many arenas: the same phase
//! differed by up to 1.66x from one minute to the next. And without `malloc_trim` every phase stays at what the first
//! burst took, so that a leak of a tenth of that would not show. (2026-11-24, runs of six and of three minutes.)
#![allow(unsafe_code)]

/// To be called before the first thread is made.
pub fn have_one_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the value is one that mallopt documents, and no other thread runs.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// After glibc has given back what it kept of freed blocks. For pages of 4 KiB; 0 where there is no /proc.
pub fn resident_bytes() -> usize {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
