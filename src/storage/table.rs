//! The table of places: the front of the shared part, one cached buffer per row and size class, owned by nobody.
//!
//! A place is one atomic word: not charged, charged and empty, or a buffer. One compare-exchange puts a buffer into an
//! empty place that is charged. Another takes it out, and leaves the place empty and charged, for the next put. A
//! thread begins at its own row, so that threads seldom meet. If it finds nothing there nor in the depot, it looks into
//! all other rows: what one thread puts, every thread can take. The number of rows is fixed, however many threads there
//! are.
//!
//! An empty place keeps its charge, but nobody owns it. A trim gives it up, and so does any thread that the budget
//! refuses (see `Op::charge`). The order is: charge, then put; take out, free, then release.
//!
//! A slot per thread instead, as in the first edition, saves one locked instruction a use and lets a sleeping thread
//! withhold half of the budget: see docs/design.md.

use super::idle::IdleBuf;
use super::zeroed::Zeroed;
use crate::class::{CLASSES, class_of_capacity, rolled};
use crate::sync::{AtomicBool, AtomicPtr, Ordering};

/// How many rows there are. With more threads than rows, some share a row. A miss looks at all rows.
pub(crate) const ROWS: usize = if cfg!(pool_loom) { 2 } else { 16 };

#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
pub(crate) struct Table {
    rows: [Row; ROWS],
}

/// On cache lines of its own, in pairs, because Intel's prefetcher fetches pairs.
#[derive(Debug)]
#[cfg_attr(pool_loom, derive(Default))]
#[repr(align(128))]
struct Row {
    /// Null: not charged. `empty()`: charged and empty. Anything else: a buffer of the place's class, charged.
    places: [AtomicPtr<u8>; CLASSES],
    /// Whether a buffer was put here since the last trim.
    used: [AtomicBool; CLASSES],
}

// SAFETY: null pointers and `false`, which is what `AtomicPtr` and `AtomicBool` are made of ("same size, alignment and
// bit validity as"): places that are not charged and were not used.
unsafe impl Zeroed for Table {}

/// What became of a buffer that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Kept,
    /// The place has a buffer already, or the capacity of the one that was offered is no class's size.
    Full,
    /// The budget has to be charged first.
    NotCharged,
}

/// What becomes of a place's charge when its buffer is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// The place stays charged, for the next put.
    Stays,
    /// The charge passes to the caller, who releases it once the buffer is in use or freed.
    Leaves,
}

/// The address of a static, so that no allocation has it.
fn empty() -> *mut u8 {
    static EMPTY: u8 = 0;
    (&raw const EMPTY).cast_mut()
}

impl Table {
    /// Takes the buffer of a place. One locked instruction, none if there is no buffer.
    #[inline]
    pub(crate) fn take(&self, row: usize, class: usize, charge: Charge) -> Option<Vec<u8>> {
        self.rows[row % ROWS].take(class, charge)
    }

    /// Takes a buffer from any row but this one: those after it first, so that threads that miss begin in different places.
    #[inline]
    pub(crate) fn take_from_other_rows(&self, row: usize, class: usize, charge: Charge) -> Option<Vec<u8>> {
        rolled(1..ROWS).find_map(|step| self.take(row + step, class, charge))
    }

    /// Offers a buffer to the place of its class, which its capacity says. If it is kept, `vec` is left empty. One
    /// locked instruction.
    #[inline]
    pub(crate) fn put(&self, row: usize, vec: &mut Vec<u8>) -> Put {
        let Some(class) = class_of_capacity(vec.capacity(), CLASSES) else { return Put::Full };
        let row = &self.rows[row % ROWS];
        let place = &row.places[class];
        // Relaxed: only a guess, which the exchange checks.
        let mut found = place.load(Ordering::Relaxed);
        if found == empty() {
            match fill(place, found, vec, class) {
                Ok(()) => {
                    row.note_use(class);
                    return Put::Kept;
                }
                Err(other) => found = other,
            }
        }
        if found.is_null() { Put::NotCharged } else { Put::Full }
    }

    /// Puts a buffer of `class`, for which the caller has charged the budget, into a place that is not charged; the
    /// charge passes to the place. Returns false if the place is charged already.
    #[inline(never)]
    pub(crate) fn put_charged(&self, row: usize, class: usize, vec: &mut Vec<u8>) -> bool {
        let row = &self.rows[row % ROWS];
        let kept = fill(&row.places[class], std::ptr::null_mut(), vec, class).is_ok();
        if kept {
            row.note_use(class);
        }
        kept
    }

    /// Gives up the charges of a class's empty places. Returns how many; the caller releases them.
    pub(crate) fn give_up_charges(&self, class: usize) -> usize {
        let is_given_up = |row: &usize| {
            // Relaxed: no memory passes. Model: loom_tests::table::a_charge_is_given_up_once.
            let place = &self.rows[*row].places[class];
            place.load(Ordering::Relaxed) == empty()
                && place.compare_exchange(empty(), std::ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        rolled(0..ROWS).filter(is_given_up).count()
    }

    /// Whether a buffer was put into the place since this was last asked. If not, its buffer was not needed since.
    pub(crate) fn was_used(&self, row: usize, class: usize) -> bool {
        // Two steps, because of a trim and a put at the same time either may count as the first. Relaxed: a hint; no
        // memory depends on it. Model: loom_tests::trim::trim_beside_get_and_put_of_large_buffers.
        let used = &self.rows[row % ROWS].used[class];
        let was_used = used.load(Ordering::Relaxed);
        if was_used {
            used.store(false, Ordering::Relaxed);
        }
        was_used
    }

    /// How many buffers of `class` there are. While others operate this is how many there were a moment ago.
    pub(crate) fn len(&self, class: usize) -> usize {
        let is_full = |row: &&Row| {
            let word = row.places[class].load(Ordering::Relaxed);
            !word.is_null() && word != empty()
        };
        self.rows.iter().filter(is_full).count()
    }
}

impl Row {
    #[inline]
    fn take(&self, class: usize, charge: Charge) -> Option<Vec<u8>> {
        #[cfg(all(test, not(any(pool_loom, pool_shuttle))))]
        super::tally::count_place();
        let place = self.places.get(class)?;
        // Relaxed: only a guess, which the exchange checks.
        let guess = place.load(Ordering::Relaxed);
        if guess.is_null() || guess == empty() {
            return None;
        }
        let left = if charge == Charge::Stays { empty() } else { std::ptr::null_mut() };
        // Acquire: pairs with the Release in `fill`. What the last user wrote is visible. Model:
        // loom_tests::table::a_buffer_has_one_owner.
        let found = place.compare_exchange(guess, left, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: the exchange took `found` out of the place, where only `put` and `put_charged` put a pointer, from an
        // IdleBuf of this class; whoever else read it fails its exchange. If the word left and came back between the
        // load and the exchange, then by way of a put, and `found` is the pointer of that one.
        Some(unsafe { IdleBuf::from_ptr(found).into_vec(class) })
    }

    /// Stores only if that changes something, because the next locked instruction waits for all stores before it.
    #[inline]
    fn note_use(&self, class: usize) {
        let used = &self.used[class];
        if !used.load(Ordering::Relaxed) {
            used.store(true, Ordering::Relaxed);
        }
    }
}

/// Moves the buffer of `vec`, whose capacity must be the size of `class`, into a place that holds `from`: null or
/// `empty()`. The error is what the place holds, or `from` if the capacity is wrong.
#[inline]
fn fill(place: &AtomicPtr<u8>, from: *mut u8, vec: &mut Vec<u8>, class: usize) -> Result<(), *mut u8> {
    if class_of_capacity(vec.capacity(), CLASSES) != Some(class) {
        return Err(from);
    }
    // Release: pairs with the Acquire in `take`. Model: loom_tests::table::a_buffer_has_one_owner.
    place.compare_exchange(from, vec.as_mut_ptr(), Ordering::Release, Ordering::Relaxed)?;
    // The place owns the memory now, and `vec` forgets it.
    let _ = IdleBuf::of(vec);
    Ok(())
}

impl Drop for Table {
    fn drop(&mut self) {
        for row in rolled(0..ROWS) {
            for class in rolled(0..CLASSES) {
                drop(self.take(row, class, Charge::Leaves));
            }
        }
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::class::size_of_class;

    const CLASS: usize = 11;

    fn buffer() -> Vec<u8> {
        vec![0; size_of_class(CLASS)]
    }

    #[test]
    fn a_place_is_charged_filled_emptied_and_given_up_in_this_order() {
        let table = Table::boxed();
        let mut vec = buffer();
        let address = vec.as_ptr();
        assert_eq!(table.give_up_charges(CLASS), 0, "nothing is charged");
        assert_eq!(table.put(3, &mut vec), Put::NotCharged);
        assert_eq!(vec.len(), size_of_class(CLASS), "a buffer that is refused stays as it is");
        assert!(table.put_charged(3, CLASS, &mut vec) && vec.capacity() == 0);
        assert_eq!((table.len(CLASS), table.give_up_charges(CLASS)), (1, 0));
        let mut second = buffer();
        assert!(table.put(3, &mut second) == Put::Full && !table.put_charged(3, CLASS, &mut second));
        assert_eq!(second.len(), size_of_class(CLASS));
        let mut taken = table.take(3, CLASS, Charge::Stays).expect("it is full");
        assert_eq!((taken.as_ptr(), taken.len(), taken.capacity()), (address, 0, size_of_class(CLASS)));
        taken.resize(size_of_class(CLASS), 1);
        assert!(table.take(3, CLASS, Charge::Stays).is_none());
        assert!(!table.put_charged(3, CLASS, &mut taken), "it is charged already");
        assert_eq!(table.put(3, &mut taken), Put::Kept);
        drop(table.take(3, CLASS, Charge::Leaves));
        assert_eq!((table.give_up_charges(CLASS), table.put(3, &mut second)), (0, Put::NotCharged));
        assert!(table.put_charged(3, CLASS, &mut second));
        drop(table.take(3, CLASS, Charge::Stays));
        assert_eq!((table.give_up_charges(CLASS), table.give_up_charges(CLASS)), (1, 0));
    }

    #[test]
    fn rows_and_classes_are_places_of_their_own_and_rows_wrap() {
        let table = Table::boxed();
        for row in 0..ROWS {
            for class in 0..CLASSES {
                assert!(table.put_charged(row, class, &mut Vec::with_capacity(size_of_class(class))));
            }
        }
        assert!((0..CLASSES).all(|class| table.len(class) == ROWS));
        assert!(table.take(ROWS + 1, 0, Charge::Stays).is_some() && table.take(1, 0, Charge::Stays).is_none());
        assert!(table.take(0, CLASSES, Charge::Stays).is_none(), "a class that does not exist");
        // The rest is freed with the table.
    }

    #[test]
    fn a_thread_that_misses_finds_the_buffers_of_all_rows_but_its_own() {
        let table = Table::boxed();
        for own in 0..2 * ROWS {
            for row in 0..ROWS {
                assert!(table.put_charged(row, CLASS, &mut buffer()));
                let found = table.take_from_other_rows(own, CLASS, Charge::Leaves);
                assert_eq!(found.is_some(), row != own % ROWS, "a buffer in row {row}, a thread of row {own}");
                drop(table.take(row, CLASS, Charge::Leaves));
            }
        }
    }

    #[test]
    fn a_buffer_of_another_size_is_refused_and_stays_as_it_is() {
        let table = Table::boxed();
        let mut vec = vec![7; size_of_class(CLASS) + 1];
        assert_eq!(table.put(0, &mut vec), Put::Full);
        assert!(!table.put_charged(0, CLASS, &mut vec) && !table.put_charged(0, CLASS + 1, &mut buffer()));
        assert_eq!(vec, vec![7; size_of_class(CLASS) + 1]);
    }

    #[test]
    fn a_put_counts_as_use_until_a_trim_asks() {
        const ROW: usize = 3;
        let table = Table::boxed();
        assert!(!table.was_used(ROW, CLASS));
        assert!(table.put_charged(ROW, CLASS, &mut buffer()));
        assert!(table.was_used(ROW, CLASS) && !table.was_used(ROW, CLASS));
        let mut vec = table.take(ROW, CLASS, Charge::Stays).expect("it is full");
        assert!(!table.was_used(ROW, CLASS));
        assert_eq!(table.put(ROW, &mut vec), Put::Kept);
        assert!(table.was_used(ROW, CLASS) && !table.was_used(ROW - 1, CLASS));
    }
}
