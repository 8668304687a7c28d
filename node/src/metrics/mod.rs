//! Numbers for monitoring: counted where things happen, written as the text that Prometheus reads.
//!
//! `families` is the table of everything there is; `page` writes it and takes nothing that is not in it. `counted` holds
//! what is counted in this process, `count` what it is counted with, `process` what the kernel knows of the process. A leaf:
//! any module may count here.

pub mod count;
pub mod counted;
mod families;
mod page;
mod process;

pub use families::{FAMILIES, Family, Kind};
pub use page::Page;
pub use process::write as write_process;
