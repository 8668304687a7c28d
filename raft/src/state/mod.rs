//! The replicated state held in memory: what every node agrees on, read without waiting.
//!
//! Pure: no clock, no I/O, and ordered maps only, so that the same log gives the same bytes on every node. Cloning is
//! cheap (the maps share their structure), so readers hold a consistent snapshot while the next one is built.

mod apply;
mod apply_certificates;
mod apply_groups;
mod apply_members;
mod certificates;
mod check_group;
mod condition;
mod explain;
mod machine;
mod members;
mod objects;
mod pattern;
mod replays;
mod rules;
mod select;
mod sightings;
mod validate;
mod ways;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

pub use apply::Touched;
pub use apply_groups::{CROWD_MAX, RULED_WAYS_MAX};
pub use certificates::{
    CERTIFICATE_KEPT_MILLIS, CERTIFICATES_MAX, CaRecord, CaStage, CaStep, Certificate, FormerSecret, SERIAL_DIGITS_MAX,
    TokenRotation,
};
pub use condition::ADDRESS_LABEL;
pub use explain::{Candidate, Explanation, Failed, Failing, Lost, Question};
pub use machine::{Machine, MachinePolicy, MachinePolicyChange, Sighting};
pub use members::{
    Announcement, BLOBS_PER_COMMAND_MAX, Blob, ClusterSettings, JOIN_TOKENS_MAX, JoinToken, MEMBERS_MAX, Member,
    NewMember, NodeKind, Roster, TwoNode, VipRecord,
};
pub use objects::{
    Asset, DhcpMode, Group, Kind, NetBoot, Profile, Role, ScriptStyle, Settings, Template, TemplateKind, Token,
};
pub use replays::REPLAYS_BYTES_MAX;
pub use rules::{Alternative, Condition, Ruled, Test};
pub use select::{SelectorIndex, normal_selector};
pub use validate::{NAME_BYTES_MAX, SIGHTINGS_MAX, TEMPLATE_BYTES_MAX, check_edit};
pub use ways::{WAYS_BYTES_MAX, WAYS_MAX, impossible_alternatives};

use self::condition::Facts;
use crate::command::Outcome;
use crate::types::{Digest, LogIndex, Mac, Timestamp};

/// An object with the history of its last change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored<T> {
    /// The log entry that wrote it last.
    pub revision: LogIndex,
    /// When it was first written.
    pub created_at: Timestamp,
    /// When it was written last.
    pub updated_at: Timestamp,
    /// Who wrote it last.
    pub updated_by: String,
    /// The object itself.
    pub value: T,
}

impl<T> Stored<T> {
    /// The same history with another value.
    #[must_use]
    pub fn holding<U>(&self, value: U) -> Stored<U> {
        let Self { revision, created_at, updated_at, ref updated_by, value: _ } = *self;
        Stored { revision, created_at, updated_at, updated_by: updated_by.clone(), value }
    }
}

/// The remembered answer to a command with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// What the key was used for.
    pub fingerprint: Digest,
    /// The log entry that did it.
    pub index: LogIndex,
    /// What was answered.
    pub outcome: Outcome,
}

/// How many idempotency keys are remembered; the oldest is forgotten first.
pub const REPLAYS_MAX: usize = 1024;
/// How many machines are recorded. Beyond it a new one takes the place of the one silent longest that has no policy:
/// anybody on the network can make up MACs, and they must neither fill the memory nor keep real machines out.
pub const MACHINES_MAX: usize = 100_000;

type Table<K, V> = OrdMap<K, Arc<Stored<V>>>;

/// Everything the cluster agrees on.
#[derive(Debug, Clone, Default)]
pub struct State {
    applied: LogIndex,
    profiles: Table<String, Profile>,
    groups: Table<String, Group>,
    templates: Table<(TemplateKind, String), Template>,
    assets: Table<String, Asset>,
    tokens: Table<String, Token>,
    settings: Option<Arc<Stored<Settings>>>,
    machines: OrdMap<Mac, Arc<Machine>>,
    replays: OrdMap<String, Arc<Replay>>,
    members: OrdMap<u64, Arc<Member>>,
    roster: Roster,
    cluster: Option<Arc<Stored<ClusterSettings>>>,
    vip: Option<VipRecord>,
    blobs: OrdMap<Digest, Arc<Blob>>,
    join_tokens: Table<String, JoinToken>,
    certificates: Table<String, Certificate>,
    ca: Option<Arc<CaRecord>>,
    former_secrets: OrdMap<String, Arc<FormerSecret>>,
    // Derived from the above, never stored.
    selectors: SelectorIndex,
    machine_of_mac: OrdMap<Mac, Mac>,
    // A UUID forged or copied may be on several machines; then the lowest MAC counts, whatever came first.
    machine_of_uuid: OrdSet<(String, Mac)>,
    /// Those without a policy, by when they were last seen.
    machines_by_age: OrdSet<(Timestamp, Mac)>,
    replay_order: OrdMap<LogIndex, String>,
    replay_bytes: usize,
    /// How many assets lead to the bytes.
    names_of_digest: OrdMap<Digest, usize>,
}

impl State {
    /// The last log entry this state includes.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// A profile by id.
    #[must_use]
    pub fn profile(&self, id: &str) -> Option<&Arc<Stored<Profile>>> {
        self.profiles.get(id)
    }

    /// All profiles by id.
    pub fn profiles(&self) -> impl ExactSizeIterator<Item = &Arc<Stored<Profile>>> {
        self.profiles.values()
    }

    /// A group by id.
    #[must_use]
    pub fn group(&self, id: &str) -> Option<&Arc<Stored<Group>>> {
        self.groups.get(id)
    }

    /// All groups by id.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Arc<Stored<Group>>> {
        self.groups.values()
    }

    /// The group that wins for these labels, asked from nowhere in particular.
    #[must_use]
    pub fn select(&self, labels: &BTreeMap<String, String>) -> Option<&Arc<Stored<Group>>> {
        self.select_from(labels, None)
    }

    /// The group that wins for these labels, asked from this address. MAC labels are in normal form.
    #[must_use]
    pub fn select_from(
        &self,
        labels: &BTreeMap<String, String>,
        address: Option<IpAddr>,
    ) -> Option<&Arc<Stored<Group>>> {
        let (id, _) = self.selectors.find(&Facts::new(labels, address))?;
        self.groups.get(id)
    }

    /// Ids of groups that ask for the same as `group`, or do so in one of the ways in which they can match.
    pub fn ties_of(&self, group: &Group) -> impl Iterator<Item = &str> {
        self.selectors.equals_of(group).map(|(id, _)| id)
    }

    /// A template by kind and name.
    #[must_use]
    pub fn template(&self, kind: TemplateKind, name: &str) -> Option<&Arc<Stored<Template>>> {
        self.templates.get(&(kind, name.to_owned()))
    }

    /// All templates by kind and name.
    pub fn templates(&self) -> impl ExactSizeIterator<Item = &Arc<Stored<Template>>> {
        self.templates.values()
    }

    /// An asset by name.
    #[must_use]
    pub fn asset(&self, name: &str) -> Option<&Arc<Stored<Asset>>> {
        self.assets.get(name)
    }

    /// Assets by name, from the first name that is not less than `from`.
    pub fn assets_from<'a>(&'a self, from: &str) -> impl Iterator<Item = &'a Arc<Stored<Asset>>> {
        self.assets.range(from.to_owned()..).map(|(_, asset)| asset)
    }

    /// How many assets have a name.
    #[must_use]
    pub fn assets_len(&self) -> usize {
        self.assets.len()
    }

    /// The shared settings; defaults until someone changes them.
    #[must_use]
    pub fn settings(&self) -> Option<&Arc<Stored<Settings>>> {
        self.settings.as_ref()
    }

    /// A token by id.
    #[must_use]
    pub fn token(&self, id: &str) -> Option<&Arc<Stored<Token>>> {
        self.tokens.get(id)
    }

    /// All tokens by id.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &Arc<Stored<Token>>> {
        self.tokens.values()
    }

    /// A machine by any of its MACs.
    #[must_use]
    pub fn machine(&self, mac: &Mac) -> Option<&Arc<Machine>> {
        self.machines.get(self.machine_of_mac.get(mac)?)
    }

    /// A machine by SMBIOS UUID (lower case); none by a UUID that many boards share.
    #[must_use]
    pub fn machine_of_uuid(&self, uuid: &str) -> Option<&Arc<Machine>> {
        let from = (uuid.to_owned(), Mac::lowest());
        let (found, first) = self.machine_of_uuid.range(from..).next()?;
        if found == uuid { self.machines.get(first) } else { None }
    }

    /// All machines by first MAC.
    pub fn machines(&self) -> impl ExactSizeIterator<Item = &Arc<Machine>> {
        self.machines.values()
    }
}

/// The name of one stored record, as the storage engine files it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// A profile by id.
    Profile(String),
    /// A group by id.
    Group(String),
    /// A template by kind and name.
    Template(TemplateKind, String),
    /// An asset by name.
    Asset(String),
    /// A token by id.
    Token(String),
    /// The settings.
    Settings,
    /// A machine by its first MAC.
    Machine(Mac),
    /// A remembered answer by idempotency key.
    Replay(String),
    /// A node by id.
    Member(u64),
    /// The ids that have been given.
    Roster,
    /// What the nodes share about the cluster.
    Cluster,
    /// Who holds the floating address.
    Vip,
    /// Bytes and who holds them.
    Blob(Digest),
    /// A join token by id.
    JoinToken(String),
    /// A client's certificate by serial number.
    Certificate(String),
    /// How far a change of the CA has come.
    Ca,
    /// The secret a token had before, by the token's id.
    FormerSecret(String),
}

/// One stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A profile.
    Profile(Arc<Stored<Profile>>),
    /// A group.
    Group(Arc<Stored<Group>>),
    /// A template.
    Template(Arc<Stored<Template>>),
    /// An asset.
    Asset(Arc<Stored<Asset>>),
    /// A token.
    Token(Arc<Stored<Token>>),
    /// The settings.
    Settings(Arc<Stored<Settings>>),
    /// A machine.
    Machine(Arc<Machine>),
    /// A remembered answer under its idempotency key.
    Replay(String, Arc<Replay>),
    /// A node.
    Member(Arc<Member>),
    /// The ids that have been given.
    Roster(Roster),
    /// What the nodes share about the cluster.
    Cluster(Arc<Stored<ClusterSettings>>),
    /// Who holds the floating address.
    Vip(VipRecord),
    /// Bytes and who holds them.
    Blob(Arc<Blob>),
    /// A join token.
    JoinToken(Arc<Stored<JoinToken>>),
    /// A client's certificate.
    Certificate(Arc<Stored<Certificate>>),
    /// How far a change of the CA has come.
    Ca(Arc<CaRecord>),
    /// The secret a token had before.
    FormerSecret(Arc<FormerSecret>),
}

impl Record {
    /// The name this record is filed under.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Profile(profile) => RecordKey::Profile(profile.value.id.clone()),
            Self::Group(group) => RecordKey::Group(group.value.id.clone()),
            Self::Template(template) => RecordKey::Template(template.value.kind, template.value.name.clone()),
            Self::Asset(asset) => RecordKey::Asset(asset.value.name.clone()),
            Self::Token(token) => RecordKey::Token(token.value.id.clone()),
            Self::Settings(_) => RecordKey::Settings,
            Self::Machine(machine) => RecordKey::Machine(machine.macs[0].clone()),
            Self::Replay(key, _) => RecordKey::Replay(key.clone()),
            Self::Member(member) => RecordKey::Member(member.id),
            Self::Roster(_) => RecordKey::Roster,
            Self::Cluster(_) => RecordKey::Cluster,
            Self::Vip(_) => RecordKey::Vip,
            Self::Blob(blob) => RecordKey::Blob(blob.digest),
            Self::JoinToken(token) => RecordKey::JoinToken(token.value.id.clone()),
            Self::Certificate(certificate) => RecordKey::Certificate(certificate.value.serial.clone()),
            Self::Ca(_) => RecordKey::Ca,
            Self::FormerSecret(former) => RecordKey::FormerSecret(former.id.clone()),
        }
    }
}

/// `group/worker-1`: how messages name an object.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(id) => write!(f, "profile/{id}"),
            Self::Group(id) => write!(f, "group/{id}"),
            Self::Template(kind, name) => write!(f, "template/{}/{name}", kind.name()),
            Self::Asset(name) => write!(f, "asset/{name}"),
            Self::Token(id) => write!(f, "token/{id}"),
            Self::Settings => f.write_str("settings"),
            Self::Machine(mac) => write!(f, "machine/{mac}"),
            Self::Replay(key) => write!(f, "idempotency-key/{key}"),
            Self::Member(id) => write!(f, "member/{id}"),
            Self::Roster => f.write_str("roster"),
            Self::Cluster => f.write_str("cluster"),
            Self::Vip => f.write_str("vip"),
            Self::Blob(digest) => write!(f, "blob/{digest}"),
            Self::JoinToken(id) => write!(f, "join-token/{id}"),
            Self::Certificate(serial) => write!(f, "certificate/{serial}"),
            Self::Ca => f.write_str("ca"),
            Self::FormerSecret(id) => write!(f, "former-secret/{id}"),
        }
    }
}

impl State {
    /// The record of that name as it is now; `None` once it has been removed.
    #[must_use]
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        match key {
            RecordKey::Profile(id) => self.profiles.get(id).cloned().map(Record::Profile),
            RecordKey::Group(id) => self.groups.get(id).cloned().map(Record::Group),
            RecordKey::Template(kind, name) => {
                self.templates.get(&(*kind, name.clone())).cloned().map(Record::Template)
            }
            RecordKey::Asset(name) => self.assets.get(name).cloned().map(Record::Asset),
            RecordKey::Token(id) => self.tokens.get(id).cloned().map(Record::Token),
            RecordKey::Settings => self.settings.clone().map(Record::Settings),
            RecordKey::Machine(mac) => self.machines.get(mac).cloned().map(Record::Machine),
            RecordKey::Replay(key) => self.replays.get(key).map(|replay| Record::Replay(key.clone(), replay.clone())),
            RecordKey::Member(id) => self.members.get(id).cloned().map(Record::Member),
            RecordKey::Roster => (self.roster.last_node > 0).then_some(Record::Roster(self.roster)),
            RecordKey::Cluster => self.cluster.clone().map(Record::Cluster),
            RecordKey::Vip => self.vip.map(Record::Vip),
            RecordKey::Blob(digest) => self.blobs.get(digest).cloned().map(Record::Blob),
            RecordKey::JoinToken(id) => self.join_tokens.get(id).cloned().map(Record::JoinToken),
            RecordKey::Certificate(serial) => self.certificates.get(serial).cloned().map(Record::Certificate),
            RecordKey::Ca => self.ca.clone().map(Record::Ca),
            RecordKey::FormerSecret(id) => self.former_secrets.get(id).cloned().map(Record::FormerSecret),
        }
    }

    /// Every record, in the order of its key.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let profiles = self.profiles.values().cloned().map(Record::Profile);
        let groups = self.groups.values().cloned().map(Record::Group);
        let templates = self.templates.values().cloned().map(Record::Template);
        let assets = self.assets.values().cloned().map(Record::Asset);
        let tokens = self.tokens.values().cloned().map(Record::Token);
        let settings = self.settings.iter().cloned().map(Record::Settings);
        let machines = self.machines.values().cloned().map(Record::Machine);
        let replays = self.replays.iter().map(|(key, replay)| Record::Replay(key.clone(), replay.clone()));
        let members = self.members.values().cloned().map(Record::Member);
        let roster = self.record(&RecordKey::Roster).into_iter();
        let cluster = self.cluster.iter().cloned().map(Record::Cluster);
        let vip = self.vip.iter().copied().map(Record::Vip);
        let blobs = self.blobs.values().cloned().map(Record::Blob);
        let join_tokens = self.join_tokens.values().cloned().map(Record::JoinToken);
        let certificates = self.certificates.values().cloned().map(Record::Certificate);
        let ca = self.ca.iter().cloned().map(Record::Ca);
        let former_secrets = self.former_secrets.values().cloned().map(Record::FormerSecret);
        profiles
            .chain(groups)
            .chain(templates)
            .chain(assets)
            .chain(tokens)
            .chain(settings)
            .chain(machines)
            .chain(replays)
            .chain(members)
            .chain(roster)
            .chain(cluster)
            .chain(vip)
            .chain(blobs)
            .chain(join_tokens)
            .chain(certificates)
            .chain(ca)
            .chain(former_secrets)
    }

    /// Puts a record back as it was stored, replacing any of its name.
    pub fn restore(&mut self, record: Record) {
        match record {
            Record::Profile(profile) => drop(self.profiles.insert(profile.value.id.clone(), profile)),
            Record::Group(group) => self.insert_group(group),
            Record::Template(template) => {
                self.templates.insert((template.value.kind, template.value.name.clone()), template);
            }
            Record::Asset(asset) => self.insert_asset(asset),
            Record::Token(token) => drop(self.tokens.insert(token.value.id.clone(), token)),
            Record::Settings(settings) => self.settings = Some(settings),
            Record::Machine(machine) => self.insert_machine(machine),
            Record::Replay(key, replay) => self.insert_replay(key, replay),
            Record::Member(member) => drop(self.members.insert(member.id, member)),
            Record::Roster(roster) => self.roster = roster,
            Record::Cluster(cluster) => self.cluster = Some(cluster),
            Record::Vip(record) => self.vip = Some(record),
            Record::Blob(blob) => drop(self.blobs.insert(blob.digest, blob)),
            Record::JoinToken(token) => drop(self.join_tokens.insert(token.value.id.clone(), token)),
            Record::Certificate(certificate) => {
                self.certificates.insert(certificate.value.serial.clone(), certificate);
            }
            Record::Ca(record) => self.ca = Some(record),
            Record::FormerSecret(former) => drop(self.former_secrets.insert(former.id.clone(), former)),
        }
    }

    /// Says up to which log entry the restored records go.
    pub fn set_applied(&mut self, index: LogIndex) {
        self.applied = index;
    }

    fn insert_asset(&mut self, asset: Arc<Stored<Asset>>) {
        self.remove_asset(&asset.value.name);
        *self.names_of_digest.entry(asset.value.digest).or_insert(0) += 1;
        self.assets.insert(asset.value.name.clone(), asset);
    }

    fn remove_asset(&mut self, name: &str) -> bool {
        let Some(old) = self.assets.remove(name) else { return false };
        let digest = old.value.digest;
        match self.names_of_digest.get(&digest).copied() {
            Some(names) if names > 1 => drop(self.names_of_digest.insert(digest, names - 1)),
            _ => drop(self.names_of_digest.remove(&digest)),
        }
        true
    }

    fn insert_group(&mut self, group: Arc<Stored<Group>>) {
        self.remove_group(&group.value.id);
        self.selectors.insert(&group.value);
        self.groups.insert(group.value.id.clone(), group);
    }

    fn remove_group(&mut self, id: &str) -> bool {
        let Some(old) = self.groups.remove(id) else { return false };
        self.selectors.remove(&old.value);
        true
    }
}
