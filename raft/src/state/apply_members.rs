//! What the edits about the cluster itself do: nodes come and go, the VIP changes hands, copies of bytes are counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply::Step;
use super::members::{Announcement, Blob, JOIN_TOKENS_MAX, JoinToken, MEMBERS_MAX, Member, NewMember, VipRecord};
use super::{Record, RecordKey};
use crate::command::{Effect, Refusal, RefusalCode};
use crate::types::{Digest, LogIndex, Timestamp};

type Edited = Result<Effect, Box<Refusal>>;

fn refuse(code: RefusalCode, object: &str, message: &str, hint: &str) -> Box<Refusal> {
    Box::new(Refusal::new(code, object, "", message, hint))
}

impl Step<'_> {
    /// A node says who it is. The first one ever founds the roster; nobody else gets an id this way.
    pub(super) fn announce(&mut self, said: &Announcement) -> Edited {
        let object = format!("member/{}", said.id);
        let old = self.state.members.get(&said.id).cloned();
        if old.is_none() && self.state.roster.last_node > 0 {
            let message = "this node has been removed from the cluster, or was never one of it";
            return Err(refuse(RefusalCode::NotFound, &object, message, "wipe its data directory and let it join"));
        }
        self.check_name(&object, &said.name, Some(said.id))?;
        let next = Member {
            id: said.id,
            name: said.name.clone(),
            kind: said.kind,
            peer: said.peer.clone(),
            boot: said.boot.clone(),
            instance: old.as_ref().map_or([0; 16], |old| old.instance),
            replaces: old.as_ref().and_then(|old| old.replaces),
        };
        let effect = match old {
            Some(old) if *old == next => return Ok(Effect::Unchanged),
            Some(_) => Effect::Updated,
            None => {
                self.give_id(said.id);
                Effect::Created
            }
        };
        Ok(self.write(effect, Record::Member(Arc::new(next))))
    }

    fn check_name(&self, object: &str, name: &str, own: Option<u64>) -> Result<(), Box<Refusal>> {
        let other = self.state.members.values().find(|member| member.name == name && Some(member.id) != own);
        match other {
            // A node on its way to take another's place bears the same name until it has.
            Some(other)
                if own.is_some_and(|own| {
                    other.replaces == Some(own)
                        || self.state.members.get(&own).is_some_and(|member| member.replaces == Some(other.id))
                }) =>
            {
                Ok(())
            }
            Some(other) => {
                let message = format!("node {} is called `{name}` already", other.id);
                Err(refuse(RefusalCode::Conflict, object, &message, "set `name` in the configuration to another one"))
            }
            None => Ok(()),
        }
    }

    fn give_id(&mut self, id: u64) {
        self.state.roster.last_node = self.state.roster.last_node.max(id);
        self.touched.insert(RecordKey::Roster);
    }

    /// A node joins. One of the same name is replaced by it; whether that one is really gone, the leader has checked.
    pub(super) fn add_member(&mut self, new: &NewMember) -> Edited {
        if let Some(known) = self.state.members.values().find(|member| member.instance == new.instance) {
            let next = Member { peer: new.peer.clone(), boot: new.boot.clone(), ..(**known).clone() };
            let effect = if next == **known { Effect::Unchanged } else { Effect::Updated };
            return Ok(self.write(effect, Record::Member(Arc::new(next))));
        }
        let object = format!("member/{}", new.name);
        if self.state.members.len() >= MEMBERS_MAX {
            let message = format!("the cluster has {MEMBERS_MAX} nodes, the most there may be");
            return Err(refuse(RefusalCode::Conflict, &object, &message, "remove one that is gone first"));
        }
        let replaces: Vec<u64> =
            self.state.members.values().filter(|member| member.name == new.name).map(|member| member.id).collect();
        if replaces.len() > 1 {
            let message = format!("nodes {replaces:?} of that name are already taking each other's place");
            let hint = "wait until that is done, or remove the one that is gone";
            return Err(refuse(RefusalCode::Conflict, &object, &message, hint));
        }
        let id = self.state.roster.last_node + 1;
        self.give_id(id);
        let member = Member {
            id,
            name: new.name.clone(),
            kind: new.kind,
            peer: new.peer.clone(),
            boot: new.boot.clone(),
            instance: new.instance,
            replaces: replaces.first().copied(),
        };
        Ok(self.write(Effect::Created, Record::Member(Arc::new(member))))
    }

    /// A node goes, and with it every claim that it holds bytes.
    pub(super) fn remove_member(&mut self, id: u64) -> Edited {
        if !self.state.members.contains_key(&id) {
            return Ok(Effect::Unchanged);
        }
        if self.state.members.len() == 1 {
            let message = "it is the only node of this cluster";
            let hint = "stop it and remove its data directory instead";
            return Err(refuse(RefusalCode::Conflict, &format!("member/{id}"), message, hint));
        }
        self.state.members.remove(&id);
        self.touched.insert(RecordKey::Member(id));
        let replacing: Vec<Arc<Member>> =
            self.state.members.values().filter(|member| member.replaces == Some(id)).cloned().collect();
        for member in replacing {
            self.write(Effect::Updated, Record::Member(Arc::new(Member { replaces: None, ..(*member).clone() })));
        }
        let held: Vec<Digest> =
            self.state.blobs.values().filter(|blob| blob.replicas.contains(&id)).map(|blob| blob.digest).collect();
        self.withdraw(id, &held);
        Ok(Effect::Deleted)
    }

    pub(super) fn claim_vip(&mut self, holder: u64) -> Edited {
        if !self.state.members.contains_key(&holder) {
            let message = "only a node of the cluster can hold the VIP";
            return Err(refuse(RefusalCode::NotFound, "vip", message, "let the node join first"));
        }
        let orderly =
            self.state.vip.is_none_or(|before| before.released || (before.holder == holder && before.orderly));
        let record = VipRecord { holder, epoch: self.index(), released: false, orderly, since: self.at() };
        Ok(self.write(Effect::Updated, Record::Vip(record)))
    }

    /// Only the claim it is about is released: a later one stands.
    pub(super) fn release_vip(&mut self, holder: u64, epoch: LogIndex) -> Edited {
        match self.state.vip {
            Some(record) if record.holder == holder && record.epoch == epoch && !record.released => {
                Ok(self.write(Effect::Updated, Record::Vip(VipRecord { released: true, ..record })))
            }
            _ => Ok(Effect::Unchanged),
        }
    }

    /// A node has verified and synced copies. Bytes that were condemned are wanted again: whoever else still has a copy
    /// must say so anew, because it may just be removing it.
    pub(super) fn report_blobs(&mut self, node: u64, held: &[(Digest, u64)]) -> Edited {
        if !self.state.members.contains_key(&node) {
            let message = "only a node of the cluster can hold copies";
            return Err(refuse(RefusalCode::NotFound, &format!("member/{node}"), message, "let the node join first"));
        }
        let mut effect = Effect::Unchanged;
        for (digest, size) in held {
            let known = self.state.blobs.get(digest).filter(|blob| blob.condemned.is_none());
            let mut replicas = known.map_or_else(BTreeSet::new, |blob| blob.replicas.clone());
            if replicas.insert(node) {
                effect = Effect::Updated;
                let blob = Blob { digest: *digest, size: *size, replicas, condemned: None };
                self.write(effect, Record::Blob(Arc::new(blob)));
            }
        }
        Ok(effect)
    }

    /// A node has lost or removed its copies.
    pub(super) fn withdraw_blobs(&mut self, node: u64, lost: &[Digest]) -> Edited {
        Ok(if self.withdraw(node, lost) { Effect::Updated } else { Effect::Unchanged })
    }

    fn withdraw(&mut self, node: u64, lost: &[Digest]) -> bool {
        let mut changed = false;
        for digest in lost {
            let Some(blob) = self.state.blobs.get(digest).filter(|blob| blob.replicas.contains(&node)) else {
                continue;
            };
            changed = true;
            let mut blob = (**blob).clone();
            blob.replicas.remove(&node);
            // Nobody has it and nobody wants it: nothing is left to remember.
            if blob.replicas.is_empty() && !self.state.is_named(digest) {
                self.state.blobs.remove(digest);
                self.touched.insert(RecordKey::Blob(*digest));
            } else {
                self.write(Effect::Updated, Record::Blob(Arc::new(blob)));
            }
        }
        changed
    }

    /// Bytes that nothing names are to be removed; those named meanwhile stay.
    pub(super) fn condemn_blobs(&mut self, digests: &[Digest]) -> Edited {
        let mut effect = Effect::Unchanged;
        for digest in digests.iter().filter(|digest| !self.state.is_named(digest)).collect::<Vec<_>>() {
            let Some(blob) = self.state.blobs.get(digest).filter(|blob| blob.condemned.is_none()) else { continue };
            effect = Effect::Updated;
            let blob = Blob { condemned: Some(self.at()), ..(**blob).clone() };
            self.write(effect, Record::Blob(Arc::new(blob)));
        }
        Ok(effect)
    }

    /// A name must not lead to bytes that are being removed.
    pub(super) fn check_not_condemned(&self, name: &str, digest: &Digest) -> Result<(), Box<Refusal>> {
        if self.state.blobs.get(digest).is_some_and(|blob| blob.condemned.is_some()) {
            let message = "its bytes had no name for a long time and are being removed";
            return Err(refuse(RefusalCode::Conflict, &format!("asset/{name}"), message, "upload them again"));
        }
        Ok(())
    }

    pub(super) fn put_join_token(&mut self, token: &JoinToken) -> Edited {
        let now = self.at();
        let dead: Vec<String> = self
            .state
            .join_tokens
            .values()
            .filter(|stored| is_over(&stored.value, now))
            .map(|stored| stored.value.id.clone())
            .collect();
        for id in dead {
            self.state.join_tokens.remove(&id);
            self.touched.insert(RecordKey::JoinToken(id));
        }
        if self.state.join_tokens.len() >= JOIN_TOKENS_MAX && !self.state.join_tokens.contains_key(&token.id) {
            let message = format!("there are {JOIN_TOKENS_MAX} join tokens, the most there may be");
            return Err(refuse(
                RefusalCode::Conflict,
                "join-token",
                &message,
                "wait until some expire, or delete them",
            ));
        }
        let (effect, next) = self.stored(self.state.join_tokens.get(&token.id), token);
        Ok(self.write(effect, Record::JoinToken(next)))
    }
}

fn is_over(token: &JoinToken, now: Timestamp) -> bool {
    token.expires <= now
}
