//! What the edits about certificates, the CA and the secrets of tokens do.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply::Step;
use super::certificates::{
    CERTIFICATE_KEPT_MILLIS, CERTIFICATES_MAX, CaRecord, CaStage, CaStep, Certificate, FormerSecret, TokenRotation,
};
use super::{Record, RecordKey, Token};
use crate::command::{Effect, Refusal, RefusalCode};
use crate::types::{Digest, Timestamp};

type Edited = Result<Effect, Box<Refusal>>;

fn refuse(code: RefusalCode, object: &str, message: &str, hint: &str) -> Box<Refusal> {
    Box::new(Refusal::new(code, object, "", message, hint))
}

impl Step<'_> {
    /// Remembers a certificate. Those whose end is long past make room; a revocation is never kept out by certificates
    /// that are only known.
    pub(super) fn put_certificate(&mut self, certificate: &Certificate) -> Edited {
        let now = self.at();
        let is_over = |end: Timestamp| end.0.saturating_add(CERTIFICATE_KEPT_MILLIS) <= now.0;
        let over: Vec<String> = self
            .state
            .certificates
            .values()
            .filter(|stored| is_over(stored.value.expires))
            .map(|stored| stored.value.serial.clone())
            .collect();
        for serial in over {
            self.state.certificates.remove(&serial);
            self.touched.insert(RecordKey::Certificate(serial));
        }
        let alike =
            self.state.certificates.values().filter(|stored| {
                stored.value.revoked == certificate.revoked && stored.value.serial != certificate.serial
            });
        if alike.count() >= CERTIFICATES_MAX {
            let what = if certificate.revoked { "revoked" } else { "known" };
            let message = format!("{CERTIFICATES_MAX} certificates are {what}, the most there may be");
            let hint =
                "forget some that have expired: `raftboot cert unrevoke`, or change the CA: `raftboot ca rotate`";
            let object = format!("certificate/{}", certificate.serial);
            return Err(refuse(RefusalCode::Conflict, &object, &message, hint));
        }
        let (effect, next) = self.stored(self.state.certificates.get(&certificate.serial), certificate);
        Ok(self.write(effect, Record::Certificate(next)))
    }

    /// One step of a change of the CA, if everything it builds on is done.
    pub(super) fn step_ca(&mut self, step: CaStep, force: bool) -> Edited {
        let next =
            self.next_ca(step, force).map_err(|(message, hint)| refuse(RefusalCode::Conflict, "ca", &message, hint))?;
        // A join token names the CA by which the cluster is known to whoever joins.
        if matches!((step, next.stage), (CaStep::Issue, _) | (CaStep::Back, CaStage::Trust)) {
            let ids: Vec<String> = self.state.join_tokens.keys().cloned().collect();
            for id in ids {
                self.state.join_tokens.remove(&id);
                self.touched.insert(RecordKey::JoinToken(id));
            }
        }
        Ok(self.write(Effect::Updated, Record::Ca(Arc::new(next))))
    }

    fn next_ca(&self, step: CaStep, force: bool) -> Result<CaRecord, (String, &'static str)> {
        let under_way = self.state.ca.as_deref().filter(|record| record.stage != CaStage::Done);
        match (step, under_way) {
            (CaStep::Begin { .. }, Some(_)) => Err((
                "a change of the CA is under way".into(),
                "see `raftboot ca status`; finish it, or go back: `raftboot ca rotate --back`",
            )),
            (CaStep::Begin { old, new }, None) => self.begin_ca(old, new),
            (CaStep::Adopt(own), _) => self.adopt_ca(own),
            (_, None) => Err(("no change of the CA is under way".into(), "begin one: `raftboot ca rotate`")),
            (CaStep::Issue, Some(record)) => {
                if record.stage != CaStage::Trust {
                    return Err(("certificates are issued by the new CA already".into(), "see `raftboot ca status`"));
                }
                self.all_have_said(&record.trusting, "trusts the new CA", force)?;
                Ok(CaRecord { stage: CaStage::Issue, ..record.clone() })
            }
            (CaStep::Finish, Some(record)) => {
                if record.stage != CaStage::Issue {
                    let hint = "let certificates be issued by the new CA first: `raftboot ca rotate`";
                    return Err(("the certificates of the nodes are of the old CA still".into(), hint));
                }
                self.all_have_said(&record.issuing, "has a certificate of the new CA", force)?;
                Ok(CaRecord { stage: CaStage::Done, ..record.clone() })
            }
            (CaStep::Back, Some(record)) if record.stage == CaStage::Issue => {
                Ok(CaRecord { stage: CaStage::Trust, ..record.clone() })
            }
            (CaStep::Back, Some(record)) if !record.issuing.is_empty() && !force => {
                let message = format!("nodes {:?} have certificates of the new CA still", record.issuing);
                Err((message, "wait a moment, then repeat it; see `raftboot ca status`"))
            }
            (CaStep::Back, Some(record)) => Ok(self.given_up(record)),
        }
    }

    fn begin_ca(&self, old: Digest, new: Digest) -> Result<CaRecord, (String, &'static str)> {
        if old == new {
            return Err(("the new CA is the old one".into(), "report this as a bug"));
        }
        if self.state.ca.as_deref().is_some_and(|record| record.new != old) {
            let hint = "the node that was asked has not followed the last change: ask another one";
            return Err(("the CA to be replaced is not the cluster's".into(), hint));
        }
        let empty = BTreeSet::new;
        Ok(CaRecord { stage: CaStage::Trust, old, new, since: self.at(), trusting: empty(), issuing: empty() })
    }

    fn adopt_ca(&self, own: Digest) -> Result<CaRecord, (String, &'static str)> {
        if self.state.members.len() > 1 {
            return Err(("the cluster has other nodes".into(), "change its CA by `raftboot ca rotate`"));
        }
        let old = self.state.ca.as_deref().map_or(own, |record| record.new);
        let (trusting, issuing) = (BTreeSet::new(), BTreeSet::new());
        Ok(CaRecord { stage: CaStage::Done, old, new: own, since: self.at(), trusting, issuing })
    }

    /// The record of a change that is given up: the old CA is the one that stays.
    fn given_up(&self, record: &CaRecord) -> CaRecord {
        let CaRecord { old, new, .. } = *record;
        let (trusting, issuing) = (BTreeSet::new(), BTreeSet::new());
        CaRecord { stage: CaStage::Done, old: new, new: old, since: self.at(), trusting, issuing }
    }

    fn all_have_said(&self, said: &BTreeSet<u64>, what: &str, force: bool) -> Result<(), (String, &'static str)> {
        let missing: Vec<String> = self
            .state
            .members
            .values()
            .filter(|member| !said.contains(&member.id))
            .map(|member| format!("{} ({})", member.name, member.id))
            .collect();
        if missing.is_empty() || force {
            return Ok(());
        }
        let hint = "bring these nodes back, or remove them; with --force they must join again";
        Err((format!("not every node has said that it {what}: {} is missing", missing.join(", ")), hint))
    }

    /// A node says how far it has followed.
    pub(super) fn report_ca(&mut self, node: u64, trusts: bool, issues: bool) -> Edited {
        let Some(record) = self.state.ca.clone().filter(|_| self.state.members.contains_key(&node)) else {
            return Ok(Effect::Unchanged);
        };
        let mut next = (*record).clone();
        let note = |set: &mut BTreeSet<u64>, is: bool| if is { set.insert(node) } else { set.remove(&node) };
        let changed = [note(&mut next.trusting, trusts), note(&mut next.issuing, issues)];
        if changed == [false, false] {
            return Ok(Effect::Unchanged);
        }
        Ok(self.write(Effect::Updated, Record::Ca(Arc::new(next))))
    }

    /// A token gets another secret; the one before stays good for a while.
    pub(super) fn rotate_token(&mut self, rotation: &TokenRotation) -> Edited {
        let Some(old) = self.state.tokens.get(&rotation.id).cloned() else {
            let object = format!("token/{}", rotation.id);
            let hint = "list what exists, then repeat with one of those names";
            return Err(refuse(RefusalCode::NotFound, &object, "there is none of that name", hint));
        };
        if old.value.secret_sha256 == rotation.secret_sha256 {
            return Ok(Effect::Unchanged);
        }
        self.drop_former_secret(&rotation.id);
        if rotation.former_until > self.at() {
            let former = FormerSecret {
                id: rotation.id.clone(),
                secret_sha256: old.value.secret_sha256,
                until: rotation.former_until,
            };
            self.write(Effect::Created, Record::FormerSecret(Arc::new(former)));
        }
        let token = Token { secret_sha256: rotation.secret_sha256, ..old.value.clone() };
        let (effect, next) = self.stored(Some(&old), &token);
        Ok(self.write(effect, Record::Token(next)))
    }

    /// With a token goes every secret it had.
    pub(super) fn drop_former_secret(&mut self, token: &str) {
        if self.state.former_secrets.remove(token).is_some() {
            self.touched.insert(RecordKey::FormerSecret(token.to_owned()));
        }
    }
}
