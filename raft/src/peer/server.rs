//! The other end: takes connections from peers, checks who they are, and answers.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::dial::prepare;
use super::tls::{Credentials, bears};
use super::wire::{
    Answer, AppendAnswer, AppendAsk, Ask, CallAnswer, CallProblem, Channel, Hello, Numbered, SnapshotAsk, TransferAsk,
    VoteAsk, Welcome, frame, receive, send,
};
use super::{ALPN_HTTP, ALPN_RAFT, HttpPeer, node_name};
use crate::cluster::{Heard, Raft};
use crate::codec::{Identity, LogPosition};
use crate::snapshot::{SnapshotFile, Snapshots};
use crate::state_machine::ReadModel;
use crate::type_config::{Snapshot, SnapshotMeta, TypeConfig, Vote};

/// Connections from peers at once; a handful of nodes with a handful of purposes each, and joins.
const CONNECTIONS_MAX: usize = 256;
/// Connections that may be saying who they are at once, in all and from one address.
const STRANGERS_MAX: usize = 128;
const STRANGERS_PER_ADDRESS_MAX: usize = 16;
/// How long a connection may take to say who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection of Raft's may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Calls of one connection that are worked on at once.
const CALLS_MAX: usize = 512;
/// A snapshot beyond this is not believed.
const SNAPSHOT_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// How long the sender of a snapshot may pause.
const SNAPSHOT_STALL_MAX: Duration = Duration::from_secs(10);
const SNAPSHOT_PIECE_BYTES: usize = 256 * 1024;
/// After a failed `accept` (no file descriptors left) it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers calls.
pub(crate) type CallHandler = Arc<dyn Fn(Ask) -> BoxFuture<'static, Result<CallAnswer, CallProblem>> + Send + Sync>;

/// What answers are made from; clones share it.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) identity: Identity,
    pub(crate) lease: Duration,
    pub(crate) raft: Raft,
    pub(crate) model: Arc<ReadModel>,
    pub(crate) snapshots: Snapshots,
    /// Until then this node refuses its vote: it may have promised it to a leader before it was restarted.
    pub(crate) no_votes_before: Instant,
    pub(crate) heard: Arc<Heard>,
    pub(crate) calls: CallHandler,
}

/// Connections that have not said who they are, by where they come from.
#[derive(Default)]
struct Strangers(Mutex<HashMap<IpAddr, usize>>);

/// One of them; counted until dropped.
struct Stranger {
    of: Arc<Strangers>,
    from: IpAddr,
}

impl Strangers {
    fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Stranger> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= STRANGERS_MAX
            || counts.get(&from).is_some_and(|count| *count >= STRANGERS_PER_ADDRESS_MAX)
        {
            return None;
        }
        *counts.entry(from).or_default() += 1;
        Some(Stranger { of: self.clone(), from })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// The listening end.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) credentials: Credentials,
    pub(crate) http: mpsc::Sender<HttpPeer>,
    pub(crate) answering: Answering,
}

impl Server {
    /// Takes connections for ever.
    pub(crate) async fn run(self) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let strangers = Arc::new(Strangers::default());
        let server = Arc::new(self);
        loop {
            let (stream, address) = match server.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection from a peer cannot be taken, trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Anybody can connect; who has not said who it is must not keep out those who can.
            let Some(stranger) = strangers.admit(address.ip()) else { continue };
            let (server, permits) = (server.clone(), permits.clone());
            tokio::spawn(async move {
                if let Err(error) = server.serve(stream, address, stranger, &permits).await {
                    tracing::debug!(%address, %error, "a connection from a peer ended");
                }
            });
        }
    }

    async fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        stranger: Stranger,
        permits: &Semaphore,
    ) -> io::Result<()> {
        prepare(&stream)?;
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.handshake(stream)).await;
        let (mut stream, http) = handshake.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if http {
            let node = self.member_of(&stream);
            // Whoever serves HTTP is bounded; what it does not take in time is dropped.
            let handed = HttpPeer { stream, node, address };
            return self.http.try_send(handed).map_err(|_| io::Error::other("too many HTTP connections from peers"));
        }
        let hello = tokio::time::timeout(HANDSHAKE_TIMEOUT, receive::<Hello>(&mut stream)).await;
        let Some(hello) = hello.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? else { return Ok(()) };
        let verdict = self.judge(&hello, &stream);
        send(&mut stream, &verdict).await?;
        if let Welcome::Refused(why) = &verdict {
            tracing::warn!(%address, why, "a peer was turned away");
        }
        drop(stranger);
        let Ok(_permit) = permits.try_acquire() else {
            return Err(io::Error::other("too many connections from peers"));
        };
        match (verdict, hello.channel) {
            (Welcome::Come, Channel::Raft) => self.answering.converse(stream).await,
            (Welcome::Come, Channel::Calls) => self.answering.take_calls(stream).await,
            (Welcome::Come, Channel::Snapshot) => self.answering.take_snapshot(stream).await,
            _ => Ok(()),
        }
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, bool)> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let raft = start.client_hello().alpn().is_some_and(|mut offered| offered.any(|offer| offer == ALPN_RAFT));
        let config = self.credentials.server_config(if raft { ALPN_RAFT } else { ALPN_HTTP });
        Ok((start.into_stream(config).await?, !raft))
    }

    /// The member whose certificate the other end has shown.
    fn member_of(&self, stream: &TlsStream<TcpStream>) -> Option<u64> {
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        let state = self.answering.model.state();
        let cluster = &self.answering.identity.cluster;
        state.members().map(|member| member.id).find(|id| bears(certificate, &node_name(cluster, *id)))
    }

    /// Whether to talk to whoever says hello.
    fn judge(&self, hello: &Hello, stream: &TlsStream<TcpStream>) -> Welcome {
        let Identity { cluster, generation, node } = &self.answering.identity;
        let said = &hello.addressing;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if !certificate.is_some_and(|certificate| bears(certificate, &node_name(cluster, said.from))) {
            return Welcome::Refused(format!("its certificate is not that of node {} of this cluster", said.from));
        }
        if said.cluster != *cluster {
            return Welcome::Refused("it belongs to another cluster".into());
        }
        if said.generation != *generation {
            return Welcome::Refused(format!(
                "it is of generation {}, this node of {generation}: the cluster was recovered or restored since; `raftboot join ADDRESS --token … --wipe` on the one that is left behind",
                said.generation
            ));
        }
        if said.target != *node {
            return Welcome::Refused(format!("it looks for node {}, this is node {node}", said.target));
        }
        if self.answering.model.state().was_removed(said.from) {
            return Welcome::Removed;
        }
        let lease = u64::try_from(self.answering.lease.as_millis()).unwrap_or(u64::MAX);
        if hello.lease_millis != lease {
            return Welcome::Refused(format!(
                "it counts with {} ms until another one may hold the VIP, this node with {lease} ms: `timing` and `fence` must be the same in every node's configuration",
                hello.lease_millis
            ));
        }
        Welcome::Come
    }
}

impl Answering {
    /// Raft's own messages: in order, each answered before the next is read.
    async fn converse(&self, mut stream: TlsStream<TcpStream>) -> io::Result<()> {
        loop {
            // Raft dials again when it has something to say; whoever is silent for so long may be gone for good.
            let heard = tokio::time::timeout(SILENCE_MAX, receive::<Numbered<Ask>>(&mut stream)).await;
            let heard = heard.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            let Some(Numbered { number, body }) = heard else { return Ok(()) };
            let body = match body {
                Ask::Append(ask) => self.append(ask).await,
                Ask::Vote(ask) => self.vote(ask).await,
                Ask::Transfer(ask) => self.transfer(ask).await,
                _ => Answer::Failed("that is not asked on this kind of connection".into()),
            };
            send(&mut stream, &Numbered { number, body }).await?;
        }
    }

    async fn append(&self, ask: AppendAsk) -> Answer {
        let (vote, came) = (Vote::from(ask.vote), Instant::now());
        let entries: Result<Vec<_>, _> = ask.entries.into_iter().map(crate::codec::LogEntry::into_raft).collect();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return Answer::Failed(format!("entries that contradict themselves: {error}")),
        };
        let rpc = AppendEntriesRequest {
            vote,
            prev_log_id: ask.previous.map(Into::into),
            entries,
            leader_commit: ask.committed.map(Into::into),
        };
        let answered = self.raft.append_entries(rpc).await;
        // A leader that was deposed and does not know it yet is no sign of life.
        if matches!(&answered, Ok(answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
            self.heard.note(&vote, came);
        }
        match answered {
            Ok(AppendEntriesResponse::Success) => Answer::Append(AppendAnswer::Success),
            Ok(AppendEntriesResponse::PartialSuccess(upto)) => {
                Answer::Append(AppendAnswer::Partial(upto.as_ref().map(LogPosition::from)))
            }
            Ok(AppendEntriesResponse::Conflict) => Answer::Append(AppendAnswer::Conflict),
            Ok(AppendEntriesResponse::HigherVote(vote)) => Answer::Append(AppendAnswer::HigherVote((&vote).into())),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    async fn vote(&self, ask: VoteAsk) -> Answer {
        // openraft forgets at a restart what it had promised to the leader, so we wait out what that may have been.
        if Instant::now() < self.no_votes_before && !ask.transfer {
            return Answer::Failed("this node was restarted just now and may have promised its vote".into());
        }
        let pre = ask.pre;
        let rpc = VoteRequest::<TypeConfig> {
            vote: ask.vote.into(),
            last_log_id: ask.last.map(Into::into),
            leadership_transfer: ask.transfer,
        };
        let wanted = rpc.last_log_id;
        let answered = if pre { self.raft.pre_vote(rpc).await } else { self.raft.vote(rpc).await };
        match answered {
            Ok(response) => {
                if !response.vote_granted && response.last_log_id > wanted {
                    self.heard.note_shorter_log();
                }
                Answer::Vote {
                    vote: (&response.vote).into(),
                    last: response.last_log_id.as_ref().map(LogPosition::from),
                    granted: response.vote_granted,
                }
            }
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    async fn transfer(&self, ask: TransferAsk) -> Answer {
        let request = TransferLeaderRequest::new(ask.from.into(), ask.to, ask.last.map(Into::into));
        match self.raft.handle_transfer_leader(request).await {
            Ok(Ok(())) => Answer::Transfer(Ok(())),
            Ok(Err(refused)) => {
                tracing::info!(%refused, "a transfer of leadership to this node was not possible");
                Answer::Transfer(Err(refused.to_string()))
            }
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// Calls: each is answered when it is done, whatever came after it.
    async fn take_calls(&self, stream: TlsStream<TcpStream>) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (done, mut answers) = mpsc::channel::<Vec<u8>>(CALLS_MAX);
        let writing = tokio::spawn(async move {
            while let Some(answer) = answers.recv().await {
                writer.write_all(&answer).await?;
                writer.flush().await?;
            }
            io::Result::Ok(())
        });
        let permits = Arc::new(Semaphore::new(CALLS_MAX));
        while let Some(Numbered { number, body }) = receive::<Numbered<Ask>>(&mut reader).await? {
            let Ok(permit) = permits.clone().acquire_owned().await else { break };
            let (done, calls) = (done.clone(), self.calls.clone());
            tokio::spawn(async move {
                let body = Answer::Call(calls(body).await);
                if let Ok(bytes) = frame(&Numbered { number, body }) {
                    let _ = done.send(bytes).await;
                }
                drop(permit);
            });
        }
        drop(done);
        writing.await.map_err(io::Error::other)?
    }

    async fn take_snapshot(&self, mut stream: TlsStream<TcpStream>) -> io::Result<()> {
        let Some(Numbered { number, body: Ask::Snapshot(ask) }) = receive::<Numbered<Ask>>(&mut stream).await? else {
            return Err(io::Error::other("no snapshot was announced"));
        };
        let body = match self.install(&mut stream, ask).await {
            Ok(vote) => Answer::Snapshot((&vote).into()),
            Err(error) => {
                tracing::warn!(%error, "a snapshot from the leader could not be taken over");
                Answer::Failed(error.to_string())
            }
        };
        send(&mut stream, &Numbered { number, body }).await
    }

    async fn install(&self, stream: &mut TlsStream<TcpStream>, ask: SnapshotAsk) -> io::Result<Vote> {
        if ask.bytes > SNAPSHOT_BYTES_MAX {
            return Err(io::Error::other(format!("a snapshot of {} bytes is not believed", ask.bytes)));
        }
        let incoming = self.snapshots.incoming()?;
        let mut file = tokio::fs::File::from_std(incoming.file.try_clone()?);
        let mut piece = vec![0; SNAPSHOT_PIECE_BYTES];
        let mut left = ask.bytes;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(SNAPSHOT_PIECE_BYTES).min(SNAPSHOT_PIECE_BYTES);
            let read = tokio::time::timeout(SNAPSHOT_STALL_MAX, stream.read(&mut piece[..most])).await;
            let read = read.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the leader paused too long"))??;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            file.write_all(&piece[..read]).await?;
            left -= read as u64;
        }
        file.flush().await?;
        // A damaged one must be refused here: once it is being installed there is no way back.
        let (snapshots, path) = (self.snapshots.clone(), incoming.path.clone());
        let checked = tokio::task::spawn_blocking(move || snapshots.read(&path, |_, _| Ok(()))).await;
        checked.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let (last_log_id, last_membership) = ask.applied.into_raft().map_err(io::Error::other)?;
        let meta = SnapshotMeta { last_log_id, last_membership };
        let snapshot =
            Snapshot { meta, snapshot: SnapshotFile { path: incoming.path.clone(), file: incoming.reopen()? } };
        let response = self.raft.install_full_snapshot(Vote::from(ask.vote), snapshot).await;
        response.map(|response| response.vote).map_err(|error| io::Error::other(error.to_string()))
    }
}
