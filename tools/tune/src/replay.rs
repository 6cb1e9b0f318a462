//! The real pool under a trace, with what it did.

use std::collections::VecDeque;

use bytebufferpool::{Builder, MAX_CLASS_SIZE};

use crate::setting::NO_TRIM;

/// How the trace is used, besides its lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Buffers in flight: a message ends when this many have begun after it.
    pub(crate) in_flight: usize,
    /// Bytes per write.
    pub(crate) append: usize,
    /// Messages per second, for trim intervals of one second.
    pub(crate) rate: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) uses: u64,
    pub(crate) hits: u64,
    pub(crate) growths: u64,
    /// Buffers that the pool took from the heap.
    pub(crate) allocated: u64,
    /// Bytes that growing copied.
    pub(crate) copied_bytes: u64,
    pub(crate) cached_bytes_mean: f64,
    /// The high-water mark: the worst case.
    pub(crate) cached_bytes_max: usize,
    /// Of cached and borrowed buffers together.
    pub(crate) held_bytes_max: usize,
    /// Each change of the sizes, and what they were at first and at the end.
    pub(crate) learned: Vec<Learned>,
    pub(crate) calibrations: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) after: usize,
    pub(crate) default_size: usize,
    pub(crate) max_size: usize,
}

impl Outcome {
    pub(crate) fn hit_rate(&self) -> f64 {
        self.per_use(self.hits)
    }

    pub(crate) fn growths_per_use(&self) -> f64 {
        self.per_use(self.growths)
    }

    /// What a use costs beside writing itself, in nanoseconds: see the constants.
    pub(crate) fn overhead_ns(&self) -> f64 {
        let per_use = |count| self.per_use(count);
        GROWTH_NS * per_use(self.growths) + COPY_NS * per_use(self.copied_bytes) + HEAP_NS * per_use(self.allocated)
    }

    fn per_use(&self, count: u64) -> f64 {
        count as f64 / self.uses as f64
    }

    pub(crate) fn last(&self) -> Learned {
        *self.learned.last().expect("a replay notes the first sizes")
    }
}

// A rough model, so that growths, copies and trips to the heap can be added up; the order of magnitude is all that is
// asked of it. A growth is one get and one put of the pool, a copy runs at 10 GB/s, and a buffer from the heap is
// allocated, faulted in and freed.
const GROWTH_NS: f64 = 20.0;
const COPY_NS: f64 = 0.1;
const HEAP_NS: f64 = 200.0;

/// One use of the pool per length, on a pool of its own, on this thread.
pub(crate) fn replay(lengths: &[u32], builder: Builder, usage: Usage) -> Outcome {
    let pool = builder.trim_interval(NO_TRIM).build();
    let chunk = vec![0x5a; usage.append];
    let mut in_flight = VecDeque::with_capacity(usage.in_flight);
    let mut seen = Seen::default();
    let mut borrowed_bytes = 0;
    let mut copied_bytes = 0;
    let mut learned = vec![Learned { after: 0, default_size: pool.default_size(), max_size: pool.max_size() }];
    for (index, &length) in lengths.iter().enumerate() {
        if in_flight.len() == usage.in_flight {
            if let Some(buf) = in_flight.pop_front() {
                borrowed_bytes -= capacity(&buf);
            }
            note_sizes(&mut learned, index, pool.default_size(), pool.max_size());
        }
        // Between a put and the next get, when most is cached. Every use of a short trace, so that no peak is missed; of a
        // long one often enough.
        if index % SAMPLE_EVERY == 0 || lengths.len() < SAMPLE_ALL_BELOW {
            seen.sample(pool.stats().retained_bytes, borrowed_bytes);
        }
        let mut buf = pool.get();
        // A class is all that the pool sees of a length; above the largest it sees nothing.
        let mut left = (length as usize).min(MAX_CLASS_SIZE + 1);
        while left > 0 {
            let part = left.min(chunk.len());
            let (before, len) = (buf.capacity(), buf.len());
            buf.extend_from_slice(&chunk[..part]);
            if buf.capacity() != before {
                copied_bytes += len as u64;
            }
            left -= part;
        }
        borrowed_bytes += capacity(&buf);
        seen.held_bytes_max = seen.held_bytes_max.max(borrowed_bytes);
        in_flight.push_back(buf);
        if index % usage.rate == usage.rate - 1 {
            pool.trim();
        }
    }
    // All returned at once: the most that is cached.
    while let Some(buf) = in_flight.pop_front() {
        borrowed_bytes -= capacity(&buf);
        drop(buf);
        seen.peak(pool.stats().retained_bytes, borrowed_bytes);
    }
    note_sizes(&mut learned, lengths.len(), pool.default_size(), pool.max_size());
    let stats = pool.stats();
    assert_eq!((stats.gets, stats.outstanding), (lengths.len() as u64, 0), "every buffer came home");
    Outcome {
        uses: stats.gets,
        hits: stats.hits,
        growths: stats.growths,
        allocated: stats.allocated,
        copied_bytes,
        cached_bytes_mean: seen.cached_sum / seen.samples as f64,
        cached_bytes_max: seen.cached_bytes_max,
        held_bytes_max: seen.held_bytes_max,
        learned,
        calibrations: stats.calibrations,
    }
}

const SAMPLE_EVERY: usize = 16;
const SAMPLE_ALL_BELOW: usize = 10_000;

fn capacity(buf: &bytebufferpool::PooledBuf<&bytebufferpool::Pool>) -> usize {
    buf.capacity()
}

fn note_sizes(learned: &mut Vec<Learned>, after: usize, default_size: usize, max_size: usize) {
    let changed = |last: &Learned| (last.default_size, last.max_size) != (default_size, max_size);
    if learned.last().is_none_or(changed) {
        learned.push(Learned { after, default_size, max_size });
    }
}

#[derive(Default)]
struct Seen {
    samples: u64,
    cached_sum: f64,
    cached_bytes_max: usize,
    held_bytes_max: usize,
}

impl Seen {
    fn sample(&mut self, cached_bytes: usize, borrowed_bytes: usize) {
        self.samples += 1;
        self.cached_sum += cached_bytes as f64;
        self.peak(cached_bytes, borrowed_bytes);
    }

    fn peak(&mut self, cached_bytes: usize, borrowed_bytes: usize) {
        self.cached_bytes_max = self.cached_bytes_max.max(cached_bytes);
        self.held_bytes_max = self.held_bytes_max.max(cached_bytes + borrowed_bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytebufferpool::{DefaultSize, Growth, Pool};

    use super::*;

    const USAGE: Usage = Usage { in_flight: 1, append: 100, rate: 1_000_000 };

    fn builder() -> Builder {
        Pool::builder()
            .calibrate_calls_threshold(100)
            .max_percentile(0.95)
            .default_policy(DefaultSize::Mode)
            .growth(Growth::NextClass)
    }

    #[test]
    fn a_trace_of_one_size_is_counted_to_the_last_growth() {
        let outcome = replay(&[1000; 500], builder(), USAGE);
        // A use counts when it ends: the 101st goes past the threshold, so the first 101 start at 64 bytes. With 100
        // bytes a write, they grow to 128, 256, 512 and 1024, and copy 0, 100, 200 and 500 bytes.
        assert_eq!((outcome.uses, outcome.calibrations), (500, 4));
        assert_eq!(outcome.growths, 101 * 4);
        assert_eq!(outcome.copied_bytes, 101 * 800);
        let learned = [(0, 64, 32 << 20), (101, 1024, 1024)];
        assert_eq!(
            outcome.learned,
            learned.map(|(after, default_size, max_size)| Learned { after, default_size, max_size })
        );
        assert_eq!(outcome.allocated, 5, "one buffer per class, once");
        assert_eq!(outcome.hits, 499);
    }

    #[test]
    fn as_many_buffers_are_borrowed_as_are_in_flight_and_all_of_them_are_cached_at_the_end() {
        let usage = Usage { in_flight: 8, ..USAGE };
        let outcome = replay(&[1000; 500], builder().default_size(1024), usage);
        assert_eq!((outcome.growths, outcome.allocated), (0, 8));
        assert_eq!((outcome.cached_bytes_max, outcome.held_bytes_max), (8192, 8192));
    }

    #[test]
    fn a_peak_counts_even_if_it_is_trimmed_soon_after() {
        let mut lengths = vec![10; 400];
        lengths[50] = 300_000;
        let usage = Usage { rate: 10, ..USAGE };
        let outcome = replay(&lengths, builder(), usage);
        // All classes that the giant grew through are cached after it: 64 + 128 + … + 512 Ki.
        assert_eq!(outcome.cached_bytes_max, (1 << 20) - 64);
        assert!(outcome.cached_bytes_mean < 60_000.0, "{}", outcome.cached_bytes_mean);
    }

    #[test]
    fn the_same_trace_gives_the_same_figures() {
        let lengths: Vec<u32> = (0..20_000_u32).map(|i| i.wrapping_mul(2_654_435_761) >> 18).collect();
        let usage = Usage { in_flight: 16, append: 256, rate: 1_000 };
        assert_eq!(replay(&lengths, builder(), usage), replay(&lengths, builder(), usage));
    }

    #[test]
    fn lengths_that_no_class_holds_are_replayed_and_nothing_of_them_is_kept() {
        let outcome = replay(&[1 << 30], builder(), Usage { append: 1 << 20, ..USAGE });
        assert_eq!(outcome.uses, 1);
        assert!(outcome.held_bytes_max > 32 << 20);
    }
}
