//! Configuration, judged once: `try_build` says which value is wrong, and `build` refuses at compile time.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::class::{MAX_CLASS_SIZE, MIN_CLASS_SIZE, class_of};
use crate::learn::sizing::{Calibration, DefaultSize, Limits, Sizes};
use crate::pool::Pool;
use crate::sync::const_unless_loom;

/// How large the next buffer of a guard is, when what is written no longer fits.
///
/// # Examples
///
/// ```
/// use bytebufferpool::{Growth, Pool};
///
/// static LINES: Pool = Pool::builder().growth(Growth::NextClass).build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Growth {
    /// To the smallest size class that holds what is written. Takes the least memory for buffers in use.
    NextClass,
    /// Straight to the calibrated max size, or to 1 MiB if that is less, so that most uses copy at most once. Until the
    /// first calibration this is `NextClass`.
    MaxSize,
}

/// Configuration of a [`Pool`]; see [`Pool::builder`].
///
/// Every setter and [`build`](Builder::build) is a `const fn`, so a pool can be a plain `static`. Sizes are in bytes
/// and are rounded up to a size class (a power of two, 64 B to 32 MiB).
///
/// # Examples
///
/// ```
/// use bytebufferpool::Pool;
///
/// static RESPONSES: Pool = Pool::builder().max_percentile(0.99).retained_bytes_max(16 << 20).build();
/// assert_eq!(RESPONSES.default_size(), 64);
/// ```
///
/// With the feature `serde` a builder is read from a configuration file. A field that is left out has its default, an
/// unknown field is an error, and values are checked when the pool is built. The callback is not written, nor what the
/// feature `leak-trace` adds. All other fields are always written, in the order of the setters, so that a format
/// without field names (postcard) reads back what it wrote:
///
#[cfg_attr(not(feature = "serde"), doc = "```ignore")]
#[cfg_attr(feature = "serde", doc = "```")]
/// use bytebufferpool::Builder;
///
/// let written = r#"{ "default_policy": { "percentile": 0.9 }, "max_size_limit": 1048576, "trim_interval_seconds": 0.5 }"#;
/// let builder: Builder = serde_json::from_str(written)?;
/// assert_eq!(builder.try_build()?.max_size(), 1 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A bad value in a `static` does not compile:
///
/// ```compile_fail
/// use bytebufferpool::Pool;
///
/// static RESPONSES: Pool = Pool::builder().max_percentile(99.0).build();
/// ```
///
/// Nor do two values that contradict each other:
///
/// ```compile_fail
/// use bytebufferpool::Pool;
///
/// static RESPONSES: Pool = Pool::builder().max_size(1 << 20).max_size_limit(4096).build();
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[must_use = "a Builder does nothing until it is built"]
pub struct Builder {
    calibrate_calls_threshold: u64,
    max_percentile: f64,
    default_policy: DefaultSize,
    growth: Growth,
    calibrate_early: bool,
    // `None`: not set, so that the size follows what was set instead of contradicting it.
    default_size: Option<usize>,
    max_size: Option<usize>,
    default_size_limit: Option<usize>,
    max_size_limit: Option<usize>,
    retained_bytes_max: usize,
    thread_cache_bytes_max: usize,
    #[cfg_attr(feature = "serde", serde(rename = "trim_interval_seconds", with = "seconds"))]
    trim_interval: Duration,
    #[cfg_attr(feature = "serde", serde(skip))]
    on_calibration: Hook,
    #[cfg_attr(feature = "serde", serde(skip))]
    leak_sample_every: u32,
}

impl Builder {
    /// The default configuration, as from [`Pool::builder`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::{Builder, Pool};
    ///
    /// const LOG_LINES: Builder = Builder::new().max_size_limit(64 << 10);
    /// static LINES: Pool = LOG_LINES.build();
    /// static AUDIT_LINES: Pool = LOG_LINES.retained_bytes_max(1 << 20).build();
    /// ```
    pub const fn new() -> Builder {
        Builder {
            calibrate_calls_threshold: CALIBRATE_CALLS_THRESHOLD,
            max_percentile: MAX_PERCENTILE,
            default_policy: DEFAULT_POLICY,
            growth: Growth::NextClass,
            calibrate_early: true,
            default_size: None,
            max_size: None,
            default_size_limit: None,
            max_size_limit: None,
            retained_bytes_max: RETAINED_BYTES_MAX,
            thread_cache_bytes_max: THREAD_CACHE_BYTES_MAX,
            trim_interval: TRIM_INTERVAL,
            on_calibration: Hook::NONE,
            leak_sample_every: LEAK_SAMPLE_EVERY,
        }
    }

    /// How many calls of one size class make the pool recalibrate. Default 42 000, at least 1.
    ///
    /// The call that goes past the threshold does it; with several threads it may come later, by at most 1/128 of the
    /// threshold (512 at most) for each other thread. A lower threshold follows a shifting workload sooner and judges
    /// it by fewer messages.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().calibrate_calls_threshold(10).build();
    /// for _ in 0..11 {
    ///     pool.get().push(1);
    /// }
    /// assert_eq!(pool.stats().calibrations, 1);
    /// ```
    pub const fn calibrate_calls_threshold(mut self, calls: u64) -> Builder {
        self.calibrate_calls_threshold = calls;
        self
    }

    /// The share of calls that the calibrated max size must cover, above 0 and at most 1. Default 0.95.
    ///
    /// Buffers above the max size are freed when they are returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// static POOL: Pool = Pool::builder().max_percentile(0.99).build();
    /// ```
    pub const fn max_percentile(mut self, share: f64) -> Builder {
        self.max_percentile = share;
        self
    }

    /// How a calibration chooses the default size; see [`DefaultSize`]. Default `Percentile(0.95)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// use bytebufferpool::DefaultSize;
    ///
    /// static AS_IN_GO: Pool = Pool::builder().default_policy(DefaultSize::Mode).build();
    /// ```
    pub const fn default_policy(mut self, policy: DefaultSize) -> Builder {
        self.default_policy = policy;
        self
    }

    /// How large the next buffer is when one must grow; see [`Growth`]. Default `NextClass`.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// use bytebufferpool::Growth;
    ///
    /// static POOL: Pool = Pool::builder().growth(Growth::MaxSize).build();
    /// ```
    pub const fn growth(mut self, growth: Growth) -> Builder {
        self.growth = growth;
        self
    }

    /// Whether the max size may rise before the window is full. Default true.
    ///
    /// A calibration waits until one size class has more calls than the
    /// [threshold](Builder::calibrate_calls_threshold). If messages become larger in the meantime, each of them is
    /// above the max size: its buffer is allocated and freed. So the pool counts the uses above the max size since the
    /// last calibration and looks again at the 65th, and then at every 64th. If they are more than `2 * (1 -
    /// max_percentile)` of the calls in the running window, the max size rises at once to what that window gives. Such
    /// an early look lowers nothing, changes no default size, ends no window, and never raises the max size above
    /// [`max_size_limit`](Builder::max_size_limit).
    ///
    /// With false the sizes change only when a window is full, as in Go's bytebufferpool.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::{DefaultSize, Pool};
    ///
    /// static AS_IN_GO: Pool = Pool::builder().default_policy(DefaultSize::Mode).calibrate_early(false).build();
    /// ```
    pub const fn calibrate_early(mut self, early: bool) -> Builder {
        self.calibrate_early = early;
        self
    }

    /// The default size until the first calibration. Default 64 B.
    ///
    /// It must not be above a [`max_size`](Builder::max_size) or [`default_size_limit`](Builder::default_size_limit)
    /// that is also set. If only [`max_size_limit`](Builder::max_size_limit) is set and is lower, the default size is
    /// that limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().default_size(5000).build();
    /// assert_eq!(pool.default_size(), 8192);
    /// ```
    pub const fn default_size(mut self, bytes: usize) -> Builder {
        self.default_size = Some(bytes);
        self
    }

    /// The max size until the first calibration: larger buffers are freed when they are returned.
    ///
    /// By default it is [`max_size_limit`](Builder::max_size_limit). If both are set it must not be above that limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().max_size(4096).build();
    /// drop(pool.get_with_capacity(5000));
    /// assert_eq!(pool.stats().dropped.over_ceiling, 1);
    /// ```
    pub const fn max_size(mut self, bytes: usize) -> Builder {
        self.max_size = Some(bytes);
        self
    }

    /// The default size is never above this. Default 1 MiB.
    ///
    /// By default it follows a higher [`default_size`](Builder::default_size), and it is at most
    /// [`max_size_limit`](Builder::max_size_limit). This bounds the capacity that untrusted input can make every plain
    /// `get` have.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().default_size_limit(4096).build();
    /// pool.get().resize(100_000, 0);
    /// pool.calibrate();
    /// assert_eq!(pool.default_size(), 4096);
    /// ```
    pub const fn default_size_limit(mut self, bytes: usize) -> Builder {
        self.default_size_limit = Some(bytes);
        self
    }

    /// The max size is never above this. Default 32 MiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().max_size_limit(4096).build();
    /// assert_eq!(pool.max_size(), 4096);
    /// ```
    pub const fn max_size_limit(mut self, bytes: usize) -> Builder {
        self.max_size_limit = Some(bytes);
        self
    }

    /// The budget: how many bytes may be cached in the pool, thread caches included, at any instant. Default 64 MiB; 0
    /// caches nothing.
    ///
    /// Beyond it buffers are freed when they are returned. All thread caches together take at most half of it; no
    /// thread withholds more than its small cache, see [`thread_cache_bytes_max`](Builder::thread_cache_bytes_max).
    /// Buffers in use are not counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// let pool = Pool::builder().retained_bytes_max(0).build();
    /// drop(pool.get());
    /// assert_eq!(pool.stats().dropped.over_budget, 1);
    /// ```
    pub const fn retained_bytes_max(mut self, bytes: usize) -> Builder {
        self.retained_bytes_max = bytes;
        self
    }

    /// How many bytes each thread may cache for itself, in buffers up to 32 KiB. Default 128 KiB; 0 turns thread caches
    /// off.
    ///
    /// All thread caches together take at most half of the budget, and one thread's at most a sixteenth of what is left
    /// of that half, whatever this setting is. What a thread cannot cache goes to the shared part, where every thread
    /// finds it. A sleeping thread keeps its cache until its next operation, [`Pool::flush_thread`] or its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// static SHARED_ONLY: Pool = Pool::builder().thread_cache_bytes_max(0).build();
    /// ```
    pub const fn thread_cache_bytes_max(mut self, bytes: usize) -> Builder {
        self.thread_cache_bytes_max = bytes;
        self
    }

    /// How long a trim interval is: what stays unused for two of them is freed. Default 1 s.
    ///
    /// An interval ends when a use finds that its time is over. A thread does not read the clock at each use, but about
    /// eight times in an interval, and at the latest after 64 uses. So what was unused for two intervals is freed within
    /// one more interval and some uses of one thread: as a rule 8 uses, and 64 uses if that thread has just slowed down
    /// from full speed. This holds at any rate; below ten uses a second, these uses take longer. Every [`Pool::trim`]
    /// ends an interval too. `Duration::MAX` turns trimming by use off, and with `Duration::ZERO` an interval ends
    /// whenever a thread reads the clock.
    ///
    /// Exceptions: the caches of other threads, at most [`thread_cache_bytes_max`](Builder::thread_cache_bytes_max)
    /// each, are freed at their threads' next operation, [`Pool::flush_thread`] or end. A pool that nobody uses frees
    /// nothing: call [`Pool::trim`], or see [`Pool::spawn_trimmer`]. `wasm32-unknown-unknown` has no clock: there only
    /// `trim` passes intervals.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::Pool;
    ///
    /// use std::time::Duration;
    ///
    /// static POOL: Pool = Pool::builder().trim_interval(Duration::from_secs(10)).build();
    /// ```
    pub const fn trim_interval(mut self, interval: Duration) -> Builder {
        self.trim_interval = interval;
        self
    }

    /// Called after each calibration with the pool and what it has learned, for example to log it. By default nothing
    /// is called.
    ///
    /// It runs on the thread whose use made the pool calibrate, usually within the drop of a guard, so it should be
    /// short. It may use this pool or others. A calibration that this causes is not announced on the same thread
    /// ([`Calibration::number`] then shows a gap). No lock is held. A panic is caught and ignored. A calibration by a
    /// dying thread, after the pool's own thread-local destructor, is not announced either, nor is a max size that
    /// [rises early](Builder::calibrate_early).
    ///
    /// A callback that captures something is made `'static` by `Box::leak`, once for any number of pools. With the
    /// feature `tracing` a calibration is also an event, level debug, target `bytebufferpool`.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytebufferpool::{Calibration, Pool};
    ///
    /// static LINES: Pool = Pool::builder().on_calibration(&tell).build();
    ///
    /// fn tell(_: &Pool, learnt: &Calibration) {
    ///     eprintln!("lines: the default is {} bytes now, and was {}", learnt.default_size, learnt.default_size_before);
    /// }
    ///
    /// LINES.get().resize(1000, b' ');
    /// LINES.calibrate();
    /// assert_eq!(LINES.default_size(), 1024);
    /// ```
    ///
    /// One that captures:
    ///
    /// ```
    /// use bytebufferpool::{Calibration, Pool};
    /// use std::sync::mpsc;
    ///
    /// let (sender, calibrations) = mpsc::channel();
    /// let send = Box::leak(Box::new(move |_: &Pool, learnt: &Calibration| {
    ///     let _ = sender.send(*learnt);
    /// }));
    /// let pool = Pool::builder().on_calibration(send).build();
    /// pool.get().resize(1000, b' ');
    /// pool.calibrate();
    /// let first = calibrations.recv()?;
    /// assert_eq!((first.number, first.default_size), (1, 1024));
    /// # Ok::<(), mpsc::RecvError>(())
    /// ```
    pub const fn on_calibration(mut self, callback: &'static (dyn Fn(&Pool, &Calibration) + Send + Sync)) -> Builder {
        self.on_calibration = Hook::new(callback);
        self
    }

    /// One guard in how many is traced for [`Pool::outstanding_report`]: feature `leak-trace`. Default 128; 1 traces
    /// every guard, 0 none.
    ///
    /// A traced guard takes a lock of its pool when it is made and when it ends, and may allocate or free memory. If
    /// there is no memory for the trace, the guard is not traced.
    #[cfg(feature = "leak-trace")]
    pub const fn leak_sample_every(mut self, guards: u32) -> Builder {
        self.leak_sample_every = guards;
        self
    }

    const_unless_loom! {
        /// Makes the pool; takes no memory until its first use.
        ///
        /// # Panics
        ///
        /// On a bad value, naming the setter and its limit, and on two values that contradict each other, naming both
        /// setters. In a `static` or `const` that is a compile error. [`try_build`](Builder::try_build) returns an
        /// error instead.
        ///
        /// # Examples
        ///
        /// ```
        /// use bytebufferpool::Pool;
        ///
        /// static LINES: Pool = Pool::builder().default_size(200).build();
        /// assert_eq!(LINES.default_size(), 256);
        /// ```
        #[must_use]
        pub const fn build(self) -> Pool {
            match self.check() {
                Ok(config) => Pool::with_config(config),
                Err(error) => panic!("{}", error.refusal),
            }
        }
    }

    const_unless_loom! {
        /// Makes the pool, or says which value is wrong.
        ///
        /// # Errors
        ///
        /// A threshold of 0, a share outside (0, 1], a size or limit above 32 MiB, or two values that were both set and
        /// contradict each other: a size above its limit, or a default above its max. The message names the value, its
        /// limit and the setter, or both setters.
        ///
        /// # Examples
        ///
        /// ```
        /// use bytebufferpool::Pool;
        ///
        /// let error = Pool::builder().default_size(8192).max_size(4096).try_build().unwrap_err();
        /// let message = "Builder::default_size must not be above Builder::max_size: 8192 bytes is above 4096 bytes";
        /// assert_eq!(error.to_string(), message);
        /// ```
        pub const fn try_build(self) -> Result<Pool, BuildError> {
            match self.check() {
                Ok(config) => Ok(Pool::with_config(config)),
                Err(error) => Err(error),
            }
        }
    }

    const fn check(&self) -> Result<Config, BuildError> {
        const fn above_largest(set: Option<usize>) -> bool {
            matches!(set, Some(bytes) if bytes > MAX_CLASS_SIZE)
        }
        const fn bad_share(policy: DefaultSize) -> Option<f64> {
            match policy {
                DefaultSize::Percentile(share) if !is_share(share) => Some(share),
                _ => None,
            }
        }
        /// As classes, which is what both are rounded up to.
        const fn above(low: Option<usize>, high: Option<usize>) -> Option<Found> {
            match (low, high) {
                (Some(low), Some(high)) if class_of(low) > class_of(high) => Some(Found::Above(low, high)),
                _ => None,
            }
        }
        let refused = if self.calibrate_calls_threshold == 0 {
            ("Builder::calibrate_calls_threshold must be at least 1", Found::Number(0))
        } else if !is_share(self.max_percentile) {
            ("Builder::max_percentile must be above 0 and at most 1", Found::Share(self.max_percentile))
        } else if let Some(share) = bad_share(self.default_policy) {
            ("Builder::default_policy must have a percentile above 0 and at most 1", Found::Share(share))
        } else if above_largest(self.default_size) {
            ("Builder::default_size must be at most 32 MiB (33554432)", Found::Number(or(self.default_size, 0) as u64))
        } else if above_largest(self.max_size) {
            ("Builder::max_size must be at most 32 MiB (33554432)", Found::Number(or(self.max_size, 0) as u64))
        } else if above_largest(self.default_size_limit) {
            (
                "Builder::default_size_limit must be at most 32 MiB (33554432)",
                Found::Number(or(self.default_size_limit, 0) as u64),
            )
        } else if above_largest(self.max_size_limit) {
            (
                "Builder::max_size_limit must be at most 32 MiB (33554432)",
                Found::Number(or(self.max_size_limit, 0) as u64),
            )
        } else if let Some(found) = above(self.default_size, self.max_size) {
            ("Builder::default_size must not be above Builder::max_size", found)
        } else if let Some(found) = above(self.default_size_limit, self.max_size_limit) {
            ("Builder::default_size_limit must not be above Builder::max_size_limit", found)
        } else if let Some(found) = above(self.default_size, self.default_size_limit) {
            ("Builder::default_size must not be above Builder::default_size_limit", found)
        } else if let Some(found) = above(self.max_size, self.max_size_limit) {
            ("Builder::max_size must not be above Builder::max_size_limit", found)
        } else {
            return Ok(self.resolve());
        };
        Err(BuildError::new(refused.0, refused.1))
    }

    /// What was not set follows what was set, so that no size is above its limit and no default size above the max
    /// size.
    const fn resolve(&self) -> Config {
        let max_size_limit = or(self.max_size_limit, MAX_CLASS_SIZE);
        let max_size = or(self.max_size, max_size_limit);
        // It is above `max_size_limit` only if neither `max_size` nor `default_size_limit` was set: `check` refuses the
        // rest.
        let default_size = lesser(or(self.default_size, MIN_CLASS_SIZE), max_size_limit);
        let default_size_limit = match self.default_size_limit {
            Some(limit) => limit,
            None => lesser(greater(DEFAULT_SIZE_LIMIT, default_size), max_size_limit),
        };
        Config {
            calibrate_calls_threshold: self.calibrate_calls_threshold,
            limits: Limits {
                max_percentile: self.max_percentile,
                default_policy: self.default_policy,
                default_class_limit: class_of(default_size_limit),
                max_class_limit: class_of(max_size_limit),
            },
            growth: self.growth,
            calibrate_early: self.calibrate_early,
            initial: Sizes::of_bytes(default_size, max_size),
            retained_bytes_max: self.retained_bytes_max,
            thread_cache_bytes_max: self.thread_cache_bytes_max,
            trim_interval: self.trim_interval,
            on_calibration: self.on_calibration,
            leak_sample_every: self.leak_sample_every,
        }
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

/// A value that [`Builder::try_build`] refused. The message names the value, its limit and the setter.
///
/// # Examples
///
/// ```
/// use bytebufferpool::Pool;
///
/// let error = Pool::builder().calibrate_calls_threshold(0).try_build().unwrap_err();
/// assert_eq!(error.to_string(), "Builder::calibrate_calls_threshold must be at least 1: it is 0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BuildError {
    /// The setter and its limit: what [`Builder::build`] can say in a constant.
    refusal: &'static str,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    Number(u64),
    Share(f64),
    /// Both in bytes.
    Above(usize, usize),
}

impl BuildError {
    const fn new(refusal: &'static str, found: Found) -> BuildError {
        BuildError { refusal, found }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.refusal)?;
        match self.found {
            Found::Number(number) => write!(f, "it is {number}"),
            Found::Share(share) => write!(f, "it is {share}"),
            Found::Above(low, high) => write!(f, "{low} bytes is above {high} bytes"),
        }
    }
}

impl std::error::Error for BuildError {}

/// A checked configuration, with every value set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) calibrate_calls_threshold: u64,
    pub(crate) limits: Limits,
    pub(crate) growth: Growth,
    pub(crate) calibrate_early: bool,
    pub(crate) initial: Sizes,
    pub(crate) retained_bytes_max: usize,
    pub(crate) thread_cache_bytes_max: usize,
    pub(crate) trim_interval: Duration,
    pub(crate) on_calibration: Hook,
    pub(crate) leak_sample_every: u32,
}

pub(crate) type Callback = &'static (dyn Fn(&Pool, &Calibration) + Send + Sync);

/// The callback of a configuration, if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Hook(Option<Callback>);

// A panic of the callback is caught, and the callback has nothing of this crate's state.
impl UnwindSafe for Hook {}
impl RefUnwindSafe for Hook {}

impl Hook {
    pub(crate) const NONE: Hook = Hook(None);

    pub(crate) fn callback(self) -> Option<Callback> {
        self.0
    }

    pub(crate) const fn new(callback: Callback) -> Hook {
        Hook(Some(callback))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}

impl Config {
    pub(crate) const DEFAULT: Config = Builder::new().resolve();
}

/// Go's bytebufferpool's threshold and percentile (`calibrateCallsThreshold`, `maxPercentile`).
const CALIBRATE_CALLS_THRESHOLD: u64 = 42_000;
const MAX_PERCENTILE: f64 = 0.95;

/// Over eight traces, with 1 and with 64 buffers in use, this takes 1.01 times the time of the fastest policy on each,
/// and 1.00 and 1.37 times the least cached bytes. The mode takes 1.24 and 1.19 times the time with 1.28 and 1.00 times
/// the bytes (geometric means, 2026-11-21, `cargo run --release -p compare --bin policy`, docs/policy.md).
const DEFAULT_POLICY: DefaultSize = DefaultSize::Percentile(0.95);

const DEFAULT_SIZE_LIMIT: usize = 1 << 20;
const RETAINED_BYTES_MAX: usize = 64 << 20;
const THREAD_CACHE_BYTES_MAX: usize = 128 << 10;
const TRIM_INTERVAL: Duration = Duration::from_secs(1);
/// Rare enough that a service can run with it. A leak of a thousand buffers still shows about eight times.
const LEAK_SAMPLE_EVERY: u32 = 128;

// The full caches of 256 threads fit into the half of the budget that thread caches may take.
const _: () = assert!(THREAD_CACHE_BYTES_MAX * 256 <= RETAINED_BYTES_MAX / 2);
const _: () = assert!(cfg!(pool_loom) || DEFAULT_SIZE_LIMIT <= MAX_CLASS_SIZE);

const fn is_share(share: f64) -> bool {
    // False for NaN.
    share > 0.0 && share <= 1.0
}

const fn or(set: Option<usize>, otherwise: usize) -> usize {
    match set {
        Some(bytes) => bytes,
        None => otherwise,
    }
}

const fn lesser(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

const fn greater(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// How a file has an interval: seconds with a fraction, exact to the nanosecond up to a hundred days, and the unit is
/// in the field's name.
#[cfg(feature = "serde")]
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(interval: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        interval.as_secs_f64().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds >= u64::MAX as f64 {
            // What `Duration::MAX` is written as.
            return Ok(Duration::MAX);
        }
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| de::Error::custom(format_args!("trim_interval_seconds is {seconds}: {error}")))
    }
}

#[cfg(all(test, not(pool_loom)))]
mod tests {
    use super::*;
    use crate::class::size_of_class;

    fn refusal(builder: Builder) -> String {
        builder.try_build().expect_err("refused").to_string()
    }

    #[test]
    fn bad_values_are_refused_with_value_limit_and_setter() {
        let over = MAX_CLASS_SIZE + 1;
        let b = Builder::new;
        for (builder, message) in [
            (b().calibrate_calls_threshold(0), "Builder::calibrate_calls_threshold must be at least 1: it is 0"),
            (b().max_percentile(0.0), "Builder::max_percentile must be above 0 and at most 1: it is 0"),
            (b().max_percentile(f64::NAN), "Builder::max_percentile must be above 0 and at most 1: it is NaN"),
            (b().max_percentile(1.5), "Builder::max_percentile must be above 0 and at most 1: it is 1.5"),
            (b().max_percentile(-0.1), "Builder::max_percentile must be above 0 and at most 1: it is -0.1"),
            (
                b().default_policy(DefaultSize::Percentile(f64::NAN)),
                "Builder::default_policy must have a percentile above 0 and at most 1: it is NaN",
            ),
            (b().default_size(over), "Builder::default_size must be at most 32 MiB (33554432): it is 33554433"),
            (b().max_size(over), "Builder::max_size must be at most 32 MiB (33554432): it is 33554433"),
            (
                b().default_size_limit(over),
                "Builder::default_size_limit must be at most 32 MiB (33554432): it is 33554433",
            ),
            (b().max_size_limit(over), "Builder::max_size_limit must be at most 32 MiB (33554432): it is 33554433"),
            (
                b().max_size(64).default_size(65),
                "Builder::default_size must not be above Builder::max_size: 65 bytes is above 64 bytes",
            ),
            (
                b().max_size_limit(64).default_size_limit(65),
                "Builder::default_size_limit must not be above Builder::max_size_limit: 65 bytes is above 64 bytes",
            ),
            (
                b().default_size_limit(64).default_size(65),
                "Builder::default_size must not be above Builder::default_size_limit: 65 bytes is above 64 bytes",
            ),
            (
                b().max_size(1 << 20).max_size_limit(4096),
                "Builder::max_size must not be above Builder::max_size_limit: 1048576 bytes is above 4096 bytes",
            ),
        ] {
            assert_eq!(refusal(builder), message);
        }
    }

    #[test]
    fn build_panics_with_setter_and_limit() {
        for (builder, expected) in [
            (Builder::new().max_percentile(2.0), "Builder::max_percentile must be above 0 and at most 1"),
            (Builder::new().max_size(MAX_CLASS_SIZE + 1), "Builder::max_size must be at most 32 MiB (33554432)"),
            (
                Builder::new().default_size(8192).default_size_limit(4096),
                "Builder::default_size must not be above Builder::default_size_limit",
            ),
        ] {
            let panic = std::panic::catch_unwind(|| builder.build()).unwrap_err();
            assert_eq!(panic.downcast_ref::<String>().expect("a formatted message"), expected);
        }
    }

    #[test]
    fn edges_are_accepted() {
        for builder in [
            Builder::new().calibrate_calls_threshold(1),
            Builder::new().max_percentile(1.0),
            Builder::new().max_percentile(f64::MIN_POSITIVE),
            Builder::new().max_size(MAX_CLASS_SIZE).default_size(MAX_CLASS_SIZE),
            Builder::new().retained_bytes_max(usize::MAX).thread_cache_bytes_max(usize::MAX),
            Builder::new().retained_bytes_max(0).thread_cache_bytes_max(0),
        ] {
            assert!(builder.try_build().is_ok());
        }
    }

    #[test]
    fn values_that_round_up_to_one_class_do_not_contradict_each_other() {
        for builder in [
            Builder::new().default_size(128).max_size(65),
            Builder::new().default_size(128).default_size_limit(65),
            Builder::new().max_size(128).max_size_limit(65),
            Builder::new().default_size_limit(128).max_size_limit(65),
            Builder::new().default_size(64).max_size(0).default_size_limit(1).max_size_limit(2),
        ] {
            assert!(builder.try_build().is_ok());
        }
    }

    /// Default size, its limit, max size, its limit.
    fn sizes(builder: Builder) -> [usize; 4] {
        let config = builder.check().expect("legal");
        let limits = config.limits;
        [config.initial.default_class, limits.default_class_limit, config.initial.max_class, limits.max_class_limit]
            .map(size_of_class)
    }

    #[test]
    fn what_was_not_set_follows_what_was() {
        const MIB: usize = 1 << 20;
        const MAX: usize = MAX_CLASS_SIZE;
        let b = Builder::new;
        for (builder, expected) in [
            (b(), [64, MIB, MAX, MAX]),
            (b().default_size(8192), [8192, MIB, MAX, MAX]),
            (b().default_size(2 * MIB), [2 * MIB, 2 * MIB, MAX, MAX]),
            (b().default_size(MAX), [MAX, MAX, MAX, MAX]),
            (b().max_size(0), [64, MIB, 64, MAX]),
            (b().default_size_limit(4 * MIB), [64, 4 * MIB, MAX, MAX]),
            (b().max_size_limit(4096), [64, 4096, 4096, 4096]),
            (b().max_size_limit(2 * MIB), [64, MIB, 2 * MIB, 2 * MIB]),
            (b().max_size_limit(4096).max_size(128), [64, 4096, 128, 4096]),
            // Both set, but the first is a wish and the second a bound: no error, and no size above its limit.
            (b().default_size(8192).max_size_limit(4096), [4096, 4096, 4096, 4096]),
            (b().default_size(2 * MIB).max_size_limit(4 * MIB), [2 * MIB, 2 * MIB, 4 * MIB, 4 * MIB]),
        ] {
            assert_eq!(sizes(builder.clone()), expected, "{builder:?}");
        }
    }

    #[test]
    fn whatever_is_set_no_size_is_above_its_limit() {
        let values = [None, Some(64), Some(4096), Some(2 << 20), Some(MAX_CLASS_SIZE)];
        let set = |builder, value: Option<usize>, setter: fn(Builder, usize) -> Builder| match value {
            Some(bytes) => setter(builder, bytes),
            None => builder,
        };
        let mut built = 0;
        for n in 0..values.len().pow(4) {
            let [default, max, default_limit, max_limit] = [0, 1, 2, 3].map(|digit| values[n / 5_usize.pow(digit) % 5]);
            let above = |low: Option<usize>, high: Option<usize>| low.is_some() && high.is_some() && low > high;
            let contradicts = above(default, max)
                || above(default_limit, max_limit)
                || above(default, default_limit)
                || above(max, max_limit);
            let mut builder = set(Builder::new(), default, Builder::default_size);
            builder = set(builder, max, Builder::max_size);
            builder = set(builder, default_limit, Builder::default_size_limit);
            builder = set(builder, max_limit, Builder::max_size_limit);
            assert_eq!(builder.clone().try_build().is_err(), contradicts, "{builder:?}");
            if !contradicts {
                let found @ [default_size, default_size_limit, max_size, max_size_limit] = sizes(builder.clone());
                assert!(default_size <= max_size && default_size_limit <= max_size_limit, "{builder:?}: {found:?}");
                assert!(default_size <= default_size_limit && max_size <= max_size_limit, "{builder:?}: {found:?}");
                for (set, found) in [(max, max_size), (default_limit, default_size_limit), (max_limit, max_size_limit)]
                {
                    assert!(set.is_none_or(|set| set == found), "{builder:?}: {found:?}");
                }
                built += 1;
            }
        }
        assert!(built > 100, "{built}");
    }

    #[test]
    fn the_error_is_an_ordinary_error() {
        fn ordinary<T: std::error::Error + Send + Sync + 'static>() {}
        ordinary::<BuildError>();
    }
}
