//! Writes what another boot service reads, so that a site can go back.

pub mod folder;
mod json;
pub mod matchbox;
