//! How a guard holds on to its pool: by reference or by reference count.

use std::sync::Arc;

use crate::pool::Pool;

/// What a guard without a buffer can hold on to: `&Pool` or `Arc<Pool>`. Sealed: there are no others.
///
/// Unlike the `AsRef<Pool>` of a guard with a buffer, it can be cloned, which is what an empty guard and a chunked message
/// need.
///
/// # Examples
///
/// ```
/// use bytebufferpool::{Pool, PooledBuf, PoolRef};
///
/// struct Lines<P: PoolRef> {
///     pool: P,
///     line: PooledBuf<P>,
/// }
///
/// impl<P: PoolRef> Lines<P> {
///     fn new(pool: P) -> Self {
///         Lines { line: PooledBuf::empty(pool.clone()), pool }
///     }
///
///     fn take(&mut self) -> PooledBuf<P> {
///         std::mem::replace(&mut self.line, PooledBuf::empty(self.pool.clone()))
///     }
/// }
///
/// let pool = Pool::new();
/// let mut lines = Lines::new(&pool);
/// lines.line.push_str("GET / 200");
/// assert_eq!(lines.take(), "GET / 200");
/// assert_eq!(lines.line, "");
/// ```
pub trait PoolRef: AsRef<Pool> + Clone + sealed::Sealed {}

impl PoolRef for &Pool {}
impl PoolRef for Arc<Pool> {}

mod sealed {
    use super::{Arc, Pool};

    pub trait Sealed {}

    impl Sealed for &Pool {}
    impl Sealed for Arc<Pool> {}
}
