//! Groups: put, get, delete, list.

use raft::command::Edit;
use tonic::Status;
use tracing::warn;

use super::proto::{Empty, Groups, Named, OneGroup};
use super::write::Caller;
use super::{Context, convert, is_exact, status};

impl Context {
    pub(super) async fn put_group(&self, caller: &Caller, ask: OneGroup) -> Result<Empty, Status> {
        let group = convert::group_in(ask.group.ok_or_else(|| status::missing("group"))?)?;
        let id = group.id.clone();
        // This interface has no word for it, and it would be lost without one.
        if self.state().await?.group(&id).is_some_and(|there| !there.value.rules.is_empty()) {
            return Err(status::richer(&id));
        }
        let state = self.write(caller, Edit::PutGroup(group)).await?;
        if let Some(stored) = state.group(&id) {
            let mut ids: Vec<&str> = state.ties_of(&stored.value).collect();
            ids.sort_unstable();
            if ids.len() > 1 {
                warn!(
                    group = id,
                    winner = ids[0],
                    groups = ids.len(),
                    "groups have equal selectors: the lowest id wins; remove the others, or make their selectors differ"
                );
            }
        }
        Ok(Empty {})
    }

    pub(super) async fn group(&self, id: &str) -> Result<OneGroup, Status> {
        let state = self.state().await?;
        let group = state.group(id).ok_or_else(|| status::not_found("group", id))?;
        Ok(OneGroup { group: Some(convert::group_out(&group.value, is_exact(&state))) })
    }

    pub(super) async fn delete_group(&self, caller: &Caller, ask: Named) -> Result<Empty, Status> {
        self.write(caller, Edit::DeleteGroup(ask.name)).await?;
        Ok(Empty {})
    }

    pub(super) async fn groups(&self) -> Result<Groups, Status> {
        let state = self.state().await?;
        let exact = is_exact(&state);
        Ok(Groups { groups: state.groups().map(|group| convert::group_out(&group.value, exact)).collect() })
    }
}
