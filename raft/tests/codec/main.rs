//! What is on somebody's disk stays readable: golden bytes of everything published, and no bytes that panic.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod golden;
mod random;
mod samples;
