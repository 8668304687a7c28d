//! How a node becomes one of a cluster: what its data directory says it is, the token it joins with, and the two
//! questions it may ask before it has a certificate.
//!
//! The files of the data directory, beside the log: `member.json` is what the node is called and does; `founding` is there
//! while a cluster is being founded; `instance` marks a node that joined (or is about to) and makes a repeated request
//! the same request; `removed` says that the cluster has taken it out; `restoring` is there while a backup is being restored, `restored.json` says
//! which one was; `vip.json` is the floating
//! address it last held.

mod dial;
mod home;
mod token;
mod wire;

pub use dial::{DialError, PORT, Pinned, ask, who, with_port};
pub use home::{DataDir, Founding, FromBackup, HomeError, Own, RAFT_DIR, Standing};
pub(crate) use token::same;
pub use token::{JoinToken, NotAJoinToken};
pub use wire::{
    ANSWER_BYTES_MAX, JOIN_PATH, JoinAnswer, JoinRequest, REQUEST_BYTES_MAX, Refusal, WHO_PATH, Who, hex16, unhex16,
};
