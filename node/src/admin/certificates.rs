//! Certificates of clients: issued, listed, revoked; and those that this node lives by.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use raft::command::Edit;
use raft::state::{self, Certificate, Role, Stored};
use raft::types::{Digest, LogIndex, Timestamp};
use serde::{Deserialize, Serialize};

use super::body::{Asked, Names, OBJECT_BYTES_MAX, blocking, json_text};
use super::error::{Answer, ApiError};
use super::list::{Page, page};
use super::write::Write;
use super::{Context, clock, expiry, json, versions, view};
use crate::certs::{self, ClientWish, Facts, LEAF_DAYS, Lifetime};

/// How many days a certificate may be good for.
const DAYS_MAX: u64 = 3650;
/// How long a revocation is kept whose certificate nobody has shown: longer than any of ours is good.
const UNKNOWN_END_MILLIS: u64 = DAYS_MAX * 86_400_000;
/// Characters of a client's name.
const NAME_CHARS_MAX: usize = 64;

/// What a list of certificates may be narrowed by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    limit: Option<usize>,
    cursor: Option<String>,
    /// Beginning of the serial number.
    prefix: String,
    revoked: Option<bool>,
}

/// A client's certificate as an answer shows it.
#[derive(Serialize)]
struct CertificateView {
    serial: String,
    name: String,
    role: Option<Role>,
    expires_at: Option<String>,
    expired: bool,
    issuer: Option<Digest>,
    revoked: bool,
    reason: String,
}

fn show(stored: &Stored<Certificate>) -> impl Serialize {
    let Certificate { serial, name, role, expires, issuer, revoked, reason } = stored.value.clone();
    let expired = expires <= clock::now();
    let expires_at = clock::rfc3339(expires);
    view::of(
        "certificate",
        stored,
        CertificateView { serial, name, role, expires_at, expired, issuer, revoked, reason },
    )
}

pub(super) async fn list(State(context): State<Context>, Asked(filter): Asked<Filter>) -> Answer<Response> {
    let state = context.cluster.read();
    let found = state.certificates().filter(|stored| {
        stored.value.serial.starts_with(&filter.prefix) && filter.revoked.is_none_or(|is| is == stored.value.revoked)
    });
    let asked = Page { limit: filter.limit, cursor: filter.cursor };
    page(asked, found, |stored| stored.value.serial.clone(), |stored| show(stored))
}

#[derive(Serialize)]
struct Own {
    node_id: u64,
    items: Vec<expiry::Remaining>,
}

/// The certificates that the node asked lives by.
pub(super) async fn own(State(context): State<Context>) -> Response {
    let items = expiry::remaining(&context.certificates.list(), clock::now());
    view::answer(&Own { node_id: context.cluster.identity().node, items })
}

/// For whom a certificate is to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    role: Role,
    /// Its public key, PEM (`PUBLIC KEY`); the private one stays where it is.
    public_key: String,
    days: Option<u64>,
}

#[derive(Serialize)]
struct Issued {
    index: LogIndex,
    effect: &'static str,
    serial: String,
    name: String,
    role: Role,
    expires_at: Option<String>,
    /// PEM.
    certificate: String,
    /// What to trust in order to trust this cluster's nodes, PEM.
    ca: String,
    warnings: [(); 0],
}

/// Issues a certificate by the cluster's CA for a key that stays with the caller.
pub(super) async fn issue(
    State(context): State<Context>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let write = write.without_key()?.without_guard()?;
    let wanted: Wanted = json::read(&json_text(&headers, body, OBJECT_BYTES_MAX).await?)?;
    versions::same(&context).await?;
    let fits = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    if wanted.name.trim().is_empty() || wanted.name.len() > NAME_CHARS_MAX || !wanted.name.chars().all(fits) {
        let message = format!("a client's name has 1 to {NAME_CHARS_MAX} letters, digits and signs");
        return Err(ApiError::unprocessable("invalid", message, "use one such as `terraform`").at("name"));
    }
    let days = wanted.days.unwrap_or(LEAF_DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        let message = format!("a certificate is good for 1 to {DAYS_MAX} days");
        return Err(ApiError::unprocessable("invalid", message, "leave it out for 820 days").at("days"));
    }
    let rotation = context.rotation.clone().ok_or_else(|| ApiError::internal("this node has no CA"))?;
    let (name, role, key) = (wanted.name.clone(), wanted.role, wanted.public_key);
    let (chain, ca, issuer) = blocking(move || {
        let broken = |error: certs::CertError| ApiError::internal(error);
        let authority = rotation.files().authority().map_err(broken)?;
        let wish = ClientWish { name: &name, role: Some(role), lifetime: Lifetime::Days(days) };
        let chain = certs::client_for(&authority, wish, &key, std::time::SystemTime::now());
        let hint = "send a public key as `openssl pkey -pubout` writes it: P-256, P-384, Ed25519 or RSA";
        let chain = chain.map_err(|error| ApiError::unprocessable("invalid", error, hint).at("public_key"))?;
        Ok((chain, authority.certificate().map_err(broken)?, authority.digest().map_err(broken)?))
    })
    .await?;
    let facts = of_pem(&chain)?;
    let certificate = Certificate {
        serial: facts.serial.clone(),
        name: facts.name,
        role: Some(wanted.role),
        expires: facts.not_after,
        issuer: Some(issuer),
        revoked: false,
        reason: String::new(),
    };
    let done = write.commit(&context, Edit::PutCertificate(certificate), Digest([0; 32]), |_| String::new()).await;
    let done = done.map_err(ApiError::unguarded)?;
    let issued = Issued {
        index: done.index,
        effect: "created",
        serial: facts.serial,
        name: wanted.name,
        role: wanted.role,
        expires_at: clock::rfc3339(facts.not_after),
        certificate: chain,
        ca,
        warnings: [],
    };
    Ok((StatusCode::CREATED, view::answer(&issued)).into_response())
}

fn of_pem(text: &str) -> Answer<Facts> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let read = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string());
    read.and_then(|der| Facts::read(&der)).map_err(|what| {
        let hint = "send a certificate as PEM (`-----BEGIN CERTIFICATE-----`), or leave it out";
        ApiError::unprocessable("invalid", format!("it is no certificate: {what}"), hint).at("certificate")
    })
}

/// What is known of a certificate to be revoked; all of it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Revocation {
    /// The certificate, PEM: says whose it is and how long the revocation must be kept.
    certificate: Option<String>,
    /// Why, for people.
    reason: String,
}

/// Refuses the holder of a certificate from now on, on every node.
pub(super) async fn revoke(
    State(context): State<Context>,
    Names(serial): Names<String>,
    write: Write,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let bytes = json_text(&headers, body, OBJECT_BYTES_MAX).await?;
    let wanted: Revocation = if bytes.is_empty() { Revocation::default() } else { json::read(&bytes)? };
    versions::same(&context).await?;
    let serial = read_serial(&serial)?;
    let facts = wanted.certificate.as_deref().map(of_pem).transpose()?;
    if let Some(facts) = facts.as_ref().filter(|facts| facts.serial != serial) {
        let message = format!("the certificate has the serial number {}, not {serial}", facts.serial);
        return Err(ApiError::unprocessable("invalid", message, "send the one that is meant").at("certificate"));
    }
    let edit = Edit::PutCertificate(revoked(&context.cluster.read(), serial, facts, wanted.reason));
    write.one(&context, edit, Digest::of(&bytes)).await
}

fn revoked(state: &state::State, serial: String, facts: Option<Facts>, reason: String) -> Certificate {
    let known = state.certificate(&serial).map(|stored| stored.value.clone());
    let unknown = Certificate {
        serial,
        name: String::new(),
        role: None,
        expires: Timestamp(clock::now().0.saturating_add(UNKNOWN_END_MILLIS)),
        issuer: None,
        revoked: true,
        reason: String::new(),
    };
    let mut certificate = known.unwrap_or(unknown);
    if let Some(facts) = facts {
        certificate.role = facts.role().ok().flatten().or(certificate.role);
        certificate.name = facts.name;
        certificate.expires = facts.not_after;
    }
    Certificate { revoked: true, reason: if reason.is_empty() { certificate.reason } else { reason }, ..certificate }
}

/// Accepts it again, or forgets one that is only known.
pub(super) async fn forget(
    State(context): State<Context>,
    Names(serial): Names<String>,
    write: Write,
) -> Answer<Response> {
    let edit = Edit::DeleteCertificate(read_serial(&serial)?);
    write.one(&context, edit, Digest::of(b"")).await
}

fn read_serial(text: &str) -> Answer<String> {
    certs::serial(text).ok_or_else(|| {
        let message = format!("`{}` is not a serial number", text.escape_debug());
        let hint = "write it as hexadecimal digits: `raftboot cert list` shows them";
        ApiError::bad_request("invalid_path", message, hint)
    })
}

/// Certificates still good that only this CA has issued.
pub(super) fn of_issuer(state: &state::State, issuer: &Digest, now: Timestamp) -> Vec<String> {
    let needed = state.certificates().map(|stored| &stored.value).filter(|certificate| {
        certificate.issuer.as_ref() == Some(issuer) && !certificate.revoked && certificate.expires > now
    });
    needed.map(|certificate| format!("{} ({})", certificate.name, certificate.serial)).collect()
}
