//! What people use today, in the same lab and under the same observer.

pub mod keepalived;
pub mod lsyncd;
mod services;

pub use services::Services;
