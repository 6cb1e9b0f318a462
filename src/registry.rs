//! Pools by name, for programs with several kinds of buffers.
//!
//! A pool learns one size well. Headers, bodies and log lines in one pool teach it three sizes badly, so each gets its
//! own pool. What they can share is the memory: each pool of a registry with a budget charges that budget after its
//! own.
//!
//! A pool is refused what the others have taken, whoever came first. Nobody's cached buffers are freed for somebody
//! else, because that would need a lock on the other's caches. For the same reason a taken buffer leaves its place in
//! the table uncharged under a common budget. `Registry::trim` moves memory from a pool that is no longer used to one
//! that is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::budget::Budget;
use crate::builder::{BuildError, Builder};
use crate::pool::Pool;
use crate::pool::bound_stats;
use crate::stats::Stats;
use crate::sync::{Mutex, const_unless_loom, lock};

/// Named pools, each with its own configuration, and one byte budget over all of them if asked.
///
/// For programs with several kinds of buffers: a pool learns one kind well, and several kinds in one pool teach it
/// wrong sizes. Two or three pools that the code knows can be plain statics. A registry is for names from a
/// configuration, for a common budget, and for trimming and showing all pools at once.
///
/// **The common budget** bounds what is cached in all pools together, thread caches included, at any instant. Buffers
/// in use are not counted, and a budget never makes a `get` fail. What it refuses is freed when it is returned, and
/// counted in [`Dropped::over_budget`](crate::Dropped::over_budget) of the pool that was refused. It is first come,
/// first served: no pool has a share of its own, and no cached buffer is freed for another pool. Bound a greedy pool by
/// its own [`Builder::retained_bytes_max`], and call [`Registry::trim`] now and then.
///
/// **A name that nobody created** is an error, [`UnknownPool`], and not a pool with a default configuration.
///
/// **Cost.** Looking a pool up takes a lock and a search: do it once, at start-up or per connection, and keep the
/// `Arc`. A use of a buffer up to 32 KiB costs what it does without a registry. With a common budget a use above 32 KiB
/// charges and releases both budgets: 15 ns instead of 10 (2026-11-24, 2-core x86-64 VM). Which pool gets what a
/// nearly full budget has left is unspecified.
///
/// # Examples
///
/// ```
/// use bytebufferpool::{Pool, Registry};
///
/// static POOLS: Registry = Registry::with_budget(64 << 20);
///
/// let bodies = POOLS.get_or_create("bodies", Pool::builder().max_percentile(0.99))?;
/// let lines = POOLS.get_or_create("lines", Pool::builder())?;
/// bodies.get_owned().resize(100_000, 0);
/// lines.get_owned().push_str("GET / 200");
///
/// assert_eq!(POOLS.names(), ["bodies", "lines"]);
/// assert_eq!(POOLS.stats("bodies")?.gets, 1);
/// assert_eq!(POOLS.get("body").unwrap_err().to_string(), "there is no pool named \"body\" in the registry");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Registry {
    budget_bytes: Option<usize>,
    state: Mutex<State>,
}

struct State {
    pools: BTreeMap<String, Arc<Pool>>,
    /// Made for the first pool, as an `Arc` cannot be made in a constant.
    budget: Option<Arc<Budget>>,
}

impl Registry {
    const_unless_loom! {
        /// A registry whose pools have nothing in common.
        ///
        /// # Examples
        ///
        /// ```
        /// use bytebufferpool::Registry;
        ///
        /// static POOLS: Registry = Registry::new();
        /// assert_eq!(POOLS.budget(), None);
        /// ```
        #[must_use]
        #[inline]
        pub const fn new() -> Registry {
            Registry::with(None)
        }
    }

    const_unless_loom! {
        /// A registry whose pools together never have more than `bytes` cached, at any instant.
        ///
        /// Each pool also keeps to its own [`Builder::retained_bytes_max`], 64 MiB by default. The thread caches of all
        /// pools together take at most half of the budget. It is first come, first served: see [`Registry::trim`].
        ///
        /// # Examples
        ///
        /// ```
        /// use bytebufferpool::Registry;
        ///
        /// static POOLS: Registry = Registry::with_budget(64 << 20);
        /// assert_eq!(POOLS.budget(), Some(64 << 20));
        /// ```
        #[must_use]
        #[inline]
        pub const fn with_budget(bytes: usize) -> Registry {
            Registry::with(Some(bytes))
        }
    }

    const_unless_loom! {
        #[inline]
        const fn with(budget_bytes: Option<usize>) -> Registry {
            Registry { budget_bytes, state: Mutex::new(State { pools: BTreeMap::new(), budget: None }) }
        }
    }

    /// The common budget in bytes, if there is one.
    #[must_use]
    #[inline]
    pub fn budget(&self) -> Option<usize> {
        self.budget_bytes
    }

    /// The pool of that name; made with `builder` if there is none yet.
    ///
    /// A pool that exists keeps its configuration, and `builder` is ignored. If several threads ask for a new name at
    /// once, one makes the pool and all get it.
    ///
    /// # Errors
    ///
    /// When there is none and `builder` has a bad value; see [`Builder::try_build`]. No pool is made then.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::{Pool, Registry};
    ///
    /// let pools = Registry::new();
    /// let lines = pools.get_or_create("lines", Pool::builder().default_size(1024))?;
    /// let same = pools.get_or_create("lines", Pool::builder())?;
    /// assert_eq!((lines.default_size(), same.default_size()), (1024, 1024));
    /// # Ok::<(), bytebufferpool::BuildError>(())
    /// ```
    #[inline]
    pub fn get_or_create(&self, name: &str, builder: Builder) -> Result<Arc<Pool>, BuildError> {
        let mut state = lock(&self.state);
        if let Some(pool) = state.pools.get(name) {
            return Ok(Arc::clone(pool));
        }
        let mut pool = builder.try_build()?;
        if let Some(bytes) = self.budget_bytes {
            let budget = state.budget.get_or_insert_with(|| Arc::new(Budget::new(bytes)));
            pool.share_budget(Arc::clone(budget));
        }
        let pool = Arc::new(pool);
        state.pools.insert(name.to_owned(), Arc::clone(&pool));
        Ok(pool)
    }

    /// The pool of that name.
    ///
    /// # Errors
    ///
    /// When there is none: a misspelt name must not make a pool that nobody configured.
    #[inline]
    pub fn get(&self, name: &str) -> Result<Arc<Pool>, UnknownPool> {
        lock(&self.state).pools.get(name).map(Arc::clone).ok_or_else(|| UnknownPool::new(name))
    }

    /// Takes a pool out of the registry; its name may be used again at once.
    ///
    /// The pool lives on, within the common budget, until the last `Arc` of it is dropped, those in its owned guards
    /// and frozen buffers included. Then its share of the budget is free for the others.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::{Pool, Registry};
    ///
    /// let pools = Registry::new();
    /// pools.get_or_create("lines", Pool::builder())?;
    /// let lines = pools.remove("lines")?;
    /// assert!(pools.names().is_empty());
    /// assert!(lines.get().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn remove(&self, name: &str) -> Result<Arc<Pool>, UnknownPool> {
        lock(&self.state).pools.remove(name).ok_or_else(|| UnknownPool::new(name))
    }

    /// The names, in order.
    #[must_use]
    #[inline]
    pub fn names(&self) -> Vec<String> {
        lock(&self.state).pools.keys().cloned().collect()
    }

    /// The names and the pools, in the order of the names.
    #[must_use]
    #[inline]
    pub fn pools(&self) -> Vec<(String, Arc<Pool>)> {
        lock(&self.state).pools.iter().map(|(name, pool)| (name.clone(), Arc::clone(pool))).collect()
    }

    /// The statistics of one pool: [`Pool::stats`].
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    #[inline]
    pub fn stats(&self, name: &str) -> Result<Stats, UnknownPool> {
        Ok(self.get(name)?.stats())
    }

    /// The statistics of each pool, in the order of the names.
    ///
    /// The pools are read one after the other. Bytes that one releases and another takes meanwhile would be counted
    /// twice, so what exceeds the common budget is left out of `retained`, as [`Pool::stats`] does for one pool. With
    /// no operation in flight the figures are exact.
    #[must_use]
    #[inline]
    pub fn all_stats(&self) -> Vec<(String, Stats)> {
        let mut bytes_left = self.budget_bytes.unwrap_or(usize::MAX);
        let counters = |(name, pool): (String, Arc<Pool>)| {
            let mut stats = pool.stats();
            bound_stats(&mut stats, bytes_left);
            bytes_left -= stats.retained_bytes;
            (name, stats)
        };
        self.pools().into_iter().map(counters).collect()
    }

    /// One trim interval passes in every pool; returns the bytes that this call freed. See [`Pool::trim`].
    ///
    /// Call it now and then if some pools of a common budget are not used for long: a pool that nobody uses frees
    /// nothing, and the others lack what it has cached.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::{Pool, Registry};
    ///
    /// let pools = Registry::with_budget(1 << 20);
    /// pools.get_or_create("bodies", Pool::builder())?.prefill(100_000, 1);
    /// assert_eq!((pools.trim(), pools.trim()), (0, 131_072));
    /// # Ok::<(), bytebufferpool::BuildError>(())
    /// ```
    #[inline]
    pub fn trim(&self) -> usize {
        self.pools().iter().map(|(_, pool)| pool.trim()).sum()
    }

    /// Frees everything cached in every pool but other threads' caches; returns the bytes freed. See [`Pool::purge`].
    #[inline]
    pub fn purge(&self) -> usize {
        self.pools().iter().map(|(_, pool)| pool.purge()).sum()
    }
}

impl Default for Registry {
    #[inline]
    fn default() -> Registry {
        Registry::new()
    }
}

impl fmt::Debug for Registry {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("budget", &self.budget_bytes).field("names", &self.names()).finish()
    }
}

/// A [`Registry`] has no pool of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPool {
    name: String,
}

impl UnknownPool {
    #[inline]
    fn new(name: &str) -> UnknownPool {
        UnknownPool { name: name.to_owned() }
    }

    /// The name that was asked for.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for UnknownPool {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no pool named {:?} in the registry", self.name)
    }
}

impl std::error::Error for UnknownPool {}
