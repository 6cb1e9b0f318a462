//! Without the feature `leak-trace`: no guard is traced, and nothing of it takes room or time.

use std::panic::Location;

/// What a guard carries: nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket;

#[derive(Debug)]
pub(crate) struct Table;

impl Table {
    pub(crate) const fn new() -> Table {
        Table
    }

    #[inline]
    pub(crate) fn begin(&self, _: u32, _: &'static Location<'static>) -> Ticket {
        Ticket
    }

    #[inline]
    pub(crate) fn end(&self, _: Ticket) {}
}
