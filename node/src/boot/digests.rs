//! Remembers the digests of large contents that stay in memory, so that each is hashed once.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use raft::types::Digest;

use super::stream::Reader;

/// How many are remembered; each keeps its content in memory.
const DIGESTS_MAX: usize = 32;

/// Up to so many bytes a content is hashed each time instead of being remembered.
const SMALL_BYTES: usize = 16 * 1024;

/// Digests by where their content lies. The content is kept along with it, so that nothing else can come to lie there.
#[derive(Debug, Default)]
pub(super) struct Digests {
    known: Mutex<Vec<(Bytes, Digest)>>,
}

impl Digests {
    /// The digest of a content, hashed by `reader` if it is large and not known yet.
    ///
    /// # Errors
    /// If the runtime is stopping.
    pub(super) async fn of(&self, content: &Bytes, reader: &Reader) -> io::Result<Digest> {
        if content.len() <= SMALL_BYTES {
            return Ok(Digest::of(content));
        }
        if let Some(digest) = self.get(content) {
            return Ok(digest);
        }
        let hashed = content.clone();
        let digest = reader.run(move || Digest::of(&hashed)).await?;
        self.put(content, &digest);
        Ok(digest)
    }

    /// The digest of these very bytes, if it was put here.
    fn get(&self, content: &Bytes) -> Option<Digest> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(kept, _)| is_same(kept, content)).map(|(_, digest)| *digest)
    }

    /// Remembers a digest, and forgets the oldest if there are many.
    fn put(&self, content: &Bytes, digest: &Digest) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|(kept, _)| is_same(kept, content)) {
            return;
        }
        if known.len() == DIGESTS_MAX {
            known.remove(0);
        }
        known.push((content.clone(), *digest));
    }
}

fn is_same(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_large_content_is_hashed_once() {
        let (digests, reader) = (Digests::default(), Reader::default());
        let content = Bytes::from(vec![7; SMALL_BYTES + 1]);
        assert_eq!(digests.of(&content, &reader).await.unwrap(), Digest::of(&content));
        digests.known.lock().unwrap()[0].1 = Digest::of(b"remembered");
        assert_eq!(digests.of(&content.clone(), &reader).await.unwrap(), Digest::of(b"remembered"));
        digests.of(&Bytes::from_static(b"small"), &reader).await.unwrap();
        assert_eq!(digests.known.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_digest_is_known_for_the_same_bytes_only_and_the_oldest_is_forgotten() {
        let digests = Digests::default();
        let contents: Vec<Bytes> = (0..=DIGESTS_MAX).map(|at| Bytes::from(vec![1; at + 1])).collect();
        for content in &contents {
            digests.put(content, &Digest::of(content));
            digests.put(content, &Digest::of(content));
        }
        assert_eq!(digests.get(&contents[0]), None);
        for content in &contents[1..] {
            assert_eq!(digests.get(&content.clone()), Some(Digest::of(content)));
        }
        assert_eq!(digests.get(&Bytes::from(vec![1; DIGESTS_MAX])), None, "equal, but elsewhere");
    }
}
