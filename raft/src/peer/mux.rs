//! Requests and answers over one stream. A caller that gives up does not disturb the stream: its answer is dropped when
//! it comes.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::wire::{Answer, Ask, Numbered, frame, receive};

/// Frames that wait to be sent on one stream.
const QUEUE_MAX: usize = 256;

type Pending = Arc<Mutex<Waiting>>;

#[derive(Default)]
struct Waiting {
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    next: u64,
    closed: bool,
}

/// One stream in use; clones share it. Its two tasks end with the last clone or with the stream.
#[derive(Clone)]
pub(crate) struct Mux {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Pending,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MuxError {
    /// It was not sent.
    #[error("the connection has ended")]
    NotSent,
    /// It was sent, and then the connection ended.
    #[error("the connection ended before there was an answer")]
    Lost,
    /// It cannot be encoded.
    #[error(transparent)]
    Encode(io::Error),
}

impl Mux {
    /// Takes over a stream on which both have said hello. Must be called in a runtime.
    pub(crate) fn start<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Self {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (frames, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE_MAX);
        let waiting = Pending::default();
        let told = waiting.clone();
        let (ended, mut over) = oneshot::channel::<()>();
        tokio::spawn(async move {
            loop {
                let frame = tokio::select! {
                    frame = queue.recv() => frame,
                    _ = &mut over => None,
                };
                let Some(frame) = frame else { break };
                if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                    break;
                }
            }
            let _ = writer.shutdown().await;
        });
        tokio::spawn(async move {
            let _ended = ended;
            while let Ok(Some(Numbered::<Answer> { number, body })) = receive(&mut reader).await {
                let waiter = lock(&told).answers.remove(&number);
                if let Some(waiter) = waiter {
                    let _ = waiter.send(body);
                }
            }
            let mut waiting = lock(&told);
            waiting.closed = true;
            waiting.answers.clear();
        });
        Self { frames, waiting }
    }

    /// Whether the stream has ended.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.waiting).closed || self.frames.is_closed()
    }

    /// Asks and waits for the answer, for as long as the caller does.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, MuxError> {
        let (waiter, answer) = oneshot::channel();
        let number = {
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return Err(MuxError::NotSent);
            }
            waiting.next += 1;
            let number = waiting.next;
            waiting.answers.insert(number, waiter);
            number
        };
        let _forget = Forget { waiting: &self.waiting, number };
        let bytes = frame(&Numbered { number, body: ask }).map_err(MuxError::Encode)?;
        if self.frames.send(bytes).await.is_err() {
            return Err(MuxError::NotSent);
        }
        answer.await.map_err(|_| MuxError::Lost)
    }
}

/// Takes a caller off the list however it goes.
struct Forget<'a> {
    waiting: &'a Pending,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).answers.remove(&self.number);
    }
}

fn lock(waiting: &Pending) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
