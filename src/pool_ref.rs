//! How a guard holds on to its pool: by reference or by reference count.

use std::sync::Arc;

use crate::pool::Pool;

/// What a guard without a buffer can hold on to: `&Pool` or `Arc<Pool>`. Sealed: there are no others.
///
/// Unlike the `AsRef<Pool>` of a guard with a buffer, it can be cloned, which is what an empty guard and a chunked message
/// need.
pub trait PoolRef: AsRef<Pool> + Clone + sealed::Sealed {}

impl PoolRef for &Pool {}
impl PoolRef for Arc<Pool> {}

mod sealed {
    use super::{Arc, Pool};

    pub trait Sealed {}

    impl Sealed for &Pool {}
    impl Sealed for Arc<Pool> {}
}
