//! Goes on with transfers that other nodes began, and tells them of ours.

use std::time::{Duration, Instant};

use super::handoff::{RETELL_BLOCKS, Shared};
use super::names::Name;
use super::options::Agreed;
use super::questions::{Client, Ending, What};
use super::server::Driver;
use super::sessions::{Key, Session};
use super::transfer::{Heard, Transfer};

impl Driver {
    /// A packet that belongs to no transfer here.
    ///
    /// It is never answered with an ERROR: it may belong to a transfer of the node that had this address a moment ago, and
    /// an ERROR would end it, where silence makes the client repeat itself.
    pub(super) async fn on_stranger(&mut self, key: Key, interface: Option<u32>, heard: Heard, now: Instant) {
        let Some(shared) = self.sharing.inherited.get(&key, now) else { return };
        match heard {
            Heard::Error { .. } => self.sharing.inherited.forget(&key),
            Heard::Ack(number) if self.allowance.take(key.0.ip(), now) => {
                self.take_over(key, interface, &shared, number, now).await;
            }
            Heard::Ack(_) => {}
        }
    }

    /// Whether another node has gone on with a transfer of ours, while it had our address: the client is at a block that we
    /// never sent, and that node has told us of it.
    pub(super) fn is_elsewhere(&mut self, key: Key, heard: &Heard, now: Instant) -> bool {
        let Heard::Ack(number) = heard else { return false };
        let Some(session) = self.sessions.get(&key) else { return false };
        !session.transfer.is_in_flight(*number) && self.sharing.inherited.get(&key, now).is_some()
    }

    /// Goes on after the block that the client acknowledges, if the same bytes are here.
    async fn take_over(&mut self, key: Key, interface: Option<u32>, shared: &Shared, number: u16, now: Instant) {
        let client = Client { address: key.0, local: key.1, interface, signature: shared.signature };
        let Ok(name) = Name::parse(shared.name.as_bytes()) else {
            return self.sharing.inherited.forget(&key);
        };
        if self.sessions.has_room(key.0.ip(), false).is_err() {
            return;
        }
        // Busy, perhaps: the client repeats itself.
        let Ok(source) = self.source(&name, &client, shared.text) else { return };
        let agreed = Agreed {
            size: shared.size,
            blksize: shared.blksize,
            windowsize: shared.windowsize,
            timeout: shared.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            answer: None,
        };
        let is_same = source.size() == shared.size && self.fingerprints.of(&source) == shared.fingerprint;
        let resumed = Transfer::resume(agreed, shared.acked, number, now).filter(|_| is_same);
        self.sharing.inherited.forget(&key);
        let Some((transfer, step)) = resumed else {
            tracing::debug!(client = %key.0, name = shared.name, is_same, "another node's tftp transfer cannot go on here");
            return;
        };
        let mut session = Session::new(client.clone(), shared.name.clone(), b"", transfer, source, now);
        let what = What::TakenOver { bytes: session.bytes_acked(), size: shared.size };
        self.share(&mut session, shared.text);
        self.sessions.insert(key, session);
        self.tell_of(shared.name.clone(), client, what);
        self.apply(key, step).await;
    }

    /// Tells the other nodes of a transfer, if one of them may have to go on with it.
    pub(super) fn share(&mut self, session: &mut Session, text: bool) {
        if !self.sharing.handoff.concerns(session.client.local) {
            return;
        }
        let agreed = session.transfer.agreed();
        let shared = Shared {
            client: session.client.address,
            local: session.client.local,
            name: session.name.clone(),
            text,
            signature: session.client.signature,
            size: agreed.size,
            fingerprint: self.fingerprints.of(&session.source),
            acked: session.transfer.acked(),
            blksize: agreed.blksize,
            windowsize: agreed.windowsize,
            timeout_seconds: agreed.timeout.and_then(|timeout| u8::try_from(timeout.as_secs()).ok()),
        };
        self.sharing.handoff.publish(&shared);
        session.shared = Some(shared);
    }

    /// Tells them how far it is, before the block numbers of its acknowledgements come round again.
    pub(super) fn tell_progress(&mut self, key: Key) {
        let Some(session) = self.sessions.get(&key) else { return };
        let acked = session.transfer.acked();
        let Some(shared) = session.shared.as_mut().filter(|shared| acked - shared.acked >= RETELL_BLOCKS) else {
            return;
        };
        shared.acked = acked;
        self.sharing.handoff.publish(shared);
    }

    /// Our address has gone in mid-transfer. It may come back, so what the transfer was is kept as if another node had told
    /// of it: the client may have gone on elsewhere meanwhile.
    pub(super) fn give_up_address(&mut self, key: Key) {
        if let Some(session) = self.sessions.get(&key)
            && let Some(shared) = &session.shared
        {
            let shared = Shared { acked: session.transfer.acked(), ..shared.clone() };
            self.sharing.inherited.adopt(shared, Instant::now());
        }
        self.end(key, Ending::AddressGone);
    }
}
