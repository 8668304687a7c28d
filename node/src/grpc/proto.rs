//! The messages of `matchbox.proto`; what several requests have alike is one type here, for names are not on the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

/// `storagepb.Group`: which machines get a profile, and the values their templates see.
#[derive(Clone, PartialEq, Message)]
pub struct Group {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// A name for people.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Id of the profile.
    #[prost(string, tag = "3")]
    pub profile: String,
    /// Labels that must be equal.
    #[prost(btree_map = "string, string", tag = "4")]
    pub selector: BTreeMap<String, String>,
    /// A JSON object, UTF-8; empty for none.
    #[prost(bytes = "bytes", tag = "5")]
    pub metadata: Bytes,
}

/// `storagepb.Profile`: what to boot.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// A name for people.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Template of kind `ignition`.
    #[prost(string, tag = "3")]
    pub ignition_id: String,
    /// Template of kind `cloud`.
    #[prost(string, tag = "4")]
    pub cloud_id: String,
    /// What to load.
    #[prost(message, optional, tag = "5")]
    pub boot: Option<NetBoot>,
    /// Template of kind `generic`.
    #[prost(string, tag = "6")]
    pub generic_id: String,
}

/// `storagepb.NetBoot`: the kernel to load and what to hand it.
#[derive(Clone, PartialEq, Message)]
pub struct NetBoot {
    /// A path on the boot service, or a URL.
    #[prost(string, tag = "1")]
    pub kernel: String,
    /// One `initrd` line each.
    #[prost(string, repeated, tag = "2")]
    pub initrd: Vec<String>,
    /// Kernel arguments; number 3 was something else once.
    #[prost(string, repeated, tag = "4")]
    pub args: Vec<String>,
}

/// `serverpb.GroupPutRequest`, and the answers that are one group.
#[derive(Clone, PartialEq, Message)]
pub struct OneGroup {
    /// The group.
    #[prost(message, optional, tag = "1")]
    pub group: Option<Group>,
}

/// `serverpb.ProfilePutRequest`, and the answers that are one profile.
#[derive(Clone, PartialEq, Message)]
pub struct OneProfile {
    /// The profile.
    #[prost(message, optional, tag = "1")]
    pub profile: Option<Profile>,
}

/// `serverpb.GroupListResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Groups {
    /// All of them, by id.
    #[prost(message, repeated, tag = "1")]
    pub groups: Vec<Group>,
}

/// `serverpb.ProfileListResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Profiles {
    /// All of them, by id.
    #[prost(message, repeated, tag = "1")]
    pub profiles: Vec<Profile>,
}

/// `serverpb.GroupGetRequest`, `IgnitionDeleteRequest` and the like: one object by its id or name.
#[derive(Clone, PartialEq, Message)]
pub struct Named {
    /// Its id or name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// `serverpb.IgnitionPutRequest`, `GenericPutRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct NamedConfig {
    /// The name profiles use.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The file, byte for byte.
    #[prost(bytes = "bytes", tag = "2")]
    pub config: Bytes,
}

/// `serverpb.IgnitionGetResponse`, `GenericGetResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Config {
    /// The file, byte for byte.
    #[prost(bytes = "bytes", tag = "1")]
    pub config: Bytes,
}

/// `serverpb.SelectGroupRequest`, `SelectProfileRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Labels {
    /// What a machine would say of itself.
    #[prost(btree_map = "string, string", tag = "1")]
    pub labels: BTreeMap<String, String>,
}

/// Everything that says nothing: list requests, answers to writes.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Empty {}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The fields of every message of the interface file: name and number.
    fn described() -> BTreeMap<String, BTreeSet<u32>> {
        let text = include_str!("matchbox.proto");
        let code: String =
            text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
        let mut found = BTreeMap::new();
        for part in code.split("message ").skip(1) {
            let (name, rest) = part.split_once('{').expect("a message has a body");
            let body = rest.split('}').next().expect("it ends");
            let fields = body.split(';').filter(|field| field.contains('=') && !field.contains("reserved"));
            let number = |field: &str| field.rsplit('=').next().and_then(|text| text.trim().parse().ok());
            found.insert(name.trim().to_owned(), fields.map(|field| number(field).expect("a number")).collect());
        }
        found
    }

    /// The field numbers of a message in which every field says something.
    fn written(message: &impl Message) -> BTreeSet<u32> {
        let bytes = message.encode_to_vec();
        let mut rest = &bytes[..];
        let mut found = BTreeSet::new();
        while !rest.is_empty() {
            let (number, wire) = prost::encoding::decode_key(&mut rest).expect("our own message");
            found.insert(number);
            let context = prost::encoding::DecodeContext::default();
            prost::encoding::skip_field(wire, number, &mut rest, context).expect("our own message");
        }
        found
    }

    #[test]
    fn the_messages_are_those_of_the_interface_file() {
        let text = || "x".to_owned();
        let map = || BTreeMap::from([(text(), text())]);
        let bytes = Bytes::from_static(b"x");
        let boot = NetBoot { kernel: text(), initrd: vec![text()], args: vec![text()] };
        let group = Group { id: text(), name: text(), profile: text(), selector: map(), metadata: bytes.clone() };
        let profile = Profile {
            id: text(),
            name: text(),
            ignition_id: text(),
            cloud_id: text(),
            boot: Some(boot.clone()),
            generic_id: text(),
        };
        let mut known = BTreeMap::from([
            ("Group", written(&group)),
            ("Profile", written(&profile)),
            ("NetBoot", written(&boot)),
            ("GroupListResponse", written(&Groups { groups: vec![group.clone()] })),
            ("ProfileListResponse", written(&Profiles { profiles: vec![profile.clone()] })),
        ]);
        let one_group = written(&OneGroup { group: Some(group) });
        let one_profile = written(&OneProfile { profile: Some(profile) });
        let named = written(&Named { name: text() });
        let named_config = written(&NamedConfig { name: text(), config: bytes.clone() });
        let config = written(&Config { config: bytes });
        let labels = written(&Labels { labels: map() });
        for (names, numbers) in [
            (&["GroupPutRequest", "GroupGetResponse", "SelectGroupResponse"][..], &one_group),
            (&["ProfilePutRequest", "ProfileGetResponse", "SelectProfileResponse"], &one_profile),
            (&["GroupGetRequest", "GroupDeleteRequest", "ProfileGetRequest", "ProfileDeleteRequest"], &named),
            (&["IgnitionGetRequest", "IgnitionDeleteRequest", "GenericGetRequest", "GenericDeleteRequest"], &named),
            (&["IgnitionPutRequest", "GenericPutRequest"], &named_config),
            (&["IgnitionGetResponse", "GenericGetResponse"], &config),
            (&["SelectGroupRequest", "SelectProfileRequest"], &labels),
            (&["GroupPutResponse", "GroupDeleteResponse", "GroupListRequest", "ProfilePutResponse"], &BTreeSet::new()),
            (&["ProfileDeleteResponse", "ProfileListRequest", "IgnitionPutResponse"], &BTreeSet::new()),
            (&["IgnitionDeleteResponse", "GenericPutResponse", "GenericDeleteResponse"], &BTreeSet::new()),
        ] {
            known.extend(names.iter().map(|name| (*name, numbers.clone())));
        }
        let known: BTreeMap<String, BTreeSet<u32>> =
            known.into_iter().map(|(name, numbers)| (name.to_owned(), numbers)).collect();
        assert_eq!(known, described());
    }
}
