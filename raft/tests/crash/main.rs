//! What survives: a killed process, a loss of power, a full disk; and what is noticed: damage.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod child;
mod damage;
mod disk;
mod full_disk;
mod kill;
mod ledger;
mod power;
mod rescue;
