//! Side by side: bytebufferpool, its peers and the limits, in one process.

mod alloc;
pub mod contenders;
pub mod report;
pub mod rows;
pub mod run;
pub mod threads;
pub mod work;
#[path = "../../support/workload.rs"]
pub mod workload;
