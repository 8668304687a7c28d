//! Our replicated state: what every node agrees on, how it changes, and where it lives.
//!
//! `command` is every change there is; `state` is what they add up to and applies them; `types` are the values in both.

pub mod command;
pub mod state;
pub mod types;
