//! The floating address: who holds it, as the rest of the node sees it.

mod view;

pub use view::{Handle, View};
