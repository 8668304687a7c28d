//! Applies one command to the state: all of its edits or none, the same on every node.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rules::Ruled;
use super::validate::check_command;
use super::{Kind, Record, RecordKey, State, Stored, check_edit};
use crate::command::{Command, Edit, Effect, Guard, GuardedEdit, Outcome, Refusal, RefusalCode};
use crate::types::{LogIndex, Mac, Timestamp};

/// The records a command touched, to be written or removed by the storage engine together with the applied index.
pub type Touched = BTreeSet<RecordKey>;

impl State {
    /// Applies `command` as log entry `index`; answers what happened and which records to write.
    pub fn apply(&mut self, index: LogIndex, command: &Command) -> (Outcome, Touched) {
        self.applied = index;
        if let Err(refusal) = check_command(command) {
            return (Outcome::Refused(vec![*refusal]), Touched::new());
        }
        if let Some(answer) = self.replayed(command) {
            return (answer, Touched::new());
        }
        let mut step = Step {
            state: self.clone(),
            index,
            command,
            touched: Touched::new(),
            met: BTreeSet::new(),
            refusals: Vec::new(),
            ways_put: 0,
        };
        let outcome = step.run();
        let Step { state, mut touched, .. } = step;
        if matches!(outcome, Outcome::Applied { .. }) {
            *self = state;
        } else {
            touched.clear();
        }
        self.remember(index, command, &outcome, &mut touched);
        (outcome, touched)
    }
}

/// One command on its way: the state as it would become, and what speaks against it.
pub(super) struct Step<'a> {
    pub(super) state: State,
    index: LogIndex,
    pub(super) command: &'a Command,
    pub(super) touched: Touched,
    /// First MACs of the machines this command is about: it does not throw out what it brings.
    pub(super) met: BTreeSet<Mac>,
    pub(super) refusals: Vec<Refusal>,
    /// In how many ways the groups can match that this command has put, of those with alternatives.
    pub(super) ways_put: usize,
}

/// How many reasons a refusal lists; a bad import of a thousand files need not answer with all.
pub(super) const REFUSALS_MAX: usize = 100;

impl Step<'_> {
    fn run(&mut self) -> Outcome {
        let mut effects = Vec::with_capacity(self.command.edits.len());
        for (at, guarded) in self.command.edits.iter().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            match self.edit(at, guarded) {
                Ok(effect) => effects.push(effect),
                Err(refusal) => self.refusals.push(*refusal),
            }
            if self.refusals.len() >= REFUSALS_MAX {
                break;
            }
        }
        let pruned = self.prune();
        self.check_crowds();
        if !self.command.allow_ties {
            self.check_ties();
        }
        if self.refusals.is_empty() {
            Outcome::Applied { edits: effects, pruned }
        } else {
            Outcome::Refused(std::mem::take(&mut self.refusals))
        }
    }

    pub(super) fn index(&self) -> LogIndex {
        self.index
    }

    pub(super) fn at(&self) -> Timestamp {
        self.command.at
    }

    fn edit(&mut self, at: u32, guarded: &GuardedEdit) -> Result<Effect, Box<Refusal>> {
        check_edit(&guarded.edit).map_err(|refusal| Box::new(refusal.at(at)))?;
        self.check_guard(at, guarded)?;
        if let Some(edited) = self.edit_cluster(&guarded.edit) {
            return edited.map_err(|refusal| Box::new(refusal.at(at)));
        }
        self.edit_object(at, &guarded.edit)
    }

    /// Edits about the cluster itself.
    fn edit_cluster(&mut self, edit: &Edit) -> Option<Result<Effect, Box<Refusal>>> {
        Some(match edit {
            Edit::AnnounceMember(said) => self.announce(said),
            Edit::AddMember(new) => self.add_member(new),
            Edit::RemoveMember(id) => self.remove_member(*id),
            Edit::PutCluster(value) => {
                let (effect, next) = self.stored(self.state.cluster.as_ref(), value);
                Ok(self.write(effect, Record::Cluster(next)))
            }
            Edit::ClaimVip(node) => self.claim_vip(*node),
            Edit::ReleaseVip(node, epoch) => self.release_vip(*node, *epoch),
            Edit::ReportBlobs(node, held) => self.report_blobs(*node, held),
            Edit::WithdrawBlobs(node, lost) => self.withdraw_blobs(*node, lost),
            Edit::CondemnBlobs(digests) => self.condemn_blobs(digests),
            Edit::PutJoinToken(token) => self.put_join_token(token),
            Edit::DeleteJoinToken(id) => self.delete(0, RecordKey::JoinToken(id.clone())),
            Edit::PutCertificate(certificate) => self.put_certificate(certificate),
            Edit::DeleteCertificate(serial) => self.delete(0, RecordKey::Certificate(serial.clone())),
            Edit::StepCa(step, force) => self.step_ca(*step, *force),
            Edit::ReportCa(node, trusts, issues) => self.report_ca(*node, *trusts, *issues),
            Edit::RotateToken(rotation) => self.rotate_token(rotation),
            _ => return None,
        })
    }

    fn edit_object(&mut self, at: u32, edit: &Edit) -> Result<Effect, Box<Refusal>> {
        Ok(match edit {
            Edit::PutProfile(value) => {
                let (effect, next) = self.stored(self.state.profiles.get(&value.id), value);
                self.write(effect, Record::Profile(next))
            }
            Edit::PutGroup(value) | Edit::PutRuledGroup(Ruled(value)) => {
                self.put_group(value).map_err(|refusal| Box::new(refusal.at(at)))?
            }
            Edit::PutTemplate(value) => {
                let old = self.state.templates.get(&(value.kind, value.name.clone()));
                let (effect, next) = self.stored(old, value);
                self.write(effect, Record::Template(next))
            }
            Edit::PutAsset(value) => {
                self.check_not_condemned(&value.name, &value.digest).map_err(|refusal| Box::new(refusal.at(at)))?;
                let (effect, next) = self.stored(self.state.assets.get(&value.name), value);
                self.write(effect, Record::Asset(next))
            }
            Edit::PutSettings(value) => {
                let (effect, next) = self.stored(self.state.settings.as_ref(), value);
                self.write(effect, Record::Settings(next))
            }
            Edit::PutToken(value) => {
                let (effect, next) = self.stored(self.state.tokens.get(&value.id), value);
                self.write(effect, Record::Token(next))
            }
            Edit::Sightings(list) => self.sightings(list),
            Edit::SetMachinePolicy(mac, change) => self.set_policy(mac, change),
            Edit::DeleteProfile(id) => self.delete(at, RecordKey::Profile(id.clone()))?,
            Edit::DeleteGroup(id) => self.delete(at, RecordKey::Group(id.clone()))?,
            Edit::DeleteTemplate(kind, name) => self.delete(at, RecordKey::Template(*kind, name.clone()))?,
            Edit::DeleteAsset(name) => self.delete(at, RecordKey::Asset(name.clone()))?,
            Edit::DeleteToken(id) => {
                self.drop_former_secret(id);
                self.delete(at, RecordKey::Token(id.clone()))?
            }
            Edit::DeleteMachine(mac) => self.delete(at, self.machine_key(mac))?,
            cluster => unreachable!("{cluster:?} is about the cluster itself"),
        })
    }

    /// The object as it will be stored: history kept, and untouched if nothing differs.
    pub(super) fn stored<T: Clone + PartialEq>(
        &self,
        old: Option<&Arc<Stored<T>>>,
        value: &T,
    ) -> (Effect, Arc<Stored<T>>) {
        if let Some(same) = old.filter(|old| old.value == *value) {
            return (Effect::Unchanged, same.clone());
        }
        let next = Stored {
            revision: self.index,
            created_at: old.map_or(self.command.at, |old| old.created_at),
            updated_at: self.command.at,
            updated_by: self.command.actor.clone(),
            value: value.clone(),
        };
        (if old.is_some() { Effect::Updated } else { Effect::Created }, Arc::new(next))
    }

    pub(super) fn write(&mut self, effect: Effect, record: Record) -> Effect {
        if effect != Effect::Unchanged {
            self.touched.insert(record.key());
            self.state.restore(record);
        }
        effect
    }

    fn delete(&mut self, at: u32, key: RecordKey) -> Result<Effect, Box<Refusal>> {
        if !self.state.forget(&key) {
            let hint = "list what exists, then repeat with one of those names";
            let message = "there is none of that name";
            let refusal = Refusal::new(RefusalCode::NotFound, &key.to_string(), "", message, hint);
            return Err(Box::new(refusal.at(at)));
        }
        self.touched.insert(key);
        Ok(Effect::Deleted)
    }

    fn check_guard(&self, at: u32, guarded: &GuardedEdit) -> Result<(), Box<Refusal>> {
        let Some(key) = self.key_of(&guarded.edit) else { return Ok(()) };
        let found = self.state.revision(&key);
        let (holds, message) = match guarded.guard {
            Guard::Any => return Ok(()),
            Guard::Absent => (found.is_none(), "it exists already".to_owned()),
            Guard::Revision(want) => (
                found == Some(want),
                found.map_or_else(
                    || format!("revision {want} was expected but it does not exist"),
                    |found| format!("revision {want} was expected but it is at {found}"),
                ),
            ),
        };
        if holds {
            return Ok(());
        }
        let hint = "someone else changed it: read it again, then decide";
        Err(Box::new(Refusal::new(RefusalCode::Conflict, &key.to_string(), "", &message, hint).at(at)))
    }

    fn key_of(&self, edit: &Edit) -> Option<RecordKey> {
        Some(match edit {
            Edit::PutProfile(profile) => RecordKey::Profile(profile.id.clone()),
            Edit::PutGroup(group) | Edit::PutRuledGroup(Ruled(group)) => RecordKey::Group(group.id.clone()),
            Edit::PutTemplate(template) => RecordKey::Template(template.kind, template.name.clone()),
            Edit::PutAsset(asset) => RecordKey::Asset(asset.name.clone()),
            Edit::PutSettings(_) => RecordKey::Settings,
            Edit::PutToken(token) => RecordKey::Token(token.id.clone()),
            Edit::DeleteProfile(id) => RecordKey::Profile(id.clone()),
            Edit::DeleteGroup(id) => RecordKey::Group(id.clone()),
            Edit::DeleteTemplate(kind, name) => RecordKey::Template(*kind, name.clone()),
            Edit::DeleteAsset(name) => RecordKey::Asset(name.clone()),
            Edit::DeleteToken(id) => RecordKey::Token(id.clone()),
            Edit::DeleteMachine(mac) | Edit::SetMachinePolicy(mac, _) => self.machine_key(mac),
            Edit::PutCluster(_) => RecordKey::Cluster,
            Edit::PutJoinToken(token) => RecordKey::JoinToken(token.id.clone()),
            Edit::DeleteJoinToken(id) => RecordKey::JoinToken(id.clone()),
            Edit::RemoveMember(id) => RecordKey::Member(*id),
            Edit::PutCertificate(certificate) => RecordKey::Certificate(certificate.serial.clone()),
            Edit::DeleteCertificate(serial) => RecordKey::Certificate(serial.clone()),
            Edit::RotateToken(rotation) => RecordKey::Token(rotation.id.clone()),
            Edit::Sightings(_)
            | Edit::AnnounceMember(_)
            | Edit::AddMember(_)
            | Edit::ClaimVip(_)
            | Edit::ReleaseVip(..)
            | Edit::ReportBlobs(..)
            | Edit::WithdrawBlobs(..)
            | Edit::CondemnBlobs(_)
            | Edit::StepCa(..)
            | Edit::ReportCa(..) => return None,
        })
    }

    fn machine_key(&self, mac: &Mac) -> RecordKey {
        RecordKey::Machine(self.state.machine_of_mac.get(mac).unwrap_or(mac).clone())
    }

    /// Removes what `replace` names and this command did not put.
    fn prune(&mut self) -> u32 {
        let kept: BTreeSet<RecordKey> = self.command.edits.iter().filter_map(|edit| self.key_of(&edit.edit)).collect();
        let mut doomed = Vec::new();
        for kind in &self.command.replace {
            doomed.extend(self.state.keys(*kind).filter(|key| !kept.contains(key)));
        }
        for key in &doomed {
            self.state.forget(key);
            if let RecordKey::Token(id) = key {
                self.drop_former_secret(id);
            }
            self.touched.insert(key.clone());
        }
        u32::try_from(doomed.len()).unwrap_or(u32::MAX)
    }
}

impl State {
    /// Removes a record; says whether there was one.
    pub(super) fn forget(&mut self, key: &RecordKey) -> bool {
        match key {
            RecordKey::Profile(id) => self.profiles.remove(id).is_some(),
            RecordKey::Group(id) => self.remove_group(id),
            RecordKey::Template(kind, name) => self.templates.remove(&(*kind, name.clone())).is_some(),
            RecordKey::Asset(name) => self.remove_asset(name),
            RecordKey::Token(id) => self.tokens.remove(id).is_some(),
            RecordKey::Settings => self.settings.take().is_some(),
            RecordKey::Machine(mac) => self.remove_machine(mac),
            RecordKey::Replay(key) => self.remove_replay(key),
            RecordKey::Member(id) => self.members.remove(id).is_some(),
            RecordKey::Roster => false,
            RecordKey::Cluster => self.cluster.take().is_some(),
            RecordKey::Vip => self.vip.take().is_some(),
            RecordKey::Blob(digest) => self.blobs.remove(digest).is_some(),
            RecordKey::JoinToken(id) => self.join_tokens.remove(id).is_some(),
            RecordKey::Certificate(serial) => self.certificates.remove(serial).is_some(),
            RecordKey::Ca => self.ca.take().is_some(),
            RecordKey::FormerSecret(id) => self.former_secrets.remove(id).is_some(),
        }
    }

    fn revision(&self, key: &RecordKey) -> Option<LogIndex> {
        match key {
            RecordKey::Profile(id) => self.profiles.get(id).map(|stored| stored.revision),
            RecordKey::Group(id) => self.groups.get(id).map(|stored| stored.revision),
            RecordKey::Template(kind, name) => self.templates.get(&(*kind, name.clone())).map(|stored| stored.revision),
            RecordKey::Asset(name) => self.assets.get(name).map(|stored| stored.revision),
            RecordKey::Token(id) => self.tokens.get(id).map(|stored| stored.revision),
            RecordKey::Settings => self.settings.as_ref().map(|stored| stored.revision),
            // Machines change with every sighting and carry no revision: a guard can only ask for absence.
            RecordKey::Machine(mac) => self.machines.get(mac).map(|_| LogIndex(0)),
            RecordKey::Replay(key) => self.replays.get(key).map(|replay| replay.index),
            RecordKey::Cluster => self.cluster.as_ref().map(|stored| stored.revision),
            RecordKey::JoinToken(id) => self.join_tokens.get(id).map(|stored| stored.revision),
            RecordKey::Certificate(serial) => self.certificates.get(serial).map(|stored| stored.revision),
            // These carry no revision either.
            RecordKey::Member(id) => self.members.get(id).map(|_| LogIndex(0)),
            RecordKey::Blob(digest) => self.blobs.get(digest).map(|_| LogIndex(0)),
            RecordKey::Vip => self.vip.map(|_| LogIndex(0)),
            RecordKey::Ca => self.ca.as_ref().map(|_| LogIndex(0)),
            RecordKey::FormerSecret(id) => self.former_secrets.get(id).map(|_| LogIndex(0)),
            RecordKey::Roster => Some(LogIndex(0)),
        }
    }

    fn keys(&self, kind: Kind) -> impl Iterator<Item = RecordKey> {
        let keys: Vec<RecordKey> = match kind {
            Kind::Profile => self.profiles.keys().cloned().map(RecordKey::Profile).collect(),
            Kind::Group => self.groups.keys().cloned().map(RecordKey::Group).collect(),
            Kind::Template => {
                self.templates.keys().cloned().map(|(kind, name)| RecordKey::Template(kind, name)).collect()
            }
            Kind::Asset => self.assets.keys().cloned().map(RecordKey::Asset).collect(),
            Kind::Token => self.tokens.keys().cloned().map(RecordKey::Token).collect(),
            Kind::Settings => self.settings.iter().map(|_| RecordKey::Settings).collect(),
            Kind::Machine => self.machines.keys().cloned().map(RecordKey::Machine).collect(),
        };
        keys.into_iter()
    }
}
