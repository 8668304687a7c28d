//! What openraft sends through: one connection per purpose and peer, opened when first needed and again when it broke.

use std::future::Future;
use std::io;
use std::time::Duration;

use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkV2};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::dial::Dialer;
use super::mux::Mux;
use super::wire::{
    Answer, AppendAnswer, AppendAsk, Ask, Channel, Numbered, SnapshotAsk, TransferAsk, VoteAsk, receive, send,
};
use crate::codec::{Applied, LogEntry, LogPosition, StoredVote, payload_bytes};
use crate::snapshot::SnapshotFile;
use crate::type_config::{Peer, Snapshot, TypeConfig, Vote};

/// How long entries may take to arrive and be synced; a heartbeat has less.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may think about a vote.
const VOTE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many bytes of entries are sent at once, unless one entry alone is larger.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How much of a snapshot is read and sent at once.
const SNAPSHOT_PIECE_BYTES: usize = 256 * 1024;
/// How long one piece of a snapshot may take.
const SNAPSHOT_STALL_MAX: Duration = Duration::from_secs(10);
/// How long a peer may take to install a snapshot.
const SNAPSHOT_INSTALL_MAX: Duration = Duration::from_secs(120);
/// Pauses before a peer that cannot be reached is tried again: double up to the last.
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(320);

/// Makes a connection per peer.
#[derive(Clone)]
pub(crate) struct Peers {
    dialer: Dialer,
}

impl Peers {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self { dialer }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Connection {
        Connection { dialer: self.dialer.clone(), target, address: node.address.clone(), mux: None, dialling: None }
    }
}

/// A connection to one peer.
pub(crate) struct Connection {
    dialer: Dialer,
    target: u64,
    address: String,
    mux: Option<Mux>,
    /// Goes on when a caller gives up: a handshake must not begin anew with every heartbeat.
    dialling: Option<JoinHandle<io::Result<Mux>>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(dialling) = &self.dialling {
            dialling.abort();
        }
    }
}

impl Connection {
    fn unreachable(&self, error: &dyn std::fmt::Display) -> Unreachable<TypeConfig> {
        Unreachable::from_string(format!("node {} at `{}`: {error}", self.target, self.address))
    }

    async fn mux(&mut self) -> io::Result<Mux> {
        if let Some(mux) = self.mux.as_ref().filter(|mux| !mux.is_closed()) {
            return Ok(mux.clone());
        }
        self.mux = None;
        let (dialer, target, address) = (self.dialer.clone(), self.target, self.address.clone());
        let dialling = self.dialling.get_or_insert_with(|| {
            tokio::spawn(async move { dialer.dial(target, &address, Channel::Raft).await.map(Mux::start) })
        });
        let dialled = dialling.await;
        self.dialling = None;
        let mux = dialled.map_err(io::Error::other)??;
        self.mux = Some(mux.clone());
        Ok(mux)
    }

    async fn ask(&mut self, ask: Ask, limit: Duration) -> Result<Answer, RPCError<TypeConfig>> {
        let asked = async {
            let mux = self.mux().await?;
            mux.ask(ask).await.map_err(io::Error::other)
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(Answer::Failed(why))) => Err(self.unreachable(&why).into()),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(&error).into()),
            Err(_) => Err(self.unreachable(&"no answer in time").into()),
        }
    }

    async fn ask_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        pre: bool,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let VoteRequest { vote, last_log_id, leadership_transfer: transfer } = rpc;
        let ask = VoteAsk { vote: (&vote).into(), last: last_log_id.as_ref().map(LogPosition::from), transfer, pre };
        match self.ask(Ask::Vote(ask), VOTE_TIMEOUT).await? {
            Answer::Vote { vote, last, granted } => {
                Ok(VoteResponse::new(Vote::from(vote), last.map(Into::into), granted))
            }
            _ => Err(self.unreachable(&"an answer to something else").into()),
        }
    }

    async fn send_snapshot(&self, vote: &Vote, snapshot: Snapshot) -> io::Result<StoredVote> {
        let mut stream = self.dialer.dial(self.target, &self.address, Channel::Snapshot).await?;
        let SnapshotFile { file, .. } = snapshot.snapshot;
        let bytes = file.metadata()?.len();
        let applied = Applied::of(snapshot.meta.last_log_id.as_ref(), &snapshot.meta.last_membership);
        let ask = Ask::Snapshot(SnapshotAsk { vote: vote.into(), applied, bytes });
        send(&mut stream, &Numbered { number: 0, body: ask }).await?;
        let mut file = tokio::fs::File::from_std(file).take(bytes);
        let mut piece = vec![0; SNAPSHOT_PIECE_BYTES];
        loop {
            let read = file.read(&mut piece).await?;
            if read == 0 {
                break;
            }
            let sent = tokio::time::timeout(SNAPSHOT_STALL_MAX, stream.write_all(&piece[..read])).await;
            sent.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the peer does not take the snapshot"))??;
        }
        stream.flush().await?;
        let answer = tokio::time::timeout(SNAPSHOT_INSTALL_MAX, receive::<Numbered<Answer>>(&mut stream)).await;
        match answer
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the peer does not install the snapshot"))??
        {
            Some(Numbered { body: Answer::Snapshot(vote), .. }) => Ok(vote),
            Some(Numbered { body: Answer::Failed(why), .. }) => Err(io::Error::other(why)),
            _ => Err(io::Error::other("no answer to the snapshot")),
        }
    }
}

/// As many entries as are sent at once: at least one if there is any.
fn that_fit(entries: Vec<<TypeConfig as openraft::RaftTypeConfig>::Entry>) -> (Vec<LogEntry>, bool) {
    let (mut fitting, mut bytes, all) = (Vec::with_capacity(entries.len()), 0, entries.len());
    for entry in &entries {
        let entry = LogEntry::from(entry);
        bytes += payload_bytes(&entry).unwrap_or(usize::MAX / 2);
        if bytes > APPEND_BYTES_MAX && !fitting.is_empty() {
            break;
        }
        fitting.push(entry);
    }
    let whole = fitting.len() == all;
    (fitting, whole)
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (entries, whole) = that_fit(rpc.entries);
        let limit = if entries.is_empty() { option.hard_ttl() } else { APPEND_TIMEOUT };
        let sent = entries.last().map(|entry| entry.position);
        let ask = AppendAsk {
            vote: (&rpc.vote).into(),
            previous: rpc.prev_log_id.as_ref().map(LogPosition::from),
            committed: rpc.leader_commit.as_ref().map(LogPosition::from),
            entries,
        };
        Ok(match self.ask(Ask::Append(ask), limit).await? {
            Answer::Append(AppendAnswer::Success) if whole => AppendEntriesResponse::Success,
            Answer::Append(AppendAnswer::Success) => AppendEntriesResponse::PartialSuccess(sent.map(Into::into)),
            Answer::Append(AppendAnswer::Partial(upto)) => AppendEntriesResponse::PartialSuccess(upto.map(Into::into)),
            Answer::Append(AppendAnswer::Conflict) => AppendEntriesResponse::Conflict,
            Answer::Append(AppendAnswer::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote.into()),
            _ => return Err(self.unreachable(&"an answer to something else").into()),
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, false).await
    }

    // The default grants unseen, which would make pre-vote worthless.
    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            sent = self.send_snapshot(&vote, snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote.into())),
                Err(error) => Err(self.unreachable(&error).into()),
            },
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let ask = TransferAsk {
            from: req.from_leader().into(),
            to: *req.to_node_id(),
            last: req.last_log_id().map(LogPosition::from),
        };
        match self.ask(Ask::Transfer(ask), VOTE_TIMEOUT).await? {
            // A refusal is made good by the next election; its reason is in the other node's log.
            Answer::Transfer(_) => Ok(Ok(())),
            _ => Err(self.unreachable(&"an answer to something else").into()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let pauses = std::iter::successors(Some(BACKOFF_FIRST), |last| Some((*last * 2).min(BACKOFF_MAX)));
        Some(Backoff::new(pauses))
    }
}
