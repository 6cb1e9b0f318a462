//! `std`'s atomics and thread-locals, with a scheduling point before each access.
//!
//! shuttle has atomics of its own. They carry a signature, so they are not made of zeros and take 72 bytes and more
//! where a stack has 4: the crate builds its structures zeroed and fits them to cache lines. As shuttle runs all threads
//! of a scenario in turn on one thread of the system, `std`'s atomics behind a scheduling point are the same model:
//! every interleaving of accesses, each access sequentially consistent. They are of the right size, and constant.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Duration;

use shuttle::scheduler::TaskId;

pub(crate) use std::sync::atomic::Ordering;

/// Another thread may run here. Nothing outside of a scenario.
pub(crate) fn scheduling_point() {
    if shuttle::current::try_get_current_task().is_some() {
        // As shuttle has no time, a sleep is a scheduling point and nothing else. (A yield asks for another thread.)
        shuttle::thread::sleep(Duration::ZERO);
    }
}

macro_rules! atomics {
    ($($name:ident$(<$generic:ident>)? of $value:ty {
        $($method:ident($($argument:ident: $type:ty),*) -> $result:ty;)*
    })*) => { $(
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name$(<$generic>)?(std::sync::atomic::$name$(<$generic>)?);

        impl$(<$generic>)? $name$(<$generic>)? {
            #[allow(dead_code, reason = "some are only ever made of zeros")]
            pub(crate) const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                scheduling_point();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                scheduling_point();
                self.0.store(value, order);
            }

            $(
                pub(crate) fn $method(&self, $($argument: $type),*) -> $result {
                    scheduling_point();
                    self.0.$method($($argument),*)
                }
            )*
        }
    )* };
}

atomics! {
    AtomicBool of bool {
        swap(value: bool, order: Ordering) -> bool;
    }
    AtomicU32 of u32 {}
    AtomicU64 of u64 {
        swap(value: u64, order: Ordering) -> u64;
        fetch_add(value: u64, order: Ordering) -> u64;
        compare_exchange(from: u64, to: u64, success: Ordering, failure: Ordering) -> Result<u64, u64>;
        fetch_update(set: Ordering, fetch: Ordering, update: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64>;
    }
    AtomicUsize of usize {
        fetch_add(value: usize, order: Ordering) -> usize;
        fetch_sub(value: usize, order: Ordering) -> usize;
        fetch_update(set: Ordering, fetch: Ordering, update: impl FnMut(usize) -> Option<usize>)
            -> Result<usize, usize>;
    }
    AtomicPtr<T> of *mut T {
        compare_exchange(from: *mut T, to: *mut T, success: Ordering, failure: Ordering) -> Result<*mut T, *mut T>;
    }
}

/// `once_cell::race::OnceBox`. A look at a box that is there needs no scheduling point: it stays as it is.
#[derive(Debug)]
pub(crate) struct OnceBox<T>(once_cell::race::OnceBox<T>);

impl<T> OnceBox<T> {
    pub(crate) const fn new() -> OnceBox<T> {
        OnceBox(once_cell::race::OnceBox::new())
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get().or_else(|| {
            scheduling_point();
            self.0.get()
        })
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> Box<T>) -> &T {
        if let Some(made) = self.get() {
            return made;
        }
        let made = make();
        scheduling_point();
        self.0.get_or_init(|| made)
    }
}

/// A thread-local that is there from the first to the last instruction of its thread, as `std`'s is if its type needs no
/// drop. Nothing is dropped: shuttle destroys what is older first, and so the crate's thread-local before the one whose
/// destructor needs it. Threads of scenarios call `end_thread`, as those of loom's models do.
pub(crate) struct LocalKey<T: 'static> {
    pub(crate) init: fn() -> T,
}

/// The address of the key, and the thread.
type Place = (usize, Option<TaskId>);

thread_local! {
    static LOCALS: RefCell<HashMap<Place, Rc<dyn Any>>> = RefCell::default();
}

/// A schedule begins: its threads are new.
#[cfg(test)]
pub(crate) fn forget_thread_locals() {
    LOCALS.take();
}

#[derive(Debug)]
pub(crate) struct AccessError;

impl<T: 'static> LocalKey<T> {
    pub(crate) fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let key = (std::ptr::from_ref(self).addr(), shuttle::current::try_get_current_task());
        let value = LOCALS.with_borrow_mut(|locals| {
            let new = || Rc::new(ManuallyDrop::new((self.init)())) as Rc<dyn Any>;
            Rc::clone(locals.entry(key).or_insert_with(new))
        });
        f(value.downcast_ref::<ManuallyDrop<T>>().expect("a key has one type"))
    }

    pub(crate) fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        Ok(self.with(f))
    }
}

/// As `std`'s, for constants.
macro_rules! of_shuttle {
    ($($(#[$attribute:meta])* static $name:ident: $type:ty = const { $value:expr };)*) => { $(
        $(#[$attribute])*
        static $name: $crate::shuttle_tests::stand_ins::LocalKey<$type> =
            $crate::shuttle_tests::stand_ins::LocalKey { init: || $value };
    )* };
}
pub(crate) use of_shuttle;
