//! Pools by name, for programs with several populations of buffers.
//!
//! A pool learns one size well; headers, bodies and log lines in one pool teach it three sizes badly. So give each its
//! pool. What stays common is the memory: a registry with a budget is the second limit that each of its pools charges,
//! on the cold path where they charge their own, and nothing on the hot one.
//!
//! A pool is refused what the others have taken, whoever came first: nobody's idle buffers are freed for somebody
//! else's, as that would need a lock on the other's caches. `Registry::trim` is what gives memory from a pool that has
//! become idle to one that works.

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
/// For programs with several populations of buffers: a pool learns one of them well, and several in one pool teach each
/// other wrong sizes. Two or three pools that the code knows can as well be plain statics; a registry is for names from a
/// configuration, for a common budget, and for trimming and showing all of them at once.
///
/// **The common budget** bounds what lies idle in all pools together, thread caches included, at any instant. Buffers
/// in use are not counted, and a budget never makes a `get` fail: what it refuses is freed as it comes back, and counted
/// in [`Dropped::over_budget`](crate::Dropped::over_budget) of the pool that was refused. It is first come, first served.
/// No pool has a share of its own, and nobody's idle buffers are freed for somebody else's: bound a greedy pool by
/// its own [`Builder::retained_bytes_max`], and call [`Registry::trim`] now and then.
///
/// **A name that nobody created** is an error, [`UnknownPool`], and not a pool with a default configuration.
///
/// **Cost.** Looking a pool up takes a lock and a search: do it once, at start-up or per connection, and keep the `Arc`. A
/// use of the pool costs what it does without a registry; with a budget the cold path, where a pool charges its own,
/// charges the common one too. Which pool gets what a nearly full budget has left is unspecified.
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
        #[must_use]
        pub const fn new() -> Registry {
            Registry::with(None)
        }
    }

    const_unless_loom! {
        /// A registry whose pools together never hold more than `bytes` idle, at any instant.
        ///
        /// Each pool also keeps to its own [`Builder::retained_bytes_max`], 64 MiB unless set. All pools' thread caches
        /// together take at most half of the budget. It is first come, first served: see [`Registry::trim`].
        #[must_use]
        pub const fn with_budget(bytes: usize) -> Registry {
            Registry::with(Some(bytes))
        }
    }

    const_unless_loom! {
        const fn with(budget_bytes: Option<usize>) -> Registry {
            Registry { budget_bytes, state: Mutex::new(State { pools: BTreeMap::new(), budget: None }) }
        }
    }

    /// The bytes that all pools together may hold idle, if there is such a budget.
    #[must_use]
    pub fn budget(&self) -> Option<usize> {
        self.budget_bytes
    }

    /// The pool of that name, made with `builder` if there is none yet.
    ///
    /// A pool that is there keeps its configuration, and `builder` is not looked at. Of several threads that ask for a new
    /// name at once one makes the pool, and all get it.
    ///
    /// # Errors
    ///
    /// When there is none and `builder` has a bad value; see [`Builder::try_build`]. No pool is made then.
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
    /// When there is none: a name that is misspelt must not make a pool that nobody configured.
    pub fn get(&self, name: &str) -> Result<Arc<Pool>, UnknownPool> {
        lock(&self.state).pools.get(name).map(Arc::clone).ok_or_else(|| UnknownPool::new(name))
    }

    /// Takes a pool out of the registry. It lives on, within the common budget, until the last `Arc` of it is gone, those in
    /// its owned guards and frozen buffers included; then what it held is free for the others. Its name may be used again
    /// at once.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn remove(&self, name: &str) -> Result<Arc<Pool>, UnknownPool> {
        lock(&self.state).pools.remove(name).ok_or_else(|| UnknownPool::new(name))
    }

    /// The names, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.state).pools.keys().cloned().collect()
    }

    /// The names and the pools, in the order of the names.
    #[must_use]
    pub fn pools(&self) -> Vec<(String, Arc<Pool>)> {
        lock(&self.state).pools.iter().map(|(name, pool)| (name.clone(), Arc::clone(pool))).collect()
    }

    /// The counters of one pool; [`Pool::stats`].
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn stats(&self, name: &str) -> Result<Stats, UnknownPool> {
        Ok(self.get(name)?.stats())
    }

    /// The counters of each pool, in the order of the names.
    ///
    /// While threads operate, the pools are read one after the other, and bytes that one released while another took
    /// them would be counted twice; what exceeds the common budget is therefore left out of `retained`, as
    /// [`Pool::stats`] does for one pool. With no operation in flight the figures are exact.
    #[must_use]
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
    /// Call it now and then if pools with a common budget fall idle: a pool that nobody calls frees nothing by itself,
    /// and what it holds is missing in the others.
    pub fn trim(&self) -> usize {
        self.pools().iter().map(|(_, pool)| pool.trim()).sum()
    }

    /// Frees everything idle in every pool that this thread can reach; returns the bytes freed. See [`Pool::purge`].
    pub fn purge(&self) -> usize {
        self.pools().iter().map(|(_, pool)| pool.purge()).sum()
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl fmt::Debug for Registry {
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
    fn new(name: &str) -> UnknownPool {
        UnknownPool { name: name.to_owned() }
    }

    /// The name that was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for UnknownPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no pool named {:?} in the registry", self.name)
    }
}

impl std::error::Error for UnknownPool {}
