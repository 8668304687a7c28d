//! Looks at the certificates of matchbox's gRPC API, to tell whether ours can go on with them and what to write for that.
//!
//! Nothing is copied: keys do not belong into replicated state. Every node needs the files on its own disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use serde::Serialize;

use crate::certs::{certificates, certified, provider};

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub file: PathBuf,
    /// Whether it can be used as it is.
    pub usable: bool,
    /// What it is, or what is wrong with it.
    pub message: String,
    /// What to do; empty for nothing.
    pub hint: String,
}

/// What is known of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One by one.
    pub findings: Vec<Finding>,
    /// What to do on every node, a command or a line of its configuration each; empty if they cannot be used.
    pub install: Vec<String>,
    /// Lines of the configuration; empty if they cannot be used.
    pub config: Vec<String>,
}

/// Where the instructions put the files.
const PLACE: &str = "/etc/raftboot/grpc";
/// A certificate that ends sooner than this is worth a word.
const SOON: Duration = Duration::from_secs(60 * 86_400);
/// A time that no certificate outlasts: the last second of the year 9999.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);

/// Looks at `ca.crt`, `server.crt`, `server.key` and, where they are, `client.crt` and `client.key` of a directory.
/// `endpoints` are the names and addresses by which clients will call the service.
#[must_use]
pub fn check(dir: &Path, endpoints: &[String], now: SystemTime) -> Report {
    let mut looking = Looking { dir, now, findings: Vec::new() };
    let roots = looking.authority();
    let server = looking.pair("server").is_some_and(|chain| match &roots {
        Some(roots) => looking.server(&chain, roots, endpoints),
        None => false,
    });
    if dir.join("client.crt").exists()
        && let (Some(chain), Some(roots)) = (looking.pair("client"), &roots)
    {
        looking.client(&chain, roots);
    }
    let Looking { findings, .. } = looking;
    if !server {
        return Report { findings, install: Vec::new(), config: Vec::new() };
    }
    let install = [("ca.crt", "0644"), ("server.crt", "0644"), ("server.key", "0600")]
        .map(|(name, mode)| format!("install -D -m {mode} {} {PLACE}/{name}", dir.join(name).display()));
    let config = [
        "[grpc]".to_owned(),
        format!("cert = \"{PLACE}/server.crt\""),
        format!("key = \"{PLACE}/server.key\""),
        format!("client_ca = \"{PLACE}/ca.crt\""),
    ];
    Report { findings, install: install.to_vec(), config: config.to_vec() }
}

type Chain = Vec<CertificateDer<'static>>;

struct Looking<'a> {
    dir: &'a Path,
    now: SystemTime,
    findings: Vec<Finding>,
}

impl Looking<'_> {
    fn say(&mut self, name: &str, usable: bool, message: impl Into<String>, hint: &str) {
        let file = self.dir.join(name);
        self.findings.push(Finding { file, usable, message: message.into(), hint: hint.to_owned() });
    }

    /// The CA that clients' certificates must be signed by.
    fn authority(&mut self) -> Option<Arc<RootCertStore>> {
        let chain = match certificates(&self.dir.join("ca.crt")) {
            Ok(chain) => chain,
            Err(what) => {
                self.say("ca.crt", false, what, "name the directory that matchbox's -ca-file lies in");
                return None;
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in chain {
            if let Err(error) = roots.add(certificate) {
                self.say("ca.crt", false, format!("it is no CA: {error}"), "make a new CA and new certificates");
                return None;
            }
        }
        self.say("ca.crt", true, format!("{} to trust", plural(roots.len(), "certificate")), "");
        Some(Arc::new(roots))
    }

    /// A certificate and the key beside it, if they belong together.
    fn pair(&mut self, name: &str) -> Option<Chain> {
        let (file, key) = (format!("{name}.crt"), format!("{name}.key"));
        let chain = match certificates(&self.dir.join(&file)) {
            Ok(chain) => chain,
            Err(what) => {
                self.say(&file, false, what, "name the directory that matchbox's -cert-file lies in");
                return None;
            }
        };
        if let Err(error) = certified(&self.dir.join(&file), &self.dir.join(&key), "make a new pair") {
            self.say(&key, false, error.to_string(), "");
            return None;
        }
        let mode = fs::metadata(self.dir.join(&key)).map_or(0, |meta| meta.permissions().mode());
        let hint = if mode & 0o007 == 0 { "" } else { "everybody on this host may read it: `chmod 0600` it" };
        self.say(&key, true, format!("it is the key of {file}"), hint);
        Some(chain)
    }

    fn server(&mut self, chain: &Chain, roots: &Arc<RootCertStore>, endpoints: &[String]) -> bool {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build();
        let Ok(verifier) = verifier else { return false };
        let verify = |name: &str, time| -> Result<(), Error> {
            let name = ServerName::try_from(name.to_owned()).map_err(|error| Error::General(error.to_string()))?;
            verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], time).map(drop)
        };
        // Nobody is called so, and the refusal lists the names that would have done.
        let names = match verify("name.invalid", self.today()) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => presented,
            Err(error) => {
                self.say("server.crt", false, self.words(&error), "make a new certificate for the server");
                return false;
            }
            Ok(()) => Vec::new(),
        };
        let missing: Vec<&str> = endpoints
            .iter()
            .map(|endpoint| host_of(endpoint))
            .filter(|host| verify(host, self.today()).is_err())
            .collect();
        let names: Vec<&str> = names.iter().map(|name| plain(name)).collect();
        let shown = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        if !missing.is_empty() {
            let message = format!("it is made for {shown}, not for {}", missing.join(", "));
            let hint = "clients refuse it by that name: make a new one that has it as subject alternative name (CN does not count)";
            self.say("server.crt", false, message, hint);
            return false;
        }
        let end = lifetime(|time| verify("name.invalid", time));
        let mut hint = self.soon(end).to_owned();
        if endpoints.is_empty() {
            hint = format!("see that clients call it by one of these, or say --endpoint NAME; {hint}");
        }
        let message = format!("for {shown}; {}", until(end));
        self.say("server.crt", true, message, hint.trim_end_matches("; "));
        true
    }

    fn client(&mut self, chain: &Chain, roots: &Arc<RootCertStore>) {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build();
        let Ok(verifier) = verifier else { return };
        let verify = |time| verifier.verify_client_cert(&chain[0], &chain[1..], time).map(drop);
        match verify(self.today()) {
            Ok(()) => {
                let end = lifetime(verify);
                self.say("client.crt", true, format!("clients may go on with it; {}", until(end)), self.soon(end));
            }
            Err(error) => self.say("client.crt", false, self.words(&error), "make a new certificate for clients"),
        }
    }

    fn today(&self) -> UnixTime {
        UnixTime::since_unix_epoch(self.now.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn soon(&self, end: Option<UnixTime>) -> &'static str {
        let left = end.map(|end| end.as_secs().saturating_sub(self.today().as_secs()));
        if left.is_some_and(|left| left < SOON.as_secs()) { "it ends soon: make a new one" } else { "" }
    }

    /// What a verifier found, in the words of whoever has to mend it.
    fn words(&self, error: &Error) -> String {
        let Error::InvalidCertificate(what) = error else { return error.to_string() };
        match what {
            CertificateError::ExpiredContext { not_after, .. } => format!("it ended on {}", date(*not_after)),
            CertificateError::NotValidYetContext { not_before, .. } => {
                format!("it is valid from {} on; is this host's clock right?", date(*not_before))
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => "ca.crt has not signed it".into(),
            CertificateError::InvalidPurposeContext { required, presented } => {
                let presented: Vec<String> = presented.iter().map(|purpose| format!("{purpose:?}")).collect();
                format!("its extended key usage is {}, not {required:?}", presented.join(", "))
            }
            other => other.to_string(),
        }
    }
}

/// When it ends, told by a verifier that is asked about a time after that.
fn lifetime(verify: impl Fn(UnixTime) -> Result<(), Error>) -> Option<UnixTime> {
    match verify(UnixTime::since_unix_epoch(END_OF_TIME)) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(not_after),
        _ => None,
    }
}

fn until(end: Option<UnixTime>) -> String {
    end.map_or_else(|| "it has no end".into(), |end| format!("valid until {}", date(end)))
}

/// `DnsName("matchbox.lab")` and `IpAddress(10.0.20.5)` without the words around them.
fn plain(presented: &str) -> &str {
    let inner = presented.strip_suffix(')').and_then(|rest| rest.split_once('(')).map(|(_, inner)| inner);
    inner.unwrap_or(presented).trim_matches('"')
}

/// `10.0.20.5:8081` is called 10.0.20.5.
fn host_of(endpoint: &str) -> &str {
    let host = match endpoint.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => endpoint,
    };
    // An IPv6 address without brackets has no port.
    let host = if host.contains(':') && !host.starts_with('[') { endpoint } else { host };
    host.trim_start_matches('[').trim_end_matches(']')
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `2026-11-25`, in the proleptic Gregorian calendar.
fn date(time: UnixTime) -> String {
    let days = time.as_secs() / 86_400;
    // Counted in years that begin in March, so that the leap day is the last one.
    let (era, day) = ((days + 719_468) / 146_097, (days + 719_468) % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let (month, year) = ((month_from_march + 2) % 12 + 1, era * 400 + year_of_era);
    let year = if month <= 2 { year + 1 } else { year };
    format!("{year}-{month:02}-{:02}", day_of_year - (153 * month_from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    /// A directory as matchbox has it; the server's names, its purpose and the year it ends.
    fn directory(names: &[&str], purpose: Purpose, end: i32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("the test's own set-up");
        let key = || KeyPair::generate().expect("the test's own set-up");
        let own: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = |names: Vec<String>| {
            let mut params = CertificateParams::new(names).expect("the test's own set-up");
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(end, 2, 28));
            params
        };
        let (ca_key, mut ca) = (key(), params(Vec::new()));
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.not_after = date_time_ymd(2060, 1, 1);
        let write = |name: &str, text: String| fs::write(dir.path().join(name), text).expect("the test's own set-up");
        write("ca.crt", ca.self_signed(&ca_key).expect("the test's own set-up").pem());
        let issuer = Issuer::from_params(&ca, &ca_key);
        for (name, names, purpose) in [("server", own, purpose), ("client", Vec::new(), Purpose::ClientAuth)] {
            let (leaf_key, mut leaf) = (key(), params(names));
            leaf.extended_key_usages = vec![purpose];
            let made = leaf.signed_by(&leaf_key, &issuer).expect("the test's own set-up");
            write(&format!("{name}.crt"), made.pem());
            write(&format!("{name}.key"), leaf_key.serialize_pem());
            fs::set_permissions(dir.path().join(format!("{name}.key")), fs::Permissions::from_mode(0o600))
                .expect("the test's own set-up");
        }
        dir
    }

    fn told(dir: &Path, endpoints: &[&str], year: u64) -> (Vec<String>, Report) {
        let endpoints: Vec<String> = endpoints.iter().map(|name| (*name).to_owned()).collect();
        let now = UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952 + 86_400);
        let report = check(dir, &endpoints, now);
        let shown = report.findings.iter().map(|finding| {
            let name = finding.file.file_name().expect("a file has a name").to_string_lossy();
            format!("{name} {}: {}; {}", finding.usable, finding.message, finding.hint)
        });
        (shown.collect(), report)
    }

    #[test]
    fn certificates_that_fit_come_with_what_to_write() {
        let dir = directory(&["10.0.20.5", "matchbox.lab"], Purpose::ServerAuth, 2040);
        let (told, report) = told(dir.path(), &["10.0.20.5:8081", "matchbox.lab"], 2030);
        assert_eq!(
            told,
            [
                "ca.crt true: 1 certificate to trust; ",
                "server.key true: it is the key of server.crt; ",
                "server.crt true: for 10.0.20.5, matchbox.lab; valid until 2040-02-28; ",
                "client.key true: it is the key of client.crt; ",
                "client.crt true: clients may go on with it; valid until 2040-02-28; ",
            ]
        );
        assert_eq!(report.config.len(), 4);
        assert!(report.install[2].starts_with("install -D -m 0600") && report.install[2].ends_with("/grpc/server.key"));
    }

    #[test]
    fn what_clients_would_refuse_is_said_beforehand() {
        struct Case(&'static [&'static str], Purpose, &'static [&'static str], u64, &'static str);
        let cases = [
            Case(&["10.0.20.6"], Purpose::ServerAuth, &["10.0.20.5"], 2030, "not for 10.0.20.5"),
            Case(&[], Purpose::ServerAuth, &["10.0.20.5"], 2030, "it is made for nobody, not for 10.0.20.5"),
            Case(&["a.lab"], Purpose::ClientAuth, &[], 2030, "its extended key usage is ClientAuth, not ServerAuth"),
            Case(&["a.lab"], Purpose::ServerAuth, &[], 2041, "it ended on 2040-02-28"),
            Case(&["a.lab"], Purpose::ServerAuth, &[], 2019, "it is valid from 2020-01-01 on"),
            Case(&["a.lab"], Purpose::ServerAuth, &["a.lab"], 2040, "it ends soon"),
        ];
        for Case(names, purpose, endpoints, year, want) in cases {
            let dir = directory(names, purpose, 2040);
            let (told, report) = told(dir.path(), endpoints, year);
            assert!(told.iter().any(|line| line.starts_with("server.crt") && line.contains(want)), "{want}: {told:#?}");
            assert_eq!(report.config.is_empty(), !want.contains("soon"), "{want}");
        }
    }

    #[test]
    fn files_that_do_not_belong_together_are_named() {
        let dir = directory(&["a.lab"], Purpose::ServerAuth, 2040);
        let path = |name: &str| dir.path().join(name);
        fs::set_permissions(path("server.key"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(told(dir.path(), &[], 2030).0.iter().any(|line| line.contains("everybody on this host may read it")));
        let other = directory(&["a.lab"], Purpose::ServerAuth, 2040);
        fs::copy(other.path().join("server.crt"), path("server.crt")).unwrap();
        assert!(told(dir.path(), &[], 2030).0.iter().any(|line| line.starts_with("server.key false")));
        fs::copy(other.path().join("server.key"), path("server.key")).unwrap();
        assert!(
            told(dir.path(), &[], 2030).0.iter().any(|line| line.contains("server.crt false: ca.crt has not signed"))
        );
        fs::write(path("ca.crt"), "hello").unwrap();
        assert!(told(dir.path(), &[], 2030).0[0].starts_with("ca.crt false: there is no certificate in it"));
        assert!(told(&path("nowhere"), &[], 2030).1.config.is_empty());
    }

    #[test]
    fn an_endpoint_is_called_by_its_host() {
        for (endpoint, host) in [
            ("10.0.20.5:8081", "10.0.20.5"),
            ("matchbox.lab", "matchbox.lab"),
            ("[fd00::5]:8081", "fd00::5"),
            ("fd00::5", "fd00::5"),
        ] {
            assert_eq!(host_of(endpoint), host);
        }
        for (days, want) in [(0, "1970-01-01"), (19_782, "2024-02-29"), (20_517, "2026-03-05")] {
            assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400 + 5))), want);
        }
    }
}
