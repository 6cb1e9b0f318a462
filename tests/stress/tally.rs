//! What was done and which faults were injected, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! tally {
    ($($name:ident),* $(,)?) => {
        #[derive(Default)]
        pub struct Tally {
            $(pub $name: Count,)*
        }

        impl Tally {
            fn rows(&self) -> Vec<(&'static str, &Count)> {
                vec![$((stringify!($name), &self.$name)),*]
            }
        }
    };
}

tally! {
    operations, threads_started,
    gets, gets_with_capacity, gets_refused, borrowed_uses, writes, growths_reserved, edits, checks,
    sent, received, mailbox_full, frozen, sliced, detached, donated, discarded, vec_swapped, stashed_in_thread_locals,
    trims, purges, flushes, calibrations, prefills, books_read, pools_replaced,
    display_panics, display_errors, reader_panics, reader_errors, iterator_panics, panics_with_a_guard,
}

impl Tally {
    pub fn add(&self, other: &Tally) {
        for ((_, own), (_, other)) in self.rows().into_iter().zip(other.rows()) {
            own.0.fetch_add(other.get(), Ordering::Relaxed);
        }
    }

    pub fn never_happened(&self) -> Vec<&'static str> {
        self.rows().into_iter().filter(|(_, count)| count.get() == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.rows() {
            writeln!(f, "{:>12} {}", count.get(), name.replace('_', " "))?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
