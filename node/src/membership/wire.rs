//! What a node that wants to join sends, and what it is given: JSON over the peer port.

use raft::state::NodeKind;
use serde::{Deserialize, Serialize};

/// Where it is asked.
pub const JOIN_PATH: &str = "/v1/join";
/// Where a node says which cluster and generation it is of.
pub const WHO_PATH: &str = "/v1/who";
/// Bytes of a request.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer, its head included.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Who wants to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Its name.
    pub name: String,
    /// What it will do.
    pub kind: NodeKind,
    /// `host:port` where its peers reach it.
    pub peer: String,
    /// Where machines reach its boot HTTP; empty for a witness.
    pub boot: String,
    /// The mark of its data directory, as `hex16` writes it.
    pub instance: String,
}

/// What a new member needs to know. It travels only over TLS and only to the bearer of a join token: it holds the CA's
/// key, by which every node issues its own certificates.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The cluster, as `hex16` writes it.
    pub cluster: String,
    /// Its generation.
    pub generation: u64,
    /// The id given.
    pub node: u64,
    /// The node whose place it takes, once it is ready.
    #[serde(default)]
    pub replaces: Option<u64>,
    /// The CA's certificate, PEM.
    pub ca_certificate: String,
    /// The CA's key, PEM.
    pub ca_key: String,
}

/// Which node answers. Told to everybody: its certificate says most of it already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The cluster, as `hex16` writes it.
    pub cluster: String,
    /// Its generation.
    pub generation: u64,
    /// The node.
    pub node: u64,
}

impl std::fmt::Debug for JoinAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} of cluster {} generation {}", self.node, self.cluster, self.generation)
    }
}

/// Why a peer was not given what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In one word, for programs.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// 16 bytes as 32 hexadecimal digits.
#[must_use]
pub fn hex16(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reverse.
#[must_use]
pub fn unhex16(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_go_there_and_back() {
        let bytes: [u8; 16] = std::array::from_fn(|at| u8::try_from(at * 16 + 1).unwrap());
        assert_eq!(unhex16(&hex16(&bytes)), Some(bytes));
        for text in ["", "+0000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(unhex16(text), None, "{text}");
        }
    }
}
