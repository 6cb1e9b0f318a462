//! Which thread runs next.

use shuttle::scheduler::{RandomScheduler, Schedule, Scheduler, Task, TaskId};

/// Random, in bursts: a thread runs for some accesses before another one is chosen, 1, 8, 64 or 512 on average.
///
/// A choice at every access never holds one thread for as long as another one's trim takes, which is a thousand
/// accesses. What goes wrong needs both: a switch at the one access, and a pause that is long enough.
pub(super) struct Bursts {
    random: RandomScheduler,
    accesses: u64,
}

impl Bursts {
    pub(super) fn new(schedules: usize) -> Bursts {
        Bursts { random: RandomScheduler::new(schedules), accesses: 1 }
    }
}

impl Scheduler for Bursts {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.random.new_execution()?;
        self.accesses = 8_u64.pow((self.random.next_u64() % 4) as u32);
        Some(schedule)
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let goes_on = !is_yielding && self.random.next_u64() % self.accesses != 0;
        let same = current.filter(|&current| goes_on && runnable.iter().any(|task| task.id() == current));
        same.or_else(|| self.random.next_task(runnable, current, is_yielding))
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }
}
