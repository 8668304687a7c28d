//! What survives: a killed process, a loss of power, a full disk; and what is noticed: damage.

mod child;
mod damage;
mod disk;
mod full_disk;
mod kill;
mod ledger;
mod power;
