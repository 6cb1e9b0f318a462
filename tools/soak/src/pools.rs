//! The pools of the service, and a guard that tells the witness what is in use.

use std::sync::Arc;

use bytebufferpool::{OwnedBuf, Pool, Registry};
use bytes::Bytes;
use fastrand::Rng;

use crate::witness::{Budget, COMMON, InUse, OWN, OWN_SIZE_MAX, SIZE_MIN};

/// A pool, and the budget that it shares or has to itself.
pub struct Kind {
    pub name: &'static str,
    pub pool: Arc<Pool>,
    pub budget: &'static Budget,
    /// The least size of its buffers.
    size_min: usize,
    default_size_limit: usize,
}

/// Lines of 1 to 4 KiB have a budget of their own; records of 8 to 32 KiB and bodies of 64 KiB and more share one.
pub fn open() -> [Kind; 3] {
    OWN.reset();
    COMMON.reset();
    let registry = Registry::with_budget(COMMON.bytes);
    let common = |name, size_min, default_size_limit| {
        let builder = Pool::builder().default_size(size_min).default_size_limit(default_size_limit);
        let pool = registry.get_or_create(name, builder.calibrate_calls_threshold(2_000)).expect("valid");
        Kind { name, pool, budget: &COMMON, size_min, default_size_limit }
    };
    let lines = Pool::builder().default_size(SIZE_MIN).max_size_limit(OWN_SIZE_MAX).retained_bytes_max(OWN.bytes);
    let pool = Arc::new(lines.default_size_limit(OWN_SIZE_MAX).build());
    let lines = Kind { name: "lines", pool, budget: &OWN, size_min: SIZE_MIN, default_size_limit: OWN_SIZE_MAX };
    [lines, common("records", 8 << 10, 32 << 10), common("bodies", 64 << 10, 256 << 10)]
}

impl Kind {
    /// A message of `len` bytes. Half of them do not know their length before.
    pub fn message(&self, len: usize, rng: &mut Rng) -> Lent {
        let is_known = rng.bool();
        let mut in_use = InUse::announce(self.budget, if is_known { len } else { self.default_size_limit });
        let buf = if is_known { self.pool.get_owned_with_capacity(len) } else { self.pool.get_owned() };
        in_use.correct(buf.capacity());
        let mut lent = Lent { buf, in_use };
        lent.write(len);
        lent
    }

    /// A `Vec` of the program's own becomes the pool's, which cuts it down to the class below.
    pub fn donate(&self, len: usize) {
        let capacity = len.max(self.size_min) + 1;
        let _while_it_is_cut = InUse::announce(self.budget, capacity);
        self.pool.put(Vec::with_capacity(capacity));
    }
}

/// A guard. The fields end in this order: what is in use ends after its buffer.
pub struct Lent {
    buf: OwnedBuf,
    in_use: InUse,
}

impl Lent {
    /// In pieces, so that the buffer grows if it was too small.
    fn write(&mut self, len: usize) {
        static PIECE: [u8; 64 << 10] = [0xaa; 64 << 10];
        while self.buf.len() < len {
            let piece = (len / 4).clamp(64, PIECE.len()).min(len - self.buf.len());
            let (needed, capacity) = (self.buf.len() + piece, self.buf.capacity());
            if needed > capacity {
                self.in_use.announce_growth(needed);
            }
            self.buf.extend_from_slice(&PIECE[..piece]);
            self.in_use.correct(self.buf.capacity());
        }
    }

    pub fn freeze(self) -> Frozen {
        Frozen { _bytes: self.buf.freeze(), _in_use: Arc::new(self.in_use) }
    }

    /// The buffer leaves the pool and is freed.
    pub fn detach(self) {
        drop(self.buf.into_vec());
    }

    pub fn discard(self) {
        self.buf.discard();
    }
}

/// A frozen buffer, in use until its last clone ends. The fields end in this order.
#[derive(Clone)]
pub struct Frozen {
    _bytes: Bytes,
    _in_use: Arc<InUse>,
}
