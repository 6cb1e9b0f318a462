//! What the operating system sees: a burst of 512 MiB is gone after two trim intervals.
//!
//! The pool frees to the global allocator; whether that returns memory to the system is the allocator's choice, so the
//! classes here are those where glibc has none. Blocks of 32 MiB are always mapped one by one and unmapped when freed.
//! Blocks of 1 MiB are, too, but only until the first of them is freed: that raises glibc's threshold, and later ones
//! lie in a heap of which only the top goes back. (Measured: a second burst of 1 MiB blocks stays resident whole,
//! though every byte of it was freed, because a few small blocks lie above it. `MALLOC_MMAP_THRESHOLD_=131072` in the
//! environment, `malloc_trim`, or another allocator is what an operator sets against that.) So the 1 MiB burst comes
//! first. Small classes may stay with glibc in the same way; they are not measured.
//!
//! Plain `Vec`s are tried before: where the allocator (or a sanitizer's quarantine) keeps even those, nothing can be
//! said about the pool, and the test says SKIPPED.
#![cfg(target_os = "linux")]

use bytebufferpool::Pool;

const BURST_BYTES: usize = 512 << 20;
/// What the process may have grown by, afterwards: allocator slack and the pool's own structures.
const MARGIN_BYTES: usize = 16 << 20;

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("the second figure");
    // 4 KiB everywhere std runs on Linux, but for some kernels of aarch64 and powerpc; smaps gives KiB there.
    pages * page_bytes()
}

fn page_bytes() -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let kib = smaps.lines().find_map(|line| line.strip_prefix("KernelPageSize:"));
    kib.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<usize>().ok()).unwrap_or(4) << 10
}

static PIECE: [u8; 1 << 20] = [0xaa; 1 << 20];

/// Whether the allocator gives back what plain `Vec`s took.
fn allocator_gives_back() -> bool {
    let before = resident_bytes();
    drop(vec![PIECE.repeat(32); 4]);
    let kept = resident_bytes().saturating_sub(before);
    if kept > MARGIN_BYTES {
        println!("SKIPPED: this allocator keeps {} MiB of plain Vecs", kept >> 20);
    }
    kept <= MARGIN_BYTES
}

fn burst_is_gone_after_two_trim_intervals(size: usize) {
    let pool = Pool::builder().retained_bytes_max(2 * BURST_BYTES).build();
    let before = resident_bytes();
    let guards: Vec<_> = (0..BURST_BYTES / size)
        .map(|_| {
            let mut buf = pool.get_with_capacity(size);
            // One copy per MiB: `resize` would be a slow loop in a debug build.
            (0..size >> 20).for_each(|_| buf.extend_from_slice(&PIECE));
            buf
        })
        .collect();
    let at_peak = resident_bytes();
    drop(guards);
    let (idle, retained) = (resident_bytes(), pool.stats().retained_bytes);
    let freed = [pool.trim(), pool.trim()];
    let after = resident_bytes();
    println!(
        "{size} B: before {} MiB, in use {} MiB, idle {} MiB (pool: {}), after two intervals {} MiB",
        before >> 20,
        at_peak >> 20,
        idle >> 20,
        retained >> 20,
        after >> 20,
    );
    assert!(at_peak >= before + BURST_BYTES - MARGIN_BYTES, "the burst was not resident");
    // Otherwise it would be the allocator that was tested, not trim.
    assert!(retained > 0 && idle + MARGIN_BYTES >= before + retained, "the pool kept nothing");
    assert_eq!(freed.iter().sum::<usize>(), retained, "two intervals free all that is idle");
    assert_eq!(pool.stats().retained_bytes, 0);
    assert!(after <= before + MARGIN_BYTES, "{} MiB stayed resident", (after - before) >> 20);
}

// One test, so that nothing else runs in this process meanwhile.
#[test]
fn a_burst_of_512_mib_is_given_back_to_the_system() {
    if allocator_gives_back() {
        burst_is_gone_after_two_trim_intervals(1 << 20);
        burst_is_gone_after_two_trim_intervals(32 << 20);
    }
}
