//! Groups: put, get, delete, list.

use prost::Message as _;
use raft::command::Edit;
use raft::state::State;
use tonic::Status;
use tracing::warn;

use super::proto::{Empty, Groups, Named, OneGroup};
use super::write::Caller;
use super::{Context, MESSAGE_BYTES_MAX, convert, is_exact, status};

impl Context {
    pub(super) async fn put_group(&self, caller: &Caller, ask: OneGroup) -> Result<Empty, Status> {
        let group = convert::group_in(ask.group.ok_or_else(|| status::missing("group"))?)?;
        // Written anew for whoever reads it, a letter may become six; only what is large is worth looking at.
        if group.metadata.len() > MESSAGE_BYTES_MAX / 16 {
            let shown = OneGroup { group: Some(convert::group_out(&group, false)) }.encoded_len();
            if shown > MESSAGE_BYTES_MAX {
                return Err(status::unreadable(&format!("group/{}", group.id), shown, MESSAGE_BYTES_MAX));
            }
        }
        let id = group.id.clone();
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
        let find = |state: &State| state.group(id).map(|group| convert::group_out(&group.value, is_exact(state)));
        let group = self.found(find, || status::not_found("group", id)).await?;
        Ok(OneGroup { group: Some(group) })
    }

    pub(super) async fn delete_group(&self, caller: &Caller, ask: Named) -> Result<Empty, Status> {
        self.write(caller, Edit::DeleteGroup(ask.name)).await?;
        Ok(Empty {})
    }

    pub(super) async fn groups(&self) -> Result<Groups, Status> {
        let state = self.latest().await?;
        let exact = is_exact(&state);
        Ok(Groups { groups: state.groups().map(|group| convert::group_out(&group.value, exact)).collect() })
    }
}
