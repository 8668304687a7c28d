//! Every change that can ever be made to the replicated state, as one versioned enum.
//!
//! bincode writes the position of a variant, so variants are only ever added at the end, and a published struct never
//! changes: a new shape is a new struct with an upcaster in `codec`.

use serde::{Deserialize, Serialize};

use crate::state::{
    Announcement, Asset, CaStep, Certificate, ClusterSettings, Group, JoinToken, Kind, MachinePolicyChange, NewMember,
    Profile, Ruled, Settings, Sighting, Template, TemplateKind, Token, TokenRotation,
};
use crate::types::{Digest, LogIndex, Mac, Timestamp};

/// One replicated change: applied as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Who asked: a token's name, `node` for the service itself.
    pub actor: String,
    /// When it was proposed, by the proposer's clock; the only time `apply` ever sees.
    pub at: Timestamp,
    /// A repeat with the same key is answered with the first outcome and changes nothing. Empty: no such protection.
    pub idempotency_key: String,
    /// sha256 over the request that carries the key, so that a key reused for something else is noticed. Computed by
    /// the proposer: nodes of different versions must agree on it.
    pub fingerprint: Digest,
    /// The edits, in order. All of them or none.
    pub edits: Vec<GuardedEdit>,
    /// Kinds of which exactly the objects put by this command are to remain (`import --replace`).
    pub replace: Vec<Kind>,
    /// Accept groups whose selectors equal another group's; the lowest id wins then, as in matchbox.
    pub allow_ties: bool,
}

/// An edit that applies only while its guard holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardedEdit {
    /// What must be true of the object before.
    pub guard: Guard,
    /// What becomes of it.
    pub edit: Edit,
}

impl From<Edit> for GuardedEdit {
    fn from(edit: Edit) -> Self {
        Self { guard: Guard::Any, edit }
    }
}

/// What an edit expects to find (HTTP `If-Match`, `If-None-Match: *`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// Anything.
    Any,
    /// No object of that name.
    Absent,
    /// The object as that log entry left it.
    Revision(LogIndex),
}

/// One change to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// Create or replace a profile.
    PutProfile(Profile),
    /// Remove a profile by id.
    DeleteProfile(String),
    /// Create or replace a group without rules. `Edit::put_group` chooses between this and `PutRuledGroup`.
    PutGroup(Group),
    /// Remove a group by id.
    DeleteGroup(String),
    /// Create or replace a template.
    PutTemplate(Template),
    /// Remove a template by kind and name.
    DeleteTemplate(TemplateKind, String),
    /// Name a blob whose bytes are already stored.
    PutAsset(Asset),
    /// Forget a name; the bytes go later.
    DeleteAsset(String),
    /// Replace the shared settings.
    PutSettings(Settings),
    /// Create a token or change it.
    PutToken(Token),
    /// Revoke a token by id.
    DeleteToken(String),
    /// Machines seen on the network since the last such report.
    Sightings(Vec<Sighting>),
    /// What an operator wants of one machine.
    SetMachinePolicy(Mac, MachinePolicyChange),
    /// Forget a machine by any of its MACs.
    DeleteMachine(Mac),
    /// A node says who it is.
    AnnounceMember(Announcement),
    /// A node joins and is given an id.
    AddMember(NewMember),
    /// A node goes for good.
    RemoveMember(u64),
    /// Replace what the nodes share about the cluster.
    PutCluster(ClusterSettings),
    /// The leader takes the floating address.
    ClaimVip(u64),
    /// The node that claimed it in that log entry has let go of it.
    ReleaseVip(u64, LogIndex),
    /// A node holds verified and synced copies of bytes of these sizes.
    ReportBlobs(u64, Vec<(Digest, u64)>),
    /// A node holds them no more.
    WithdrawBlobs(u64, Vec<Digest>),
    /// Nothing has named these bytes for long: they are to be removed.
    CondemnBlobs(Vec<Digest>),
    /// Create a join token or change it.
    PutJoinToken(JoinToken),
    /// Revoke a join token by id.
    DeleteJoinToken(String),
    /// Create or replace a group with rules.
    PutRuledGroup(Ruled),
    /// Remember a client's certificate, or revoke it.
    PutCertificate(Certificate),
    /// Forget one by its serial number; one that was revoked is accepted again.
    DeleteCertificate(String),
    /// One step of a change of the CA; `true`: also where nodes have not followed.
    StepCa(CaStep, bool),
    /// A node says whether it trusts the new CA, and whether its certificates are of it.
    ReportCa(u64, bool, bool),
    /// Give a token another secret.
    RotateToken(TokenRotation),
}

impl Edit {
    /// The edit that puts `group`: the one published first, unless the group has rules.
    #[must_use]
    pub fn put_group(group: Group) -> Self {
        if group.rules.is_empty() { Self::PutGroup(group) } else { Self::PutRuledGroup(Ruled(group)) }
    }

    /// The group it puts.
    #[must_use]
    pub fn group(&self) -> Option<&Group> {
        match self {
            Self::PutGroup(group) | Self::PutRuledGroup(Ruled(group)) => Some(group),
            _ => None,
        }
    }
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every edit was applied; one entry per edit, in order.
    Applied {
        /// What each edit did.
        edits: Vec<Effect>,
        /// Objects removed because `replace` named their kind.
        pruned: u32,
    },
    /// Nothing was changed, for these reasons.
    Refused(Vec<Refusal>),
}

/// What one edit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// There was none before.
    Created,
    /// There was another before.
    Updated,
    /// It was so already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// One reason why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Position of the edit in the command.
    pub edit: u32,
    /// What kind of refusal it is.
    pub code: RefusalCode,
    /// Which object: `group/worker-1`.
    pub object: String,
    /// Which field of it, as a path (`selector.mac`); empty for the object as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Characters of one text of a refusal: it may quote what was sent, and it is stored with the idempotency key.
pub const REFUSAL_TEXT_CHARS_MAX: usize = 256;

impl Refusal {
    /// A refusal of edit 0 whose texts are cut to `REFUSAL_TEXT_CHARS_MAX`.
    #[must_use]
    pub fn new(code: RefusalCode, object: &str, field: &str, message: &str, hint: &str) -> Self {
        Self { edit: 0, code, object: cut(object), field: cut(field), message: cut(message), hint: cut(hint) }
    }

    /// The same, of the edit at that position.
    #[must_use]
    pub fn at(mut self, edit: u32) -> Self {
        self.edit = edit;
        self
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(REFUSAL_TEXT_CHARS_MAX - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// The kinds of refusal; each has one HTTP status, chosen in the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalCode {
    /// The content is not acceptable.
    Invalid,
    /// There is no such object.
    NotFound,
    /// A guard did not hold.
    Conflict,
    /// Two groups would match the same machines equally.
    SelectorTie,
    /// The idempotency key was used for another command.
    KeyReused,
}
