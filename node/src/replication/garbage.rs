//! Decides which blobs have had no name for so long that they may go.
//!
//! Only the leader asks, and what it decides is committed before anybody removes anything: so never without quorum.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use raft::state::{BLOBS_PER_COMMAND_MAX, State};
use raft::types::Digest;

/// Since when each blob has been seen without a name, by this process's own clock: a restart or another leader only
/// lengthens the grace.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    since: BTreeMap<Digest, Instant>,
}

impl Unnamed {
    /// Looks at the state; answers what has had no name for `grace`. What is answered begins anew.
    pub(super) fn look(&mut self, state: &State, now: Instant, grace: Duration) -> Vec<Digest> {
        let unnamed = state.blobs().filter(|blob| blob.condemned.is_none() && !state.is_named(&blob.digest));
        let mut before = std::mem::take(&mut self.since);
        for blob in unnamed {
            self.since.insert(blob.digest, before.remove(&blob.digest).unwrap_or(now));
        }
        let old = self.since.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= grace);
        let doomed: Vec<Digest> = old.map(|(digest, _)| *digest).take(BLOBS_PER_COMMAND_MAX).collect();
        self.since.retain(|digest, _| doomed.binary_search(digest).is_err());
        doomed
    }

    /// Forgets everything: somebody else decides now.
    pub(super) fn forget(&mut self) {
        self.since.clear();
    }
}

#[cfg(test)]
mod tests {
    use raft::command::{Command, Edit};
    use raft::state::{Announcement, Asset, NodeKind};
    use raft::types::{LogIndex, Timestamp};

    use super::*;

    const GRACE: Duration = Duration::from_hours(24);
    const HOUR: Duration = Duration::from_hours(1);

    fn apply(state: &mut State, edit: Edit) {
        let command = Command {
            actor: "test".into(),
            at: Timestamp(1),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![edit.into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        let index = LogIndex(state.applied().0 + 1);
        state.apply(index, &command);
    }

    fn asset(name: &str) -> Asset {
        let (media_type, origin) = (String::new(), String::new());
        Asset { name: name.into(), digest: Digest::of(name.as_bytes()), size: 1, media_type, origin }
    }

    /// One node that holds the bytes `named`, with a name, and `doomed`, without.
    fn state() -> State {
        let mut state = State::default();
        let node =
            Announcement { id: 1, name: "a".into(), kind: NodeKind::Data, peer: "a:7443".into(), boot: String::new() };
        apply(&mut state, Edit::AnnounceMember(node));
        let held = ["named", "doomed"].map(|name| (asset(name).digest, 1));
        apply(&mut state, Edit::ReportBlobs(1, held.to_vec()));
        apply(&mut state, Edit::PutAsset(asset("named")));
        state
    }

    #[test]
    fn only_what_has_had_no_name_for_the_whole_grace_goes() {
        let (mut state, mut unnamed, start) = (state(), Unnamed::default(), Instant::now());
        let doomed = asset("doomed");
        let mut look = |state: &State, after: Duration| unnamed.look(state, start + after, GRACE);
        assert_eq!(look(&state, Duration::ZERO), []);
        assert_eq!(look(&state, 23 * HOUR), []);
        // A name that comes back within the grace, and goes again, starts it anew.
        apply(&mut state, Edit::PutAsset(doomed.clone()));
        assert_eq!(look(&state, 23 * HOUR), []);
        apply(&mut state, Edit::DeleteAsset("doomed".into()));
        assert_eq!(look(&state, 25 * HOUR), []);
        assert_eq!(look(&state, 48 * HOUR), []);
        assert_eq!(look(&state, 49 * HOUR), [doomed.digest]);
        assert_eq!(look(&state, 50 * HOUR), [], "if it did not happen, it begins anew");
        assert_eq!(look(&state, 74 * HOUR), [doomed.digest]);
        apply(&mut state, Edit::CondemnBlobs(vec![doomed.digest]));
        assert_eq!(look(&state, 200 * HOUR), [], "what is condemned is left to the nodes");
    }

    #[test]
    fn another_leader_begins_anew() {
        let (state, mut unnamed, start) = (state(), Unnamed::default(), Instant::now());
        unnamed.look(&state, start, GRACE);
        unnamed.forget();
        assert_eq!(unnamed.look(&state, start + GRACE, GRACE), []);
        assert_eq!(unnamed.look(&state, start + 2 * GRACE, GRACE).len(), 1);
    }
}
