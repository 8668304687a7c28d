//! How a node becomes one of a cluster: what its data directory says it is, the token it joins with, and the one
//! question it asks before it has a certificate.
//!
//! The files of the data directory, beside the log: `member.json` is what the node is called and does; `founding` is there
//! while a cluster is being founded; `instance` marks a node that joined (or is about to) and makes a repeated request
//! the same request; `removed` says that the cluster has taken it out; `vip.json` is the floating
//! address it last held.

mod dial;
mod home;
mod token;
mod wire;

pub use dial::{DialError, PORT, Pinned, ask, with_port};
pub use home::{DataDir, Founding, HomeError, Own, RAFT_DIR, Standing};
pub(crate) use token::same;
pub use token::{JoinToken, NotAJoinToken};
pub use wire::{ANSWER_BYTES_MAX, JOIN_PATH, JoinAnswer, JoinRequest, REQUEST_BYTES_MAX, Refusal, hex16, unhex16};
