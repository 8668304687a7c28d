//! Profiles: put, get, delete, list.

use prost::Message as _;
use raft::command::Edit;
use raft::state::State;
use tonic::Status;

use super::proto::{Empty, Named, OneProfile, Profiles};
use super::write::Caller;
use super::{Context, MESSAGE_BYTES_MAX, convert, status};

/// What an empty `boot` adds to a profile that has none.
const BOOT_BYTES: usize = 2;

impl Context {
    pub(super) async fn put_profile(&self, caller: &Caller, ask: OneProfile) -> Result<Empty, Status> {
        let profile = ask.profile.ok_or_else(|| status::missing("profile"))?;
        let profile = convert::profile_in(profile)?;
        let shown = OneProfile { profile: Some(convert::profile_out(&profile)) }.encoded_len() + BOOT_BYTES;
        if shown > MESSAGE_BYTES_MAX {
            return Err(status::unreadable(&format!("profile/{}", profile.id), shown, MESSAGE_BYTES_MAX));
        }
        self.write(caller, Edit::PutProfile(profile)).await?;
        Ok(Empty {})
    }

    pub(super) async fn profile(&self, id: &str) -> Result<OneProfile, Status> {
        let find = |state: &State| state.profile(id).map(|profile| convert::profile_out(&profile.value));
        let mut profile = self.found(find, || status::not_found("profile", id)).await?;
        // The Terraform provider reads `boot` without looking whether it is there, and crashes when it is not.
        profile.boot.get_or_insert_default();
        Ok(OneProfile { profile: Some(profile) })
    }

    pub(super) async fn delete_profile(&self, caller: &Caller, ask: Named) -> Result<Empty, Status> {
        self.write(caller, Edit::DeleteProfile(ask.name)).await?;
        Ok(Empty {})
    }

    pub(super) async fn profiles(&self) -> Result<Profiles, Status> {
        let state = self.latest().await?;
        Ok(Profiles { profiles: state.profiles().map(|profile| convert::profile_out(&profile.value)).collect() })
    }
}
