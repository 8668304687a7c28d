//! Which group and profile labels lead to.

use tonic::Status;

use super::proto::{Labels, OneGroup, OneProfile};
use super::{Context, convert, is_exact};

impl Context {
    /// Labels are compared as they are sent, MACs too: only boot HTTP brings those into their normal form.
    pub(super) async fn select_group(&self, ask: &Labels) -> Result<OneGroup, Status> {
        let state = self.latest().await?;
        let group = state.select(&ask.labels).ok_or_else(no_group)?;
        Ok(OneGroup { group: Some(convert::group_out(&group.value, is_exact(&state))) })
    }

    pub(super) async fn select_profile(&self, ask: &Labels) -> Result<OneProfile, Status> {
        let state = self.latest().await?;
        let group = state.select(&ask.labels).ok_or_else(no_group)?;
        let profile = state.profile(&group.value.profile);
        let profile = profile.ok_or_else(|| Status::not_found("matchbox: No matching Profile"))?;
        Ok(OneProfile { profile: Some(convert::profile_out(&profile.value)) })
    }
}

/// The texts are those that clients of matchbox know.
fn no_group() -> Status {
    Status::not_found("matchbox: No matching Group")
}
