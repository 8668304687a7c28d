//! Profiles: put, get, delete, list.

use raft::command::Edit;
use tonic::Status;

use super::proto::{Empty, Named, OneProfile, Profiles};
use super::write::Caller;
use super::{Context, convert, status};

impl Context {
    pub(super) async fn put_profile(&self, caller: &Caller, ask: OneProfile) -> Result<Empty, Status> {
        let profile = ask.profile.ok_or_else(|| status::missing("profile"))?;
        self.write(caller, Edit::PutProfile(convert::profile_in(profile)?)).await?;
        Ok(Empty {})
    }

    pub(super) async fn profile(&self, id: &str) -> Result<OneProfile, Status> {
        let state = self.state().await?;
        let profile = state.profile(id).ok_or_else(|| status::not_found("profile", id))?;
        // The Terraform provider reads `boot` without looking whether it is there, and crashes when it is not.
        let mut profile = convert::profile_out(&profile.value);
        profile.boot.get_or_insert_default();
        Ok(OneProfile { profile: Some(profile) })
    }

    pub(super) async fn delete_profile(&self, caller: &Caller, ask: Named) -> Result<Empty, Status> {
        self.write(caller, Edit::DeleteProfile(ask.name)).await?;
        Ok(Empty {})
    }

    pub(super) async fn profiles(&self) -> Result<Profiles, Status> {
        let state = self.state().await?;
        Ok(Profiles { profiles: state.profiles().map(|profile| convert::profile_out(&profile.value)).collect() })
    }
}
