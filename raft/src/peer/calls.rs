//! What a node asks of another besides Raft: to make a change, to hand over, to let a node in or out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dial::Dialer;
use super::mux::{Mux, MuxError};
use super::wire::{Answer, Ask, CallAnswer, CallProblem, Channel};

/// The connection to one node, or room for it.
type Slot = Arc<tokio::sync::Mutex<Option<Mux>>>;

/// Keeps one connection per node.
#[derive(Clone)]
pub(crate) struct Calls {
    dialer: Dialer,
    open: Arc<Mutex<HashMap<u64, Slot>>>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFailed {
    /// Nothing was sent.
    #[error("node {0} cannot be reached: {1}")]
    NotSent(u64, String),
    /// It was sent, and what became of it is not known.
    #[error("node {0} did not answer: {1}")]
    Unknown(u64, String),
    /// It was answered, with a reason why not.
    #[error(transparent)]
    Problem(CallProblem),
}

impl Calls {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self { dialer, open: Arc::default() }
    }

    /// Asks a node and waits for at most `limit`.
    pub(crate) async fn ask(
        &self,
        target: u64,
        address: &str,
        ask: Ask,
        limit: Duration,
    ) -> Result<CallAnswer, CallFailed> {
        let not_sent = |why: &dyn std::fmt::Display| CallFailed::NotSent(target, why.to_string());
        let unknown = |why: &dyn std::fmt::Display| CallFailed::Unknown(target, why.to_string());
        let mux = match tokio::time::timeout(limit, self.mux(target, address)).await {
            Ok(mux) => mux.map_err(|error| not_sent(&error))?,
            Err(_) => return Err(not_sent(&"no connection in time")),
        };
        match tokio::time::timeout(limit, mux.ask(ask)).await {
            Ok(Ok(Answer::Call(answer))) => answer.map_err(CallFailed::Problem),
            Ok(Ok(Answer::Failed(why))) => Err(not_sent(&why)),
            Ok(Ok(_)) => Err(unknown(&"an answer to something else")),
            Ok(Err(error @ (MuxError::NotSent | MuxError::Encode(_)))) => Err(not_sent(&error)),
            Ok(Err(error @ MuxError::Lost)) => Err(unknown(&error)),
            Err(_) => Err(unknown(&"no answer in time")),
        }
    }

    async fn mux(&self, target: u64, address: &str) -> std::io::Result<Mux> {
        let slot = self.open.lock().unwrap_or_else(PoisonError::into_inner).entry(target).or_default().clone();
        // One dials, the others wait for it.
        let mut slot = slot.lock().await;
        if let Some(mux) = slot.as_ref().filter(|mux| !mux.is_closed()) {
            return Ok(mux.clone());
        }
        let mux = Mux::start(self.dialer.dial(target, address, Channel::Calls).await?);
        *slot = Some(mux.clone());
        Ok(mux)
    }
}
