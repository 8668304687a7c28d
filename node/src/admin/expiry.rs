//! What comes to its end: certificates of this node, those of clients, tokens; and how far a change of the CA is. Pure.

use raft::state::{CaRecord, CaStage, State};
use raft::types::Timestamp;
use serde::Serialize;

use super::clock::rfc3339;
use super::picture::{Trouble, trouble};
use crate::certs::Expiry;

const PAGE: &str = "docs/reference/security.md";
const DAY_MILLIS: u64 = 86_400_000;
/// From when on the end of a certificate is told.
const CERTIFICATE_DAYS: u64 = 30;
/// From when on it is urgent.
const URGENT_DAYS: u64 = 7;
/// From when on the end of a token is told.
const TOKEN_DAYS: u64 = 14;
/// How many clients' certificates and tokens are told of one by one.
const TOLD_MAX: usize = 20;

/// One certificate of this node, and how long it has.
#[derive(Debug, Serialize)]
pub(super) struct Remaining {
    #[serde(flatten)]
    certificate: Expiry,
    not_after: Option<String>,
    days_left: Option<i64>,
    /// `ok`, `expires` (within 30 days), `expires_soon` (7), `expired`, `unreadable`.
    state: &'static str,
}

/// How long each has.
pub(super) fn remaining(list: &[Expiry], now: Timestamp) -> Vec<Remaining> {
    let one = |certificate: &Expiry| Remaining {
        not_after: certificate.not_after.and_then(rfc3339),
        days_left: certificate.not_after.map(|end| days_left(end, now)),
        state: state_of(certificate, now),
        certificate: certificate.clone(),
    };
    list.iter().map(one).collect()
}

fn days_left(end: Timestamp, now: Timestamp) -> i64 {
    let days = |millis: u64| i64::try_from(millis / DAY_MILLIS).unwrap_or(i64::MAX);
    if end >= now { days(end.0 - now.0) } else { -days(now.0 - end.0 + DAY_MILLIS - 1) }
}

fn state_of(certificate: &Expiry, now: Timestamp) -> &'static str {
    match certificate.not_after {
        None => "unreadable",
        Some(end) if end <= now => "expired",
        Some(end) if end.0 - now.0 < URGENT_DAYS * DAY_MILLIS => "expires_soon",
        Some(end) if end.0 - now.0 < CERTIFICATE_DAYS * DAY_MILLIS => "expires",
        Some(_) => "ok",
    }
}

/// What somebody should look at.
pub(super) fn troubles(list: &[Expiry], state: &State, now: Timestamp) -> Vec<Trouble> {
    let mut told: Vec<Trouble> = list.iter().filter_map(|certificate| of_node(certificate, now)).collect();
    told.extend(of_clients(state, now).take(TOLD_MAX));
    told.extend(of_tokens(state, now).take(TOLD_MAX));
    told.extend(state.ca().filter(|record| record.stage != CaStage::Done).map(|record| of_ca(record, state)));
    told.into_iter().map(|trouble| trouble.see(PAGE)).collect()
}

fn of_node(certificate: &Expiry, now: Timestamp) -> Option<Trouble> {
    let Expiry { certificate: which, file, .. } = certificate;
    let file = file.display();
    let code = match state_of(certificate, now) {
        "ok" => return None,
        "unreadable" => {
            let problem = certificate.problem.clone().unwrap_or_default();
            let hint = "this node goes on with the one it has read before; put the file right before it restarts";
            return Some(trouble("certificate_unreadable", format!("{file} ({which}): {problem}"), hint));
        }
        "expired" => "certificate_expired",
        "expires_soon" => "certificate_expires_soon",
        _ => "certificate_expires",
    };
    let end = certificate.not_after?;
    let message = format!("the certificate {which} of this node ({file}) {}", in_words(end, now));
    let hint = match which.split('-').next().unwrap_or_default() {
        "ca" => "change the cluster's CA: `raftboot ca rotate`",
        _ if which.contains("client-ca") => "put its successor beside it in that file; it is read again by itself",
        "peer" => "this node renews it by itself: its log says what keeps it from that",
        _ => {
            "an own one: replace the file, it is read again by itself; a generated one is renewed by itself, the log says what keeps the node from it"
        }
    };
    Some(trouble(code, message, hint))
}

fn in_words(end: Timestamp, now: Timestamp) -> String {
    let when = rfc3339(end).unwrap_or_default();
    match days_left(end, now) {
        _ if end <= now => format!("has expired on {when}"),
        0 => format!("expires today, at {when}"),
        1 => format!("expires in one day, at {when}"),
        days => format!("expires in {days} days, at {when}"),
    }
}

fn of_clients(state: &State, now: Timestamp) -> impl Iterator<Item = Trouble> {
    let horizon = now.0.saturating_add(CERTIFICATE_DAYS * DAY_MILLIS);
    // One that has expired is of no use to anybody; it was told before.
    let ending = state
        .last_certificates()
        .filter(move |certificate| certificate.expires > now && certificate.expires.0 < horizon);
    ending.map(move |certificate| {
        let what = format!("the certificate of the client {} ({})", certificate.name, certificate.serial);
        let hint = "make a new one: `raftboot cert client NAME --role ROLE`; if it is not used any more: `raftboot cert revoke SERIAL`";
        trouble("client_certificate_expires", format!("{what} {}", in_words(certificate.expires, now)), hint)
    })
}

fn of_tokens(state: &State, now: Timestamp) -> impl Iterator<Item = Trouble> {
    let horizon = now.0.saturating_add(TOKEN_DAYS * DAY_MILLIS);
    let tokens = state.tokens().map(|stored| &stored.value);
    tokens.filter_map(move |token| {
        let end = token.expires.filter(|end| end.0 < horizon)?;
        let what = format!("the token {} ({})", token.name, token.id);
        let (code, hint) = if end <= now {
            ("token_expired", "delete it, `raftboot token delete ID`, or make a new one: `raftboot token create`")
        } else {
            (
                "token_expires",
                "make a new one, `raftboot token create`, give it to whoever uses it, and delete this one",
            )
        };
        Some(trouble(code, format!("{what} {}", in_words(end, now)), hint))
    })
}

fn of_ca(record: &CaRecord, state: &State) -> Trouble {
    let (said, what) = match record.stage {
        CaStage::Trust => (&record.trusting, "trust the new one"),
        _ => (&record.issuing, "have a certificate of the new one"),
    };
    let missing: Vec<&str> =
        state.members().filter(|member| !said.contains(&member.id)).map(|member| member.name.as_str()).collect();
    let message = if missing.is_empty() {
        format!("the cluster's CA is being changed: all nodes {what}")
    } else {
        format!("the cluster's CA is being changed: {} must {what} yet", missing.join(", "))
    };
    trouble("ca_rotation", message, "see `raftboot ca status` for the next step")
}

#[cfg(test)]
mod tests {
    use raft::command::{Command, Edit};
    use raft::state::{CaStep, Certificate, Role, Token};
    use raft::types::{Digest, LogIndex};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn in_days(days: u64) -> Timestamp {
        Timestamp(NOW.0 + days * DAY_MILLIS)
    }

    fn expiry(certificate: &str, not_after: Option<Timestamp>) -> Expiry {
        Expiry {
            certificate: certificate.into(),
            file: "/x.crt".into(),
            name: "n".into(),
            serial: "7f".into(),
            sha256: None,
            not_after,
            problem: not_after.is_none().then(|| "gone".into()),
        }
    }

    fn state(edits: Vec<Edit>) -> State {
        let mut state = State::default();
        let command = Command {
            actor: "test".into(),
            at: NOW,
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: edits.into_iter().map(Into::into).collect(),
            replace: Vec::new(),
            allow_ties: false,
        };
        state.apply(LogIndex(1), &command);
        state
    }

    fn codes(list: &[Expiry], state: &State) -> Vec<&'static str> {
        troubles(list, state, NOW).iter().map(|trouble| trouble.code).collect()
    }

    #[test]
    fn the_end_of_a_certificate_is_told_thirty_days_before_and_again_at_seven() {
        let list = [
            expiry("admin", Some(in_days(31))),
            expiry("grpc", Some(in_days(29))),
            expiry("peer", Some(in_days(6))),
            expiry("ca", Some(Timestamp(NOW.0 - 1))),
            expiry("admin-client-ca", None),
        ];
        let found = codes(&list, &State::default());
        assert_eq!(
            found,
            ["certificate_expires", "certificate_expires_soon", "certificate_expired", "certificate_unreadable"]
        );
        let days: Vec<_> = remaining(&list, NOW).into_iter().map(|one| one.days_left).collect();
        assert_eq!(days, [Some(31), Some(29), Some(6), Some(-1), None]);
    }

    #[test]
    fn clients_tokens_and_a_change_of_the_ca_are_told_too() {
        let client = |serial: &str, name: &str, revoked, expires| {
            Edit::PutCertificate(Certificate {
                serial: serial.into(),
                name: name.into(),
                role: None,
                expires,
                issuer: None,
                revoked,
                reason: String::new(),
            })
        };
        let token = |id: &str, expires| {
            let secret_sha256 = Digest([0; 32]);
            Edit::PutToken(Token { id: id.into(), name: "ci".into(), secret_sha256, role: Role::Read, expires })
        };
        let state = state(vec![
            client("01", "terraform", false, in_days(29)),
            client("02", "ci", true, in_days(29)),
            client("03", "monitoring", false, in_days(40)),
            // Its successor is there already.
            client("04", "backup", false, in_days(5)),
            client("05", "backup", false, in_days(400)),
            // Two that are not known by name are not one another's.
            client("06", "", false, in_days(8)),
            client("07", "", false, in_days(400)),
            token("a", None),
            token("b", Some(in_days(13))),
            token("c", Some(in_days(15))),
            token("d", Some(Timestamp(1))),
            Edit::StepCa(CaStep::Begin { old: Digest([1; 32]), new: Digest([2; 32]) }, false),
        ]);
        let told = troubles(&[], &state, NOW);
        let (clients, others) = told.split_at(2);
        assert!(clients.iter().all(|trouble| trouble.code == "client_certificate_expires"), "{clients:?}");
        let mut serials: Vec<_> =
            clients.iter().map(|trouble| ["(01)", "(06)"].map(|one| trouble.message.contains(one))).collect();
        serials.sort_unstable();
        assert_eq!(serials, [[false, true], [true, false]], "{clients:?}");
        let others: Vec<_> = others.iter().map(|trouble| trouble.code).collect();
        assert_eq!(others, ["token_expires", "token_expired", "ca_rotation"]);
    }
}
