//! Remembers the answers to commands with an idempotency key, the youngest ones, within bounds of number and size.

use std::sync::Arc;

use super::{REPLAYS_MAX, RecordKey, Replay, State, Touched};
use crate::command::{Command, Outcome, Refusal, RefusalCode};
use crate::types::LogIndex;

/// What all remembered answers weigh together, in bytes as `weight` counts them. The largest command's answer is well
/// below it; a row of such commands pushes out the oldest answers before `REPLAYS_MAX` does.
pub const REPLAYS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What an answer costs besides its texts and effects.
const FIXED_BYTES: usize = 256;

impl State {
    pub(super) fn replayed(&self, command: &Command) -> Option<Outcome> {
        let replay = self.replays.get(&command.idempotency_key)?;
        if replay.fingerprint == command.fingerprint {
            return Some(replay.outcome.clone());
        }
        Some(Outcome::Refused(vec![Refusal::new(
            RefusalCode::KeyReused,
            "",
            "idempotency_key",
            &format!("the key was used for another change, log entry {}", replay.index),
            "use a new key for every change; repeat a key only to repeat the same request",
        )]))
    }

    pub(super) fn remember(&mut self, index: LogIndex, command: &Command, outcome: &Outcome, touched: &mut Touched) {
        let key = &command.idempotency_key;
        if key.is_empty() {
            return;
        }
        let replay = Replay { fingerprint: command.fingerprint, index, outcome: outcome.clone() };
        self.insert_replay(key.clone(), Arc::new(replay));
        touched.insert(RecordKey::Replay(key.clone()));
        while self.replay_order.len() > REPLAYS_MAX || self.replay_bytes > REPLAYS_BYTES_MAX {
            let Some((_, key)) = self.replay_order.get_min().cloned() else { break };
            self.remove_replay(&key);
            touched.insert(RecordKey::Replay(key));
        }
    }

    pub(super) fn insert_replay(&mut self, key: String, replay: Arc<Replay>) {
        self.remove_replay(&key);
        self.replay_bytes += weight(&key, &replay);
        self.replay_order.insert(replay.index, key.clone());
        self.replays.insert(key, replay);
    }

    pub(super) fn remove_replay(&mut self, key: &str) -> bool {
        let Some(old) = self.replays.remove(key) else { return false };
        self.replay_bytes -= weight(key, &old);
        self.replay_order.remove(&old.index);
        true
    }
}

/// About what it takes on disk, and no less than in memory.
fn weight(key: &str, replay: &Replay) -> usize {
    let texts = |refusal: &Refusal| {
        FIXED_BYTES + refusal.object.len() + refusal.field.len() + refusal.message.len() + refusal.hint.len()
    };
    let outcome = match &replay.outcome {
        Outcome::Applied { edits, .. } => edits.len() * 4,
        Outcome::Refused(refusals) => refusals.iter().map(texts).sum(),
    };
    FIXED_BYTES + 2 * key.len() + outcome
}
