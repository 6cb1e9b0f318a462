//! Drives `Builder` with any values and holds `try_build`, `build` and the sizes against a predicate of its own.
#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytebufferpool::{Builder, CLASSES, DefaultSize, Growth, MAX_CLASS_SIZE, MIN_CLASS_SIZE, Pool};
use libfuzzer_sys::fuzz_target;

mod quiet;

/// What was set last; `None`: not set.
#[derive(Debug, Default, Arbitrary)]
struct Settings {
    threshold: Option<Calls>,
    percentile: Option<Share>,
    policy: Option<Policy>,
    growth: Option<bool>,
    early: Option<bool>,
    default_size: Option<Size>,
    max_size: Option<Size>,
    default_limit: Option<Size>,
    max_limit: Option<Size>,
    retained: Option<Size>,
    thread_cache: Option<Size>,
    interval: Option<(u64, u32)>,
    uses: Vec<u16>,
}

#[derive(Debug, Arbitrary)]
enum Calls {
    Few(u8),
    Any(u64),
}

#[derive(Debug, Arbitrary)]
enum Share {
    Any(f64),
    Percent(u8),
}

#[derive(Debug, Arbitrary)]
enum Policy {
    Mode,
    Percentile(Share),
}

/// Any number, but mostly one near a size class.
#[derive(Debug, Clone, Copy)]
struct Size(usize);

impl<'a> Arbitrary<'a> for Size {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Size> {
        let size = match u.arbitrary::<u8>()? {
            kind @ 0..=199 => {
                let class = kind as usize % (CLASSES + 2);
                ((MIN_CLASS_SIZE << class) + kind as usize % 3).saturating_sub(1)
            }
            200..=229 => usize::from(u.arbitrary::<u16>()?),
            _ => u.arbitrary()?,
        };
        Ok(Size(size))
    }
}

impl Calls {
    fn value(&self) -> u64 {
        match *self {
            Calls::Few(calls) => calls.into(),
            Calls::Any(calls) => calls,
        }
    }
}

impl Share {
    fn value(&self) -> f64 {
        match *self {
            Share::Any(share) => share,
            Share::Percent(percent) => f64::from(percent) / 100.0,
        }
    }

    fn is_sound(&self) -> bool {
        let value = self.value();
        !value.is_nan() && value > 0.0 && value <= 1.0
    }
}

impl Settings {
    fn builder(&self) -> Builder {
        let mut builder = Pool::builder();
        if let Some(calls) = &self.threshold {
            builder = builder.calibrate_calls_threshold(calls.value());
        }
        if let Some(share) = &self.percentile {
            builder = builder.max_percentile(share.value());
        }
        match &self.policy {
            None => (),
            Some(Policy::Mode) => builder = builder.default_policy(DefaultSize::Mode),
            Some(Policy::Percentile(share)) => builder = builder.default_policy(DefaultSize::Percentile(share.value())),
        }
        if let Some(max) = self.growth {
            builder = builder.growth(if max { Growth::MaxSize } else { Growth::NextClass });
        }
        if let Some(early) = self.early {
            builder = builder.calibrate_early(early);
        }
        let sizes: [(Option<Size>, fn(Builder, usize) -> Builder); 6] = [
            (self.default_size, Builder::default_size),
            (self.max_size, Builder::max_size),
            (self.default_limit, Builder::default_size_limit),
            (self.max_limit, Builder::max_size_limit),
            (self.retained, Builder::retained_bytes_max),
            (self.thread_cache, Builder::thread_cache_bytes_max),
        ];
        for (size, set) in sizes {
            if let Some(Size(bytes)) = size {
                builder = set(builder, bytes);
            }
        }
        if let Some((seconds, nanos)) = self.interval {
            builder = builder.trim_interval(Duration::new(seconds, nanos % 1_000_000_000));
        }
        builder
    }

    /// The specification, written without a look at the implementation: what each setter allows, and which pairs
    /// that were both set conflict.
    fn is_sound(&self) -> bool {
        let sizes = [self.default_size, self.max_size, self.default_limit, self.max_limit];
        let rounded = |size: Option<Size>| size.map(|Size(bytes)| bytes.max(MIN_CLASS_SIZE).next_power_of_two());
        let conflict = |low: Option<Size>, high: Option<Size>| match (rounded(low), rounded(high)) {
            (Some(low), Some(high)) => low > high,
            _ => false,
        };
        self.threshold.as_ref().is_none_or(|calls| calls.value() != 0)
            && self.percentile.as_ref().is_none_or(Share::is_sound)
            && !matches!(&self.policy, Some(Policy::Percentile(share)) if !share.is_sound())
            && sizes.into_iter().flatten().all(|Size(bytes)| bytes <= MAX_CLASS_SIZE)
            && !conflict(self.default_size, self.max_size)
            && !conflict(self.default_limit, self.max_limit)
            && !conflict(self.default_size, self.default_limit)
            && !conflict(self.max_size, self.max_limit)
    }

    fn check_sizes(&self, pool: &Pool) {
        let (default, max) = (pool.default_size(), pool.max_size());
        let class_size = |size: usize| size.is_power_of_two() && (MIN_CLASS_SIZE..=MAX_CLASS_SIZE).contains(&size);
        assert!(class_size(default) && class_size(max), "{default} and {max} are no class sizes");
        assert!(default <= max, "default {default} above max {max}");
    }

    /// The first sizes: exactly what was set, where it was set, but a default size never above the limit of the max size.
    fn check_first_sizes(&self, pool: &Pool) {
        self.check_sizes(pool);
        let rounded = |size: Size| size.0.max(MIN_CLASS_SIZE).next_power_of_two();
        let max_limit = self.max_limit.map_or(MAX_CLASS_SIZE, rounded);
        assert_eq!(pool.default_size(), self.default_size.map_or(MIN_CLASS_SIZE, rounded).min(max_limit));
        assert_eq!(pool.max_size(), self.max_size.map_or(max_limit, rounded));
    }

    /// A few uses and a calibration: limits bind whatever was configured.
    fn check_learned_sizes(&self, pool: &Pool) {
        for &len in &self.uses {
            pool.get().resize(len.into(), 0);
        }
        pool.calibrate();
        self.check_sizes(pool);
        let stats = pool.stats();
        // `stats` leaves out what is above the budget, so that this fails if something is.
        assert_eq!(stats.allocated, stats.retained_buffers + stats.dropped.total() + stats.trimmed, "one fate each");
        let rounded = |size: Size| size.0.max(MIN_CLASS_SIZE).next_power_of_two();
        if let Some(limit) = self.default_limit {
            assert!(pool.default_size() <= rounded(limit), "default above its limit");
        }
        if let Some(limit) = self.max_limit {
            assert!(pool.max_size() <= rounded(limit), "max above its limit");
        }
    }
}

fn check(settings: &Settings) {
    let sound = settings.is_sound();
    let built = settings.builder().try_build();
    assert_eq!(built.is_ok(), sound, "try_build: {:?}", built.as_ref().err().map(ToString::to_string));
    let panicked = catch_unwind(AssertUnwindSafe(|| settings.builder().build())).err();
    assert_eq!(panicked.is_none(), sound, "build and try_build disagree");
    match built {
        Ok(pool) => {
            settings.check_first_sizes(&pool);
            settings.check_learned_sizes(&pool);
        }
        Err(error) => {
            let panic = panicked.expect("just asserted");
            let message = panic.downcast_ref::<String>().expect("a formatted message");
            assert!(message.starts_with("Builder::"), "{message}");
            assert!(error.to_string().starts_with(message.as_str()), "{error} is not about {message}");
        }
    }
}

fuzz_target!(init: quiet::install(), |settings: Settings| quiet::run(&settings, || check(&settings)));
