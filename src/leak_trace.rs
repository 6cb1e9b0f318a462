//! Feature `leak-trace`: where the guards come from that have not ended.
//!
//! `Stats::outstanding` says that buffers do not come home; this says whose. Of every so many guards one, chosen at
//! random, is noted in a table of its pool with the place of its `get` and the time. At random, because a program that
//! gets three buffers in turn would, with a count, always show the same one. A guard that is not chosen costs a few
//! instructions, one that is a lock and an entry.
//!
//! Nothing of this is compiled without the feature: the guard then has no field for it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::sync::{Mutex, const_unless_loom, lock, thread_local};

/// What a guard carries: its number in the table, 0 for one that is not traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The traced guards of a pool.
pub(crate) struct Table(Mutex<Rows>);

struct Rows {
    tickets: u64,
    guards: BTreeMap<u64, Guard>,
}

struct Guard {
    site: &'static Location<'static>,
    began: Instant,
}

impl Table {
    const_unless_loom! {
        pub(crate) const fn new() -> Table {
            Table(Mutex::new(Rows { tickets: 0, guards: BTreeMap::new() }))
        }
    }

    /// A guard begins at `site`; one in `every` is traced.
    #[inline]
    pub(crate) fn begin(&self, every: u32, site: &'static Location<'static>) -> Ticket {
        if is_chosen(every) { self.trace(site) } else { Ticket(0) }
    }

    #[cold]
    fn trace(&self, site: &'static Location<'static>) -> Ticket {
        let began = Instant::now();
        let mut rows = lock(&self.0);
        rows.tickets += 1;
        let ticket = rows.tickets;
        rows.guards.insert(ticket, Guard { site, began });
        Ticket(ticket)
    }

    #[inline]
    pub(crate) fn end(&self, ticket: Ticket) {
        if ticket != Ticket(0) {
            self.remove(ticket);
        }
    }

    #[cold]
    fn remove(&self, ticket: Ticket) {
        lock(&self.0).guards.remove(&ticket.0);
    }

    pub(crate) fn report(&self, every: u32, outstanding: u64) -> OutstandingReport {
        let mut by_site: BTreeMap<&'static Location<'static>, OutstandingSite> = BTreeMap::new();
        for guard in lock(&self.0).guards.values() {
            let age = guard.began.elapsed();
            let site = by_site.entry(guard.site).or_insert(OutstandingSite {
                location: guard.site,
                traced: 0,
                oldest: age,
                youngest: age,
            });
            site.traced += 1;
            site.oldest = site.oldest.max(age);
            site.youngest = site.youngest.min(age);
        }
        let mut sites: Vec<_> = by_site.into_values().collect();
        sites.sort_by_key(|site| (std::cmp::Reverse(site.traced), std::cmp::Reverse(site.oldest)));
        OutstandingReport { outstanding, sample_every: every, sites }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

/// Whether the next guard of this thread is traced: one in `every`, none if that is 0.
#[inline]
fn is_chosen(every: u32) -> bool {
    thread_local! {
        static RANDOM: Cell<u64> = const { Cell::new(0) };
    }
    RANDOM.with(|random| {
        let mut x = random.get();
        if x == 0 {
            // No two living threads have this at one address.
            x = (std::ptr::from_ref(random) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        }
        // Marsaglia's xorshift64.
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        random.set(x);
        every > 0 && ((x >> 32) * u64::from(every)) >> 32 == 0
    })
}

/// Where the guards come from that have not ended; see [`Pool::outstanding_report`](crate::Pool::outstanding_report).
///
/// `Display` prints a line for each site.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutstandingReport {
    /// All guards that have not ended, traced or not.
    pub outstanding: u64,
    /// One guard in this many is traced.
    pub sample_every: u32,
    /// The sites with most traced guards first.
    pub sites: Vec<OutstandingSite>,
}

/// A place in the program, and the traced guards that were made there and have not ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutstandingSite {
    /// Of the `get`; inside a function that is `#[track_caller]`, of its caller.
    pub location: &'static Location<'static>,
    /// How many; about [`OutstandingReport::sample_every`] times as many are out in truth.
    pub traced: u64,
    /// Since the first of them was made.
    pub oldest: Duration,
    /// Since the last of them was made.
    pub youngest: Duration,
}

impl fmt::Display for OutstandingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "outstanding {}; of every {} guards one is traced", self.outstanding, self.sample_every)?;
        if !self.sites.is_empty() {
            writeln!(f, "{:>8} {:>10} {:>10} {:>10}  made at", "traced", "about", "oldest", "youngest")?;
        }
        for site in &self.sites {
            writeln!(
                f,
                "{:>8} {:>10} {:>8.1} s {:>8.1} s  {}",
                site.traced,
                site.traced * u64::from(self.sample_every),
                site.oldest.as_secs_f64(),
                site.youngest.as_secs_f64(),
                site.location,
            )?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn about_one_in_so_many_is_chosen() {
        assert!((0..1000).all(|_| is_chosen(1)));
        assert!(!(0..1000).any(|_| is_chosen(0)));
        let chosen = (0..100_000).filter(|_| is_chosen(100)).count();
        assert!((800..1200).contains(&chosen), "{chosen} of 100 000");
        // Of every third too.
        let chosen = (0..300_000).filter(|n| is_chosen(100) && n % 3 == 0).count();
        assert!((800..1200).contains(&chosen), "{chosen} of 100 000");
    }
}
