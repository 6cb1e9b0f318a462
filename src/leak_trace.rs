//! Feature `leak-trace`: where the guards were made that have not ended.
//!
//! `Stats::outstanding` says that buffers are not returned; this says whose. One guard in so many, chosen at random, is
//! noted in a table of its pool with the place of its `get` and the time. At random, because a program that gets three
//! buffers in turn would with a count always show the same one. A guard that is not chosen costs about 30 instructions;
//! one that is chosen costs a lock and a row of the table.
//!
//! The table is a `Vec` of rows with a list of the free ones, because a `Vec` can grow fallibly: a guard for which
//! there is no row is not traced, and a `try_` call does not abort for it. It grows outside its lock, because a global
//! allocator may itself use a pool. Its memory is freed when no traced guard is left; until then it is that of the most
//! guards that were traced at once.
//!
//! Nothing of this is compiled without the feature: the guard then has no field for it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::sync::{Mutex, const_unless_loom, lock, thread_local};

/// What a guard carries: the number of its row, counted from 1; 0 for one that is not traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(usize);

impl Ticket {
    const NONE: Ticket = Ticket(0);
}

/// The traced guards of a pool.
pub(crate) struct Table(Mutex<Rows>);

struct Rows {
    rows: Vec<Row>,
    /// The first free row, as a ticket.
    free: usize,
    taken: usize,
}

#[derive(Clone, Copy)]
enum Row {
    Taken(Guard),
    Free {
        /// As a ticket.
        next: usize,
    },
}

#[derive(Clone, Copy)]
struct Guard {
    site: &'static Location<'static>,
    /// `None` where there is no clock.
    began: Option<Instant>,
}

/// The first rows of a table, and as many as one keeps when no guard is traced.
const ROWS_MIN: usize = 64;

const _: () = assert!(ROWS_MIN * size_of::<Row>() <= 2048);

impl Table {
    const_unless_loom! {
        pub(crate) const fn new() -> Table {
            Table(Mutex::new(Rows::NONE))
        }
    }

    /// A guard is made at `site`; one in `every` is traced.
    #[inline]
    pub(crate) fn begin(&self, every: u32, site: &'static Location<'static>) -> Ticket {
        if is_chosen(every) { self.trace(site) } else { Ticket::NONE }
    }

    #[cold]
    fn trace(&self, site: &'static Location<'static>) -> Ticket {
        let guard = Guard { site, began: now() };
        loop {
            let mut rows = lock(&self.0);
            if let Some(ticket) = rows.put(guard) {
                return ticket;
            }
            let wanted = (2 * rows.rows.capacity()).max(ROWS_MIN);
            drop(rows);
            let mut larger = Vec::new();
            if larger.try_reserve_exact(wanted).is_err() {
                return Ticket::NONE;
            }
            let left_behind = lock(&self.0).move_to(larger);
            drop(left_behind);
        }
    }

    #[inline]
    pub(crate) fn end(&self, ticket: Ticket) {
        if ticket != Ticket::NONE {
            self.remove(ticket);
        }
    }

    #[cold]
    fn remove(&self, ticket: Ticket) {
        let left_behind = lock(&self.0).take(ticket);
        drop(left_behind);
    }

    /// The traced guards at this moment.
    fn guards(&self) -> Vec<Guard> {
        let mut guards = Vec::new();
        loop {
            let rows = lock(&self.0);
            let taken = rows.taken;
            if taken <= guards.capacity() {
                guards.extend(rows.rows.iter().filter_map(|row| match row {
                    Row::Taken(guard) => Some(guard),
                    Row::Free { .. } => None,
                }));
                return guards;
            }
            drop(rows);
            guards.reserve(taken);
        }
    }

    pub(crate) fn report(&self, every: u32, outstanding: u64) -> OutstandingReport {
        let mut by_site: BTreeMap<&'static Location<'static>, OutstandingSite> = BTreeMap::new();
        for guard in self.guards() {
            let age = guard.began.map_or(Duration::ZERO, |began| began.elapsed());
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

impl Rows {
    const NONE: Rows = Rows { rows: Vec::new(), free: 0, taken: 0 };

    /// Puts `guard` in a free row or after the last one, if there is room without growing.
    fn put(&mut self, guard: Guard) -> Option<Ticket> {
        let row = Row::Taken(guard);
        let ticket = match self.free {
            0 if self.rows.len() == self.rows.capacity() => return None,
            0 => {
                self.rows.push(row);
                self.rows.len()
            }
            ticket => {
                match mem::replace(&mut self.rows[ticket - 1], row) {
                    Row::Free { next } => self.free = next,
                    Row::Taken(_) => unreachable!("only free rows are in the list"),
                }
                ticket
            }
        };
        self.taken += 1;
        Some(Ticket(ticket))
    }

    /// Frees the row of `ticket`. Empties a table that has grown and has no traced guard left: what is returned is to
    /// be dropped without the lock.
    fn take(&mut self, ticket: Ticket) -> Rows {
        self.rows[ticket.0 - 1] = Row::Free { next: self.free };
        self.free = ticket.0;
        self.taken -= 1;
        if self.taken == 0 && self.rows.capacity() > ROWS_MIN { mem::replace(self, Rows::NONE) } else { Rows::NONE }
    }

    /// Moves the rows to `larger`, unless another thread has made a larger table. What is returned is to be dropped
    /// without the lock.
    fn move_to(&mut self, mut larger: Vec<Row>) -> Vec<Row> {
        if larger.capacity() > self.rows.capacity() {
            larger.append(&mut self.rows);
            mem::swap(&mut self.rows, &mut larger);
        }
        larger
    }
}

/// `None` on the one target where asking for the time panics.
fn now() -> Option<Instant> {
    let has_clock = !cfg!(all(target_family = "wasm", target_os = "unknown"));
    has_clock.then(Instant::now)
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

/// Where the guards were made that have not ended; see [`Pool::outstanding_report`](crate::Pool::outstanding_report).
///
/// `Display` prints a line for each site.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutstandingReport {
    /// All guards that have not ended, traced or not.
    pub outstanding: u64,
    /// One guard in so many is traced.
    pub sample_every: u32,
    /// The sites, those with the most traced guards first.
    pub sites: Vec<OutstandingSite>,
}

/// A place in the program, and the traced guards that were made there and have not ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutstandingSite {
    /// Where the `get` is; inside a function that is `#[track_caller]`, where its caller is.
    pub location: &'static Location<'static>,
    /// How many traced guards; about [`OutstandingReport::sample_every`] times as many guards have not ended.
    pub traced: u64,
    /// Time since the first of them was made; zero on `wasm32-unknown-unknown`, which has no clock.
    pub oldest: Duration,
    /// Time since the last of them was made; zero there too.
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
