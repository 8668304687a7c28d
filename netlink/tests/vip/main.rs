//! The VIP's mechanisms against the real kernel, each test in network namespaces of its own. Needs root.

mod address;
mod announce;
mod fence;
mod holder;
mod lab;
mod leftovers;
mod peer;
