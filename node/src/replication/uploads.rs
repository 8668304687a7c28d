//! Lets the other nodes copy an upload while it is still coming in.
//!
//! The node that takes an upload offers it to every other data node; those that like read it as it grows and check it
//! against the digest that comes last. It is a short cut only: whoever misses it fetches the blob when it is reported.

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use http::{Method, StatusCode};
use raft::state::Member;
use raft::types::Digest;
use tracing::debug;

use super::{Replicator, plan};
use crate::assets::{Declared, Follow, Origin, ReceiveError, Received, Reception, UPLOADS_MAX};
use crate::peer_http::Reply;

/// From this size on an upload is offered while it comes in, in bytes; smaller ones are fetched as quickly afterwards.
const OFFER_BYTES_MIN: u64 = 1024 * 1024;
/// How many uploads of other nodes are followed at once.
const FOLLOWED_MAX: usize = 3;
/// Bytes of a digest at the end of a followed upload.
const DIGEST_BYTES: usize = 32;

/// Uploads that come in here, for others to follow.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: Mutex<HashMap<u64, Follow>>,
    /// Uploads of other nodes that are being followed, with what is known of them.
    followed: Mutex<HashMap<(u64, u64), Declared>>,
}

/// What is removed however an upload ends.
struct Entry<K: std::hash::Hash + Eq, V>(Arc<Uploads>, K, fn(&Uploads) -> &Mutex<HashMap<K, V>>);

impl<K: std::hash::Hash + Eq, V> Drop for Entry<K, V> {
    fn drop(&mut self) {
        lock(self.2(&self.0)).remove(&self.1);
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uploads {
    pub(super) fn follow(&self, session: u64) -> Option<Follow> {
        lock(&self.open).get(&session).cloned()
    }

    /// Whether a blob may be what is being followed right now, so that it need not be fetched as well.
    pub(super) fn may_be_coming(&self, digest: &Digest, size: u64) -> bool {
        lock(&self.followed).values().any(|declared| match declared.digest {
            Some(declared) => declared == *digest,
            None => declared.size.is_none_or(|declared| declared == size),
        })
    }
}

impl Replicator {
    /// Stores the bytes of `stream` while other nodes copy them. They have no name after that.
    ///
    /// # Errors
    /// As `Store::receive`.
    pub async fn receive<S, E>(&self, stream: &mut S, declared: Declared) -> Result<Received, ReceiveError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: Display,
    {
        let mut how = Reception::new(Origin::Upload, declared);
        let session = self.next_session();
        let _entry = Entry(self.core.uploads.clone(), session, |uploads| &uploads.open);
        if declared.size.is_none_or(|size| size >= OFFER_BYTES_MIN) && self.peers().is_some() {
            // It is told by the thread that writes, which is none of the runtime's.
            let (replicator, runtime) = (self.clone(), tokio::runtime::Handle::current());
            how.follow = Some(Box::new(move |follow| {
                let _inside = runtime.enter();
                let mut open = lock(&replicator.core.uploads.open);
                if open.len() < UPLOADS_MAX {
                    open.insert(session, follow);
                    drop(open);
                    replicator.offer(session, declared);
                }
            }));
        }
        self.store().receive_as(stream, how).await
    }

    fn offer(&self, session: u64, declared: Declared) {
        let state = self.cluster().read();
        let holders: Vec<u64> = declared.digest.iter().flat_map(|digest| state.holders(digest)).collect();
        let others = state.data_nodes().filter(|member| member.id != self.node() && !holders.contains(&member.id));
        for member in others.cloned() {
            let replicator = self.clone();
            self.spawn(async move {
                let mut path = format!("/v1/uploads/{session}?from={}", replicator.node());
                if let Some(size) = declared.size {
                    path.push_str(&format!("&size={size}"));
                }
                if let Some(digest) = declared.digest {
                    path.push_str(&format!("&digest={digest}"));
                }
                let Some(peers) = replicator.peers() else { return };
                match peers.ask(&member, Method::POST, &path, None).await {
                    Ok(reply) => {
                        debug!(node = member.id, status = %reply.status(), "an upload was offered to another node");
                        reply.dismiss().await;
                    }
                    Err(error) => debug!(node = member.id, %error, "an upload could not be offered to another node"),
                }
            });
        }
    }

    /// Takes an offer, if there is room; answers the status that says so.
    pub(super) fn take_offer(&self, from: u64, session: u64, declared: Declared) -> StatusCode {
        let state = self.cluster().read();
        let Some(member) = state.member(from).cloned() else { return StatusCode::FORBIDDEN };
        let here = declared.digest.is_some_and(|digest| self.store().size(&digest).is_some());
        if here || !plan::holds_bytes(&state, self.node()) {
            return StatusCode::NO_CONTENT;
        }
        let mut followed = lock(&self.core.uploads.followed);
        if followed.len() >= FOLLOWED_MAX || followed.contains_key(&(from, session)) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        followed.insert((from, session), declared);
        drop(followed);
        let entry = Entry(self.core.uploads.clone(), (from, session), |uploads| &uploads.followed);
        let replicator = self.clone();
        self.spawn(async move {
            match replicator.follow(&member, session, declared).await {
                Ok(Received { digest, size, .. }) => {
                    debug!(node = from, %digest, size, "an upload was copied while it came in");
                    if let Err(error) = replicator.report([(digest, size)]).await {
                        debug!(%digest, %error, "a copy could not be reported yet");
                    }
                }
                // It will be fetched when it is reported.
                Err(error) => debug!(node = from, %error, "an upload could not be copied while it came in"),
            }
            drop(entry);
            replicator.wake();
        });
        StatusCode::ACCEPTED
    }

    async fn follow(&self, member: &Member, session: u64, declared: Declared) -> Result<Received, ReceiveError> {
        let interrupted = |error: &dyn Display| ReceiveError::Interrupted(error.to_string());
        let peers = self.peers().ok_or_else(|| interrupted(&"this node has no peers"))?;
        let reply = peers.ask(member, Method::GET, &format!("/v1/uploads/{session}"), None).await;
        let reply = reply.map_err(|error| interrupted(&error))?;
        if reply.status() != StatusCode::OK {
            return Err(interrupted(&format!("it answered {}", reply.status())));
        }
        let announced = Arc::new(OnceLock::new());
        let mut stream = without_digest(reply, announced.clone());
        let how = Reception { announced: Some(announced), ..Reception::new(Origin::Node, declared) };
        self.store().receive_as(&mut stream, how).await
    }
}

struct Tail {
    reply: Reply,
    /// What may be the digest; at most its length.
    held: Bytes,
    /// What comes next without asking.
    ready: Option<Bytes>,
    announced: Arc<OnceLock<Digest>>,
}

/// The bytes of a followed upload; the digest at their end is put where it belongs.
fn without_digest(reply: Reply, announced: Arc<OnceLock<Digest>>) -> BoxStream<'static, io::Result<Bytes>> {
    let tail = Tail { reply, held: Bytes::new(), ready: None, announced };
    stream::try_unfold(tail, |mut tail| async move {
        loop {
            if let Some(bytes) = tail.ready.take().filter(|bytes| !bytes.is_empty()) {
                return Ok(Some((bytes, tail)));
            }
            match tail.reply.next().await.map_err(io::Error::other)? {
                Some(bytes) => {
                    let [first, second] = split(&mut tail.held, bytes);
                    tail.ready = Some(second);
                    if !first.is_empty() {
                        return Ok(Some((first, tail)));
                    }
                }
                None => {
                    let digest: Option<[u8; DIGEST_BYTES]> = tail.held.as_ref().try_into().ok();
                    let digest = digest.ok_or_else(|| io::Error::other("it ended before its digest"))?;
                    // It is set once: a stream ends once.
                    let _ = tail.announced.set(Digest(digest));
                    return Ok(None);
                }
            }
        }
    })
    .boxed()
}

/// Adds bytes and answers all but the last few, which may be the digest. Long pieces are not copied.
fn split(held: &mut Bytes, mut bytes: Bytes) -> [Bytes; 2] {
    if bytes.len() >= DIGEST_BYTES {
        let last = bytes.split_off(bytes.len() - DIGEST_BYTES);
        return [std::mem::replace(held, last), bytes];
    }
    let mut all = Bytes::from([held.as_ref(), &bytes].concat());
    *held = all.split_off(all.len().saturating_sub(DIGEST_BYTES));
    [all, Bytes::new()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_held_back_however_they_are_cut() {
        let whole: Vec<u8> = (0..=255).collect();
        for size in 1..=256 {
            let (mut held, mut out) = (Bytes::new(), Vec::new());
            for piece in whole.chunks(size) {
                out.extend(split(&mut held, Bytes::copy_from_slice(piece)).concat());
            }
            assert_eq!((&out[..], &held[..]), (&whole[..224], &whole[224..]), "in pieces of {size}");
        }
    }
}
