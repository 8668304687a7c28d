//! Short words from node to node that may get lost: what helps a machine over a failover and is worth no log entry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Cluster;
use super::desk::Desk;
use crate::peer::Ask;

/// The longest whisper, in bytes; longer ones are not sent and not heard.
pub const WHISPER_BYTES_MAX: usize = 4096;
/// Whispers under way at once; further ones are lost.
const WHISPERS_MAX: usize = 128;
/// How long one is worth trying.
const WHISPER_MAX: Duration = Duration::from_millis(300);

/// Is given each whisper; must not wait.
pub type Listener = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Both directions; cheap to clone.
#[derive(Clone)]
pub(crate) struct Whispers {
    room: Arc<Semaphore>,
    listener: Arc<Mutex<Option<Listener>>>,
}

impl Default for Whispers {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(WHISPERS_MAX)), listener: Arc::default() }
    }
}

impl Whispers {
    /// One came from a peer.
    pub(super) fn heard(&self, bytes: &[u8]) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener.filter(|_| bytes.len() <= WHISPER_BYTES_MAX) {
            listener(bytes);
        }
    }
}

impl Cluster {
    /// Tells every other data node something, without waiting and without knowing whether it was heard.
    pub fn whisper(&self, bytes: &[u8]) {
        let Some(desk) = super::lock(&self.inner.desk).clone() else { return };
        if bytes.len() > WHISPER_BYTES_MAX {
            return;
        }
        let state = self.read();
        for member in state.data_nodes().filter(|member| member.id != desk.node) {
            let Ok(room) = desk.whispers.room.clone().try_acquire_owned() else { return };
            let Desk { calls, .. } = desk.clone();
            let (id, address, ask) = (member.id, member.peer.clone(), Ask::Whisper(bytes.to_vec()));
            self.inner.handle.spawn(async move {
                let _lost = calls.ask(id, &address, ask, WHISPER_MAX).await;
                drop(room);
            });
        }
    }

    /// Sets who is given what other nodes whisper.
    pub fn on_whisper(&self, listener: Listener) {
        if let Some(desk) = &*super::lock(&self.inner.desk) {
            *super::lock(&desk.whispers.listener) = Some(listener);
        }
    }
}
