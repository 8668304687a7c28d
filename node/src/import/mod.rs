//! Reads what other boot services left on disk, so that a site can move over, and says what will be different.

pub mod certificates;
pub mod check;
pub mod compare;
pub mod dnsmasq;
pub mod matchbox;
