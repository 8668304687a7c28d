//! Where requests to the cluster are dealt with: here if this node leads, else by the one that does.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::error::{ClientWriteError, RaftError};
use openraft::impls::ProgressResponder;
use openraft::rt::watch::WatchReceiver as _;
use openraft::{ReadPolicy, ServerState};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use super::whisper::Whispers;
use super::{Committed, INFLIGHT_UNIT, INFLIGHT_UNITS_MAX, Metrics, PROPOSE_TIMEOUT, Raft};
use crate::codec::payload_bytes;
use crate::command::{Command, Edit, Guard, GuardedEdit};
use crate::failure::Health;
use crate::peer::Ask;
use crate::peer::{CallAnswer, CallFailed, CallProblem, Calls, ProblemKind};
use crate::state_machine::ReadModel;
use crate::type_config::{Leadership, Proposal};
use crate::types::{LogIndex, Timestamp};

/// How long a request waits for a leader: an election takes less than a second.
pub const LEADER_WAIT: Duration = Duration::from_secs(2);
/// How often a leader is looked for meanwhile, should no change be told.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Lets go of what only a leader may hold, before leadership moves.
pub type HandOver = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What requests are dealt with; cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) metrics: Metrics,
    pub(crate) model: Arc<ReadModel>,
    pub(crate) health: Health,
    pub(crate) calls: Calls,
    pub(crate) inflight: Arc<Semaphore>,
    pub(crate) hand_over: Arc<Mutex<Option<HandOver>>>,
    pub(crate) whispers: Whispers,
    /// Held while nodes are let in or out.
    pub(crate) membership: Arc<tokio::sync::Mutex<()>>,
}

/// The node that leads, as far as this one knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) id: u64,
    pub(crate) address: String,
    term: u64,
}

pub(crate) fn problem(kind: ProblemKind, message: impl Into<String>) -> CallProblem {
    CallProblem { kind, message: message.into() }
}

impl Desk {
    pub(crate) fn leader(&self) -> Option<Leader> {
        let metrics = self.metrics.borrow_watched();
        let id = metrics.current_leader?;
        let address =
            metrics.membership_config.membership().get_node(&id).map_or_else(String::new, |node| node.address.clone());
        Some(Leader { id, address, term: metrics.current_term })
    }

    /// The leadership of this node, if it leads.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        let metrics = self.metrics.borrow_watched();
        let leads = metrics.state == ServerState::Leader && metrics.vote.committed;
        (leads && metrics.vote.leader_id.node_id == self.node).then_some(metrics.vote.leader_id)
    }

    /// Lets the leader answer, whoever that is; tries again while that is sure to do no harm and a leader may yet appear.
    pub(crate) async fn routed<Here>(
        &self,
        ask: Ask,
        limit: Duration,
        repeatable: bool,
        here: impl Fn(Desk) -> Here,
    ) -> Result<CallAnswer, CallProblem>
    where
        Here: Future<Output = Result<CallAnswer, CallProblem>>,
    {
        let mut metrics = self.metrics.clone();
        let give_up = Instant::now() + LEADER_WAIT;
        loop {
            let leader = self.leader();
            let answer = match &leader {
                Some(leader) if leader.id == self.node => here(self.clone()).await,
                Some(leader) => self.forward(leader, ask.clone(), limit).await,
                None => Err(problem(ProblemKind::NotLeader, "no leader is known")),
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = match error.kind {
                ProblemKind::NotLeader => true,
                ProblemKind::Unknown => repeatable,
                ProblemKind::Unavailable | ProblemKind::Refused => false,
            };
            if !again || self.health.fatal().is_some() {
                return Err(error);
            }
            if Instant::now() >= give_up {
                let kind = if error.kind == ProblemKind::Unknown { error.kind } else { ProblemKind::Unavailable };
                return Err(problem(kind, error.message));
            }
            let _ = timeout(LOOK_EVERY, async { while self.leader() == leader && metrics.changed().await.is_ok() {} })
                .await;
        }
    }

    async fn forward(&self, leader: &Leader, ask: Ask, limit: Duration) -> Result<CallAnswer, CallProblem> {
        let asked = self.calls.ask(leader.id, &leader.address, ask, limit);
        tokio::select! {
            answer = asked => answer.map_err(|failed| match failed {
                CallFailed::NotSent(..) => problem(ProblemKind::NotLeader, failed.to_string()),
                CallFailed::Unknown(..) => problem(ProblemKind::Unknown, failed.to_string()),
                CallFailed::Problem(problem) => problem,
            }),
            () = self.deposed(leader) => {
                let message = format!("node {} stopped leading before it answered", leader.id);
                Err(problem(ProblemKind::Unknown, message))
            }
        }
    }

    /// Waits until another one leads: the old one may never answer.
    async fn deposed(&self, leader: &Leader) {
        let mut metrics = self.metrics.clone();
        while self.leader().is_none_or(|now| now == *leader) {
            if metrics.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
        // An answer that is on its way gets the chance to arrive.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Makes a change, on whichever node; returns once it is applied here too.
    pub(crate) async fn propose(&self, command: Command, bytes: usize) -> Result<Committed, CallProblem> {
        let _room = self.room_for(bytes).await?;
        let repeatable = is_repeatable(&command);
        let proposal = Proposal(Arc::new(command));
        let here = |desk: Desk| {
            let proposal = proposal.clone();
            async move { desk.write(proposal, None).await.map(CallAnswer::Committed) }
        };
        match self.routed(Ask::Propose(proposal.clone()), PROPOSE_TIMEOUT, repeatable, here).await? {
            CallAnswer::Committed(committed) => {
                self.wait_applied(&committed).await;
                Ok(committed)
            }
            _ => Err(problem(ProblemKind::Unknown, "an answer to something else")),
        }
    }

    /// Room for a change of so many bytes; it is given back when dropped.
    async fn room_for(&self, bytes: usize) -> Result<SemaphorePermit<'_>, CallProblem> {
        let units = u32::try_from(bytes / INFLIGHT_UNIT + 1).unwrap_or(INFLIGHT_UNITS_MAX).min(INFLIGHT_UNITS_MAX);
        let room = timeout(PROPOSE_TIMEOUT, self.inflight.acquire_many(units)).await;
        let unavailable = || problem(ProblemKind::Unavailable, "too many changes are under way");
        room.map_err(|_| unavailable())?.map_err(|_| unavailable())
    }

    async fn wait_applied(&self, committed: &Committed) {
        // Late or not: the change is made.
        let _ = self.until_applied(committed.index).await;
    }

    /// Waits until this node has applied the log that far; `false` if that takes too long.
    async fn until_applied(&self, index: LogIndex) -> bool {
        let mut applied = self.model.applied();
        matches!(timeout(PROPOSE_TIMEOUT, applied.wait_for(|applied| *applied >= index)).await, Ok(Ok(_)))
    }

    /// Waits until this node has applied everything that was acknowledged, anywhere, before the call.
    pub(crate) async fn latest(&self) -> Result<(), CallProblem> {
        let here = |desk: Desk| async move { desk.read_index().await.map(CallAnswer::ReadIndex) };
        match self.routed(Ask::ReadIndex, PROPOSE_TIMEOUT, true, here).await? {
            CallAnswer::ReadIndex(index) if self.until_applied(LogIndex(index)).await => Ok(()),
            CallAnswer::ReadIndex(_) => Err(problem(ProblemKind::Unavailable, "this node lags behind its cluster")),
            _ => Err(problem(ProblemKind::Unavailable, "an answer to something else")),
        }
    }

    /// As the leader: up to where the log must be applied for a read to miss nothing. A quorum is asked whether this node still
    /// leads (Raft dissertation, section 6.4).
    async fn read_index(&self) -> Result<u64, CallProblem> {
        let asked = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        let not_leader = |_| problem(ProblemKind::NotLeader, "this node cannot prove that it leads");
        let linearizer = timeout(LEADER_WAIT, asked).await.map_err(not_leader)?;
        let linearizer = linearizer.map_err(|error| problem(ProblemKind::NotLeader, error.to_string()))?;
        Ok(linearizer.read_log_id().index())
    }

    /// Makes a change as the leader; with `only_as` only while that leadership lasts.
    pub(crate) async fn write(
        &self,
        proposal: Proposal,
        only_as: Option<Leadership>,
    ) -> Result<Committed, CallProblem> {
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        let writing = async {
            let Some(leadership) = only_as else { return self.raft.client_write(proposal).await };
            let (responder, written) = ProgressResponder::complete_only();
            self.raft.write(proposal).with_leader(leadership).responder(responder).await?;
            match written.await {
                Ok(written) => written.map_err(RaftError::APIError),
                Err(_) => Err(RaftError::Fatal(openraft::error::Fatal::Stopped)),
            }
        };
        tokio::select! {
            written = timeout_at(deadline, writing) => match written {
                Ok(Ok(response)) => {
                    let outcome = response.data.0.expect("a command is answered with an outcome");
                    Ok(Committed { index: LogIndex(response.log_id.index), outcome })
                }
                Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                    Err(problem(ProblemKind::Unknown, "this node stopped leading before the change was settled"))
                }
                Ok(Err(RaftError::APIError(_))) => Err(problem(ProblemKind::NotLeader, "this node cannot commit changes now")),
                Ok(Err(RaftError::Fatal(error))) => Err(problem(ProblemKind::Unknown, error.to_string())),
                Err(_) => Err(problem(ProblemKind::Unknown, "no quorum confirmed the change in time")),
            },
            fatal = self.health.failed() => Err(problem(ProblemKind::Unknown, fatal.0)),
        }
    }

    /// Answers what a peer asks of the leader.
    pub(crate) async fn answer(self, ask: Ask) -> Result<CallAnswer, CallProblem> {
        if let Ask::Whisper(bytes) = &ask {
            self.whispers.heard(bytes);
            return Ok(CallAnswer::Heard);
        }
        if !matches!(ask, Ask::Overview) && self.leadership().is_none() {
            return Err(problem(ProblemKind::NotLeader, format!("node {} does not lead", self.node)));
        }
        match ask {
            Ask::Propose(Proposal(command)) => {
                // Time is told by the leader.
                let command = Command { at: now(), ..(*command).clone() };
                let bytes =
                    payload_bytes(&command).map_err(|error| problem(ProblemKind::Refused, error.to_string()))?;
                let _room = self.room_for(bytes).await?;
                self.write(Proposal(Arc::new(command)), None).await.map(CallAnswer::Committed)
            }
            Ask::HandOver(to) => self.hand_over(to).await.map(CallAnswer::HandedOver),
            Ask::Join(ask) => self.admit(ask.new).await.map(CallAnswer::Joined),
            Ask::Remove(ask) => self.dismiss(ask.id, ask.force).await.map(|()| CallAnswer::Removed),
            Ask::Overview => Ok(CallAnswer::Overview(self.view())),
            Ask::ReadIndex => self.read_index().await.map(CallAnswer::ReadIndex),
            Ask::Append(_) | Ask::Vote(_) | Ask::Transfer(_) | Ask::Snapshot(_) | Ask::Whisper(_) => {
                Err(problem(ProblemKind::Refused, "that is not asked on this kind of connection"))
            }
        }
    }

    pub(super) fn before_hand_over(&self) -> Option<HandOver> {
        self.hand_over.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether doing it twice is the same as doing it once, so that an unknown outcome may simply be tried again.
fn is_repeatable(command: &Command) -> bool {
    let states_a_fact = |edit: &GuardedEdit| {
        edit.guard == Guard::Any
            && matches!(
                edit.edit,
                Edit::ReportBlobs(..) | Edit::WithdrawBlobs(..) | Edit::AnnounceMember(_) | Edit::Sightings(_)
            )
    };
    !command.idempotency_key.is_empty() || command.edits.iter().all(states_a_fact)
}

/// The wall clock; only ever used as content of a change.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
