//! Reads what other boot services left on disk, so that a site can move over.

pub mod matchbox;
