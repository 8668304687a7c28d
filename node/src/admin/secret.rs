//! API tokens as their bearers hold them: `rbt_<id>_<secret>`. Only the sha256 of the secret is ever stored.

use std::fmt;
use std::str::FromStr;

use raft::types::Digest;
use subtle::ConstantTimeEq;

/// Characters of the public part: 64 random bits.
const ID_CHARS: usize = 16;
/// Characters of the secret part: 256 random bits.
const SECRET_CHARS: usize = 64;

/// A token with its secret. Its `Debug` form does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    id: String,
    secret: String,
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token: it looks like rbt_<16 hexadecimal digits>_<64 hexadecimal digits>")]
pub struct NotAToken;

impl Secret {
    /// A new token.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self { id: random_hex::<{ ID_CHARS / 2 }>()?, secret: random_hex::<{ SECRET_CHARS / 2 }>()? })
    }

    /// Another secret for the token with that public part; nothing if it cannot be one.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate_for(id: &str) -> Result<Option<Self>, getrandom::Error> {
        let secret = random_hex::<{ SECRET_CHARS / 2 }>()?;
        let is_id = id.len() == ID_CHARS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(is_id.then(|| Self { id: id.to_owned(), secret }))
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is stored of the secret part.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        Digest::of(self.secret.as_bytes())
    }

    /// Compares with what is stored, in a time that does not depend on how much of it is right.
    #[must_use]
    pub fn proves(&self, stored: &Digest) -> bool {
        self.sha256().0.ct_eq(&stored.0).into()
    }

    /// The whole token, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("rbt_{}_{}", self.id, self.secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rbt_{}_…", self.id)
    }
}

impl FromStr for Secret {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let (id, secret) = text.strip_prefix("rbt_").and_then(|rest| rest.split_once('_')).ok_or(NotAToken)?;
        let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex(id, ID_CHARS) && hex(secret, SECRET_CHARS) {
            Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
        } else {
            Err(NotAToken)
        }
    }
}

/// `2 * N` hexadecimal digits nobody can guess.
///
/// # Errors
/// When the system has no randomness to give.
pub(super) fn random_hex<const N: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_proves_itself_and_no_other() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert!(one.proves(&one.sha256()));
        assert!(!one.proves(&other.sha256()));
        assert_eq!(one.reveal().parse(), Ok(one.clone()));
        assert!(!format!("{one:?}").contains(&one.secret));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let good = Secret::generate().unwrap().reveal();
        for text in ["", "rbt_", "rbt__", &good[1..], &good[..good.len() - 1], &good.replace("rbt_", "rbt_g")] {
            assert_eq!(text.parse::<Secret>(), Err(NotAToken), "{text}");
        }
    }
}
