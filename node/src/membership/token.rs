//! A join token as an operator carries it from one node to the next: `rbj_<id>_<secret>_<sha256 of the CA>`.

use std::fmt;
use std::str::FromStr;

use raft::types::Digest;
use subtle::ConstantTimeEq;

/// Characters of the public part: 64 random bits.
const ID_CHARS: usize = 16;
/// Characters of the secret part: 256 random bits.
const SECRET_CHARS: usize = 64;

/// The right to join, and the CA by which the cluster is recognised. Its `Debug` form does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    secret: String,
    ca: Digest,
}

/// A text that is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: it looks like rbj_<16>_<64>_<64 hexadecimal digits>")]
pub struct NotAJoinToken;

impl JoinToken {
    /// A new one for the cluster whose CA has that digest.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(ca: Digest) -> Result<Self, getrandom::Error> {
        Ok(Self { id: random_hex::<{ ID_CHARS / 2 }>()?, secret: random_hex::<{ SECRET_CHARS / 2 }>()?, ca })
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The CA's digest.
    #[must_use]
    pub fn ca(&self) -> Digest {
        self.ca
    }

    /// What is stored of the secret part.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        Digest::of(self.secret.as_bytes())
    }

    /// What is sent to the cluster: the CA's digest is for the sender alone.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("rbj_{}_{}", self.id, self.secret)
    }

    /// The whole token, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}_{}", self.bearer(), self.ca)
    }

    /// Reads what `bearer` wrote: the id, and what should be stored for it.
    #[must_use]
    pub fn of_bearer(text: &str) -> Option<(&str, Digest)> {
        let (id, secret) = text.strip_prefix("rbj_")?.split_once('_')?;
        (is_hex(id, ID_CHARS) && is_hex(secret, SECRET_CHARS)).then(|| (id, Digest::of(secret.as_bytes())))
    }
}

/// Compares two digests in a time that does not depend on how much of them is the same.
#[must_use]
pub(crate) fn same(one: &Digest, other: &Digest) -> bool {
    one.0.ct_eq(&other.0).into()
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rbj_{}_…_{}", self.id, self.ca)
    }
}

impl FromStr for JoinToken {
    type Err = NotAJoinToken;

    fn from_str(text: &str) -> Result<Self, NotAJoinToken> {
        let mut parts = text.strip_prefix("rbj_").ok_or(NotAJoinToken)?.split('_');
        let mut next = || parts.next().unwrap_or_default().to_owned();
        let (id, secret, ca) = (next(), next(), next());
        let fits = is_hex(&id, ID_CHARS) && is_hex(&secret, SECRET_CHARS) && parts.next().is_none();
        match ca.parse() {
            Ok(ca) if fits => Ok(Self { id, secret, ca }),
            _ => Err(NotAJoinToken),
        }
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn random_hex<const N: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_hides_its_secret() {
        let token = JoinToken::generate(Digest::of(b"ca")).unwrap();
        assert_eq!(token.reveal().parse(), Ok(token.clone()));
        assert_eq!(JoinToken::of_bearer(&token.bearer()), Some((token.id(), token.sha256())));
        assert!(!format!("{token:?}").contains(&token.secret));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let good = JoinToken::generate(Digest::of(b"ca")).unwrap().reveal();
        let cases =
            ["", "rbj_", &good[1..], &good[..good.len() - 1], &format!("{good}_x"), &good.replace("rbj", "rbt")];
        for text in cases {
            assert_eq!(text.parse::<JoinToken>(), Err(NotAJoinToken), "{text}");
            assert_eq!(JoinToken::of_bearer(text), None, "{text}");
        }
    }
}
