//! Who calls with a client certificate, and what they may do: asked for every request, so that what is revoked, expired
//! or of a CA that is gone is refused on connections that are open too.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raft::Cluster;
use raft::command::{Command, Edit, Guard, GuardedEdit};
use raft::state::{CERTIFICATES_MAX, Certificate, Role};
use raft::types::Digest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::certs::{Gate, Known, NotKnown, Origin, timestamp};
use crate::https::PeerCertificates;

/// Certificates that wait to be remembered; more come again with the next request.
const NOTICED_MAX: usize = 64;
/// A certificate made for a shorter time is not remembered: its end comes before anybody could revoke it.
const REMEMBERED_FROM: Duration = Duration::from_secs(2 * 86_400);

/// What holders of certificates without a role may do; `None`: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsaid {
    /// With one of the cluster's CA; there were no roles once.
    pub cluster: Option<Role>,
    /// With one of the other CA.
    pub other: Option<Role>,
}

/// Admits the callers of one port; cheap to clone.
#[derive(Clone)]
pub struct Callers {
    cluster: Cluster,
    gate: Arc<Gate>,
    unsaid: Unsaid,
    noticed: mpsc::Sender<Certificate>,
}

/// Somebody with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Name and serial number: `terraform/4a7f…`, for the log.
    pub name: String,
    /// The serial number.
    pub serial: String,
    /// What it may do.
    pub role: Role,
}

/// Why somebody with a certificate may not call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not good (any more).
    #[error(transparent)]
    NotKnown(#[from] NotKnown),
    /// It has been revoked.
    #[error("the certificate {0} has been revoked")]
    Revoked(String),
    /// It says no role, and without one nothing is allowed.
    #[error("the certificate {0} says no role")]
    NoRole(String),
}

impl Refused {
    /// In one word, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotKnown(NotKnown::Untrusted(_)) => "certificate_untrusted",
            Self::NotKnown(NotKnown::Expired) => "certificate_expired",
            Self::NotKnown(NotKnown::Unfit(_)) => "certificate_unfit",
            Self::Revoked(_) => "certificate_revoked",
            Self::NoRole(_) => "certificate_without_role",
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoRole(_) => {
                "let its issuer put `raftboot:read`, `raftboot:operate` or `raftboot:admin` into its subject's OU"
            }
            _ => "ask an administrator for another one: `raftboot cert client NAME --role ROLE`",
        }
    }
}

impl Callers {
    /// For a port with that gate. What is seen for the first time goes to `noticed`.
    #[must_use]
    pub fn new(cluster: Cluster, gate: Arc<Gate>, unsaid: Unsaid, noticed: mpsc::Sender<Certificate>) -> Self {
        Self { cluster, gate, unsaid, noticed }
    }

    /// Who called with these certificates.
    ///
    /// # Errors
    /// Why they may not.
    pub fn admit(&self, certificates: &PeerCertificates, now: SystemTime) -> Result<Holder, Refused> {
        let known = self.gate.know(&certificates.0, now)?;
        let Known { facts, origin, .. } = &*known;
        let name = if facts.name.is_empty() { "a certificate without a name" } else { &facts.name };
        let name = format!("{name}/{}", facts.serial);
        let state = self.cluster.read();
        let remembered = state.certificate(&facts.serial);
        if remembered.is_some_and(|stored| stored.value.revoked) {
            return Err(Refused::Revoked(name));
        }
        let unsaid = match origin {
            Origin::Cluster => self.unsaid.cluster,
            Origin::Other => self.unsaid.other,
        };
        let said = facts.role().map_err(NotKnown::from)?;
        let Some(role) = said.or(unsaid) else { return Err(Refused::NoRole(name)) };
        if remembered.is_none() && *origin == Origin::Cluster && facts.lifetime() >= REMEMBERED_FROM {
            // One that does not fit in comes again.
            let _full = self.noticed.try_send(remember(&known, role));
        }
        Ok(Holder { name, serial: facts.serial.clone(), role })
    }
}

fn remember(Known { facts, issuer, .. }: &Known, role: Role) -> Certificate {
    Certificate {
        serial: facts.serial.clone(),
        name: facts.name.clone(),
        role: Some(role),
        expires: facts.not_after,
        issuer: *issuer,
        revoked: false,
        reason: String::new(),
    }
}

/// Where certificates that are seen for the first time go.
#[must_use]
pub fn noticed() -> (mpsc::Sender<Certificate>, mpsc::Receiver<Certificate>) {
    mpsc::channel(NOTICED_MAX)
}

/// Puts them into the replicated state, where `raftboot cert list` finds them. One that cannot be put there is seen again.
///
/// `understood` says whether every node is of a version that knows such records: none is made while some may not.
pub async fn remember_all<Understood: Future<Output = bool>>(
    mut seen: mpsc::Receiver<Certificate>,
    cluster: Cluster,
    understood: impl Fn() -> Understood,
    stop: CancellationToken,
) {
    while let Some(Some(certificate)) = stop.run_until_cancelled(seen.recv()).await {
        let state = cluster.read();
        let full = || state.certificates().filter(|stored| !stored.value.revoked).count() >= CERTIFICATES_MAX;
        if state.certificate(&certificate.serial).is_some() || full() || !understood().await {
            continue;
        }
        let name = certificate.name.clone();
        let command = Command {
            actor: "node".into(),
            at: timestamp(SystemTime::now()),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            // Whoever has revoked it meanwhile is not undone.
            edits: vec![GuardedEdit { guard: Guard::Absent, edit: Edit::PutCertificate(certificate) }],
            replace: Vec::new(),
            allow_ties: false,
        };
        if let Some(Err(error)) = stop.run_until_cancelled(cluster.propose(command)).await {
            debug!(name, %error, "a client's certificate could not be remembered");
        }
    }
    stop.cancelled().await;
}
