//! Messages as matchbox's clients know them, to and from what is replicated. Pure.

use raft::state::{Group, NetBoot, Profile};
use tonic::Status;

use super::proto;
use super::{metadata, status};

/// A group to be stored.
///
/// # Errors
/// What matchbox refuses, in its words.
pub(super) fn group_in(group: proto::Group) -> Result<Group, Status> {
    let proto::Group { id, name, profile, selector, metadata } = group;
    check_id(&id)?;
    if profile.is_empty() {
        return Err(status::as_matchbox("Group requires a Profile"));
    }
    let metadata = metadata::stored(&metadata)
        .map_err(|problem| status::as_matchbox(format!("group/{id} metadata: {problem}")))?;
    Ok(Group { id, name, profile, selector, metadata, rules: Vec::new() })
}

/// A group as clients see it. `exact`: numbers as matchbox would print them, however large.
pub(super) fn group_out(group: &Group, exact: bool) -> proto::Group {
    proto::Group {
        id: group.id.clone(),
        name: group.name.clone(),
        profile: group.profile.clone(),
        // As written, though it is matched in normal form: Terraform compares it with what it wrote.
        selector: group.selector.clone(),
        metadata: metadata::shown(&group.metadata, exact).into(),
    }
}

/// A profile to be stored.
///
/// # Errors
/// What matchbox refuses, in its words.
pub(super) fn profile_in(profile: proto::Profile) -> Result<Profile, Status> {
    let proto::Profile { id, name, ignition_id, cloud_id, boot, generic_id } = profile;
    check_id(&id)?;
    let boot = boot.map(|proto::NetBoot { kernel, initrd, args }| NetBoot { kernel, initrd, args });
    Ok(Profile { id, name, boot, ignition_id, cloud_id, generic_id })
}

/// A profile as clients see it.
pub(super) fn profile_out(profile: &Profile) -> proto::Profile {
    proto::Profile {
        id: profile.id.clone(),
        name: profile.name.clone(),
        ignition_id: profile.ignition_id.clone(),
        cloud_id: profile.cloud_id.clone(),
        boot: profile.boot.as_ref().map(|boot| proto::NetBoot {
            kernel: boot.kernel.clone(),
            initrd: boot.initrd.clone(),
            args: boot.args.clone(),
        }),
        generic_id: profile.generic_id.clone(),
    }
}

fn check_id(id: &str) -> Result<(), Status> {
    if id.is_empty() { Err(status::as_matchbox("Id is required")) } else { Ok(()) }
}
