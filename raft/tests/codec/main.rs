//! What is on somebody's disk stays readable: golden bytes of everything published, and no bytes that panic.

mod golden;
mod random;
mod samples;
