//! Side by side: bytebufferpool, its peers and the limits.

mod alloc;
pub mod chunked;
pub mod circumstances;
pub mod contenders;
#[path = "../../support/dark.rs"]
mod dark;
pub mod go;
#[path = "../../support/messages.rs"]
pub mod messages;
pub mod patterns;
pub mod plot;
pub mod printing;
pub mod published;
pub mod report;
pub mod rows;
pub mod run;
pub mod seen;
#[path = "../../support/sleepers.rs"]
pub mod sleepers;
pub mod store;
pub mod table;
pub mod targets;
pub mod threads;
#[path = "../../support/together.rs"]
pub mod together;
pub mod work;
#[path = "../../support/workload.rs"]
pub mod workload;
