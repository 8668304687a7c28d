//! The node's own facts as checked: no illegal value can be held here.
//!
//! Everything the nodes share lives in the replicated settings instead. `file` reads the TOML as written and collects
//! every mistake; this module turns what was written into what will be used, or lists all that is wrong with it.

mod choice;
mod file;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use file::Written;
use raft::state::Role;

pub use choice::{Fence, Timing};

/// Characters of a node's name; it becomes part of logs and answers.
const NAME_CHARS_MAX: usize = 63;
/// Where a node looks for its file when `--config` names none.
pub const CONFIG_FILE: &str = "/etc/raftboot/raftboot.toml";
/// Where a service run by root keeps its data.
pub const DATA_DIR: &str = "/var/lib/raftboot";
/// Boot files and scripts for machines; matchbox's port, so that kernel arguments in use keep working.
const BOOT_HTTP: &str = "0.0.0.0:8080";
/// The admin API; TLS only.
const ADMIN: &str = "0.0.0.0:8443";
/// RFC 1350 §4.
const TFTP: &str = "0.0.0.0:69";
/// Where the other nodes of the cluster connect; mutual TLS only.
const PEER: &str = "0.0.0.0:7443";
/// The service that clients of matchbox call; its port, so that their `endpoint` keeps working.
const GRPC: &str = "0.0.0.0:8081";
/// Debian's `ipxe` package puts its binaries here.
const LOADER_DIRS: [&str; 2] = ["/usr/lib/ipxe", "/boot"];

/// What one node needs to know about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file this was read from; `None` for the defaults.
    pub file: Option<PathBuf>,
    /// Log, state, blobs, certificates, the first token.
    pub data_dir: PathBuf,
    /// What the cluster calls this node; `None`: as it was called when it was founded or joined, else the host's name.
    pub name: Option<String>,
    /// How fast a lost leader is noticed; the same on every node.
    pub timing: Timing,
    /// What keeps a node from answering for the floating address when it may not.
    pub fence: Fence,
    /// The interface DHCP is served on; `None`: that of the default route.
    pub interface: Option<String>,
    /// The address machines are told to boot from; `None`: the interface's first.
    pub advertise: Option<Ipv4Addr>,
    /// Where boot loaders are looked for, first match wins.
    pub loader_dirs: Vec<PathBuf>,
    /// Where boot HTTP listens.
    pub boot_http: SocketAddr,
    /// Where the admin API listens.
    pub admin: SocketAddr,
    /// Where TFTP listens.
    pub tftp: Listen<SocketAddr>,
    /// Whether the DHCP ports, 67 and 4011, are opened; what is said there is a replicated setting.
    pub dhcp: Listen<()>,
    /// Where other nodes of the cluster connect.
    pub peer: SocketAddr,
    /// `host:port` that other nodes dial; `None`: the advertised address and the port of `peer`.
    pub peer_address: Option<String>,
    /// Where the gRPC service listens.
    pub grpc: Listen<SocketAddr>,
    /// Own certificates for the gRPC service instead of those of the cluster's CA.
    pub grpc_certificates: Option<GrpcCertificates>,
    /// An own certificate for the admin API instead of the generated one.
    pub certificate: Option<Certificate>,
    /// A CA whose clients the admin API lets in beside those of the cluster's.
    pub client_ca: Option<ClientCa>,
    /// The key that signs what machines fetch.
    pub signing: Option<SigningKey>,
    /// Further names and addresses the generated certificate is valid for.
    pub names: Vec<String>,
    /// How to log.
    pub log: Log,
}

/// Whether a privileged port is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen<T> {
    /// If it can be; otherwise the node says what it left out and how to get it.
    Auto(T),
    /// It must be, or the node does not start.
    On(T),
    /// Never.
    Off,
}

/// PEM files of a certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// An OpenPGP key ring, and what unlocks its first key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The key ring.
    pub key_ring: PathBuf,
    /// A file with the passphrase, for a key that has one.
    pub passphrase_file: Option<PathBuf>,
}

/// PEM files for the gRPC service, as matchbox has them in `/etc/matchbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCertificates {
    /// The server's chain and its key.
    pub server: Certificate,
    /// The CA whose client certificates are let in.
    pub client_ca: ClientCa,
}

/// A CA that is not the cluster's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCa {
    /// PEM certificates.
    pub file: PathBuf,
    /// What clients may do whose certificates say nothing about it; `None`: nothing.
    pub role: Option<Role>,
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One JSON object a line instead of text for people.
    pub json: bool,
    /// What to log, in `tracing`'s filter language.
    pub filter: String,
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line of the file, counted from 1; 0 when it concerns the file as a whole.
    pub line: usize,
    /// Which key, as a path.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct ConfigError {
    /// Which file.
    pub file: PathBuf,
    /// All mistakes, in the order of the file.
    pub mistakes: Vec<Mistake>,
}

impl ConfigError {
    fn text(&self) -> String {
        let mut text = format!("{}: {} cannot be used:", self.file.display(), count(self.mistakes.len()));
        for Mistake { line, key, message } in &self.mistakes {
            let place = if *line == 0 { String::new() } else { format!("line {line}: ") };
            let colon = if key.is_empty() { "" } else { ": " };
            text.push_str(&format!("\n  {place}{key}{colon}{message}"));
        }
        text
    }
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "one entry".into() } else { format!("{mistakes} entries") }
}

impl Config {
    /// Reads the file named on the command line, else `/etc/raftboot/raftboot.toml` if it exists, else the defaults.
    ///
    /// # Errors
    /// With every mistake of the file, or why it could not be read.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match named {
            Some(file) => file,
            None if Path::new(CONFIG_FILE).exists() => Path::new(CONFIG_FILE),
            None => return Ok(Self::default()),
        };
        let fail = |mistake| ConfigError { file: file.to_owned(), mistakes: vec![mistake] };
        let text = std::fs::read_to_string(file).map_err(|error| {
            fail(Mistake { line: 0, key: String::new(), message: format!("it cannot be read: {error}") })
        })?;
        let mut config = Self::parse(&text).map_err(|mistakes| ConfigError { file: file.to_owned(), mistakes })?;
        config.file = Some(file.to_owned());
        Ok(config)
    }

    /// Checks the text of a configuration file.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let mut written = Written::read(text)?;
        let default = Self::default();
        let tls = (written.text("tls.cert"), written.text("tls.key"));
        let config = Self {
            file: None,
            data_dir: written.text("data_dir").map_or(default.data_dir, PathBuf::from),
            name: written.text("name"),
            timing: Timing::read(&mut written),
            fence: Fence::read(&mut written),
            interface: written.text("interface"),
            advertise: written.parsed("advertise", "an IPv4 address such as 10.0.20.7"),
            loader_dirs: written
                .list("loader_dirs")
                .map_or(default.loader_dirs, |dirs| dirs.into_iter().map(PathBuf::from).collect()),
            boot_http: written
                .parsed("listen.boot_http", "an address and port such as 0.0.0.0:8080")
                .unwrap_or(default.boot_http),
            admin: written.parsed("listen.admin", "an address and port such as 0.0.0.0:8443").unwrap_or(default.admin),
            tftp: written.listen(
                "listen.tftp",
                default_tftp(),
                |text| text.parse().ok(),
                "an address and port such as 0.0.0.0:69",
            ),
            dhcp: written.listen("listen.dhcp", (), |text| (text == "on").then_some(()), "\"on\""),
            peer: written.parsed("listen.peer", "an address and port such as 0.0.0.0:7443").unwrap_or(default.peer),
            peer_address: written.text("peer_address"),
            grpc: written.listen(
                "listen.grpc",
                default_grpc(),
                |text| text.parse().ok(),
                "an address and port such as 0.0.0.0:8081",
            ),
            grpc_certificates: GrpcCertificates::read(&mut written),
            certificate: match tls {
                (Some(chain), Some(key)) => Some(Certificate { chain: chain.into(), key: key.into() }),
                (None, None) => None,
                (Some(_), None) => written.wrong("tls.cert", "needs `tls.key` beside it"),
                (None, Some(_)) => written.wrong("tls.key", "needs `tls.cert` beside it"),
            },
            signing: match (written.text("boot.signing_key_ring"), written.text("boot.signing_passphrase_file")) {
                (None, Some(_)) => {
                    written.wrong("boot.signing_passphrase_file", "needs `boot.signing_key_ring` beside it")
                }
                (key_ring, passphrase) => key_ring.map(|key_ring| SigningKey {
                    key_ring: key_ring.into(),
                    passphrase_file: passphrase.map(PathBuf::from),
                }),
            },
            client_ca: ClientCa::read(&mut written, "tls", None),
            names: written.list("tls.names").unwrap_or_default(),
            log: Log {
                json: written.choice("log.format", &["human", "json"]).is_some_and(|format| format == "json"),
                filter: written.text("log.level").unwrap_or(default.log.filter),
            },
        };
        config.check(&mut written);
        written.finish().map(|()| config)
    }

    fn check(&self, written: &mut Written<'_>) {
        if !self.data_dir.is_absolute() {
            written.wrong::<()>("data_dir", "must be an absolute path, such as /var/lib/raftboot");
        }
        if let Some(address) = self.advertise
            && (address.is_unspecified() || address.is_multicast() || address.is_broadcast())
        {
            written.wrong::<()>("advertise", "machines cannot reach that address: name one of this node's own");
        }
        if self.interface.as_deref().is_some_and(|name| name.is_empty() || name.len() > 15 || name.contains(['/', ' ']))
        {
            written.wrong::<()>("interface", "is no interface name: `ip link` lists them");
        }
        if self.name.as_deref().is_some_and(|name| !is_node_name(name)) {
            let message = "must be letters, digits, `.`, `-` and `_`, at most 63 of them and not only digits";
            written.wrong::<()>("name", message);
        }
        if self.peer_address.as_deref().is_some_and(|address| !is_dialled(address)) {
            written.wrong::<()>("peer_address", "must be what other nodes dial, such as 10.0.20.7:7443");
        }
        self.check_ports(written);
        if tracing_subscriber::EnvFilter::try_new(&self.log.filter).is_err() {
            written.wrong::<()>(
                "log.level",
                "is no log filter: write error, warn, info, debug or trace, or `info,raftboot::dhcp=debug`",
            );
        }
    }

    fn check_ports(&self, written: &mut Written<'_>) {
        let mut all =
            vec![("listen.boot_http", self.boot_http), ("listen.admin", self.admin), ("listen.peer", self.peer)];
        // What is not demanded makes room.
        if let Listen::On(address) = self.grpc {
            all.push(("listen.grpc", address));
        }
        for (at, (key, address)) in all.iter().enumerate() {
            if address.port() == 0 {
                written.wrong::<()>(key, "port 0 would be another one at every start: name a port");
            } else if let Some((other, _)) = all[..at].iter().find(|(_, other)| same_port(*other, *address)) {
                written.wrong::<()>(key, &format!("is the same port as `{other}`: give each its own"));
            }
        }
    }
}

/// What the cluster accepts as a name; only digits could be taken for an id.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(fits)
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `host:port` names a place that can be dialled.
fn is_dialled(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named = match host.parse::<IpAddr>() {
        Ok(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Err(_) => rustls_pki_types::DnsName::try_from(host).is_ok(),
    };
    named && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn same_port(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && overlap
}

impl GrpcCertificates {
    /// All three files, or none of them.
    fn read(written: &mut Written<'_>) -> Option<Self> {
        let keys = ["grpc.cert", "grpc.key", "grpc.client_ca"];
        let [chain, key, client_ca] = keys.map(|key| written.text(key));
        match (chain, key, client_ca) {
            (Some(chain), Some(key), Some(client_ca)) => {
                let file = PathBuf::from(client_ca);
                let client_ca =
                    ClientCa::read(written, "grpc", Some(Role::Operate)).unwrap_or(ClientCa { file, role: None });
                Some(Self { server: Certificate { chain: chain.into(), key: key.into() }, client_ca })
            }
            (None, None, None) => {
                // A role without a CA is a mistake.
                ClientCa::read(written, "grpc", None);
                None
            }
            some => {
                let there = [some.0.is_some(), some.1.is_some(), some.2.is_some()];
                let first = there.iter().position(|there| *there).unwrap_or_default();
                written.wrong(keys[first], "needs all of `grpc.cert`, `grpc.key` and `grpc.client_ca`")
            }
        }
    }
}

impl ClientCa {
    /// `tls.client_ca` and `tls.client_role`, or those of `grpc`.
    fn read(written: &mut Written<'_>, section: &str, unsaid: Option<Role>) -> Option<Self> {
        let role_key = format!("{section}.client_role");
        let role = written.choice(&role_key, &["none", "read", "operate", "admin"]);
        let Some(file) = written.text(&format!("{section}.client_ca")) else {
            return role.and_then(|_| written.wrong(&role_key, &format!("needs `{section}.client_ca` beside it")));
        };
        let role = match role.as_deref() {
            Some("read") => Some(Role::Read),
            Some("operate") => Some(Role::Operate),
            Some("admin") => Some(Role::Admin),
            Some(_) => None,
            None => unsaid,
        };
        Some(Self { file: file.into(), role })
    }
}

fn default_grpc() -> SocketAddr {
    GRPC.parse().expect("a constant socket address")
}

fn default_tftp() -> SocketAddr {
    TFTP.parse().expect("a constant socket address")
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            data_dir: default_data_dir(),
            name: None,
            timing: Timing::Lan,
            fence: Fence::Nftables,
            interface: None,
            advertise: None,
            loader_dirs: LOADER_DIRS.map(PathBuf::from).to_vec(),
            boot_http: BOOT_HTTP.parse().expect("a constant socket address"),
            admin: ADMIN.parse().expect("a constant socket address"),
            tftp: Listen::Auto(default_tftp()),
            dhcp: Listen::Auto(()),
            peer: PEER.parse().expect("a constant socket address"),
            peer_address: None,
            grpc: Listen::Auto(default_grpc()),
            grpc_certificates: None,
            certificate: None,
            client_ca: None,
            signing: None,
            names: Vec::new(),
            log: Log { json: false, filter: "info".into() },
        }
    }
}

/// `/var/lib/raftboot` for root, the user's own state directory for anyone else.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from(DATA_DIR);
    }
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let state = home("XDG_STATE_HOME").or_else(|| home("HOME").map(|dir| dir.join(".local/state")));
    state.map_or_else(|| PathBuf::from(DATA_DIR), |dir| dir.join("raftboot"))
}

/// The address part of a listener as machines or operators on this host reach it.
#[must_use]
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<(usize, String)> {
        Config::parse(text)
            .expect_err("the text is wrong")
            .into_iter()
            .map(|mistake| (mistake.line, mistake.key))
            .collect()
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(Config::parse("").expect("nothing is wrong"), Config::default());
    }

    #[test]
    fn every_key_is_read() {
        let config = Config::parse(
            "data_dir = \"/srv/rb\"\nname = \"node-a\"\ntiming = \"vm\"\nfence = \"lifetime\"\npeer_address = \"a.lab:7444\"\ninterface = \"eth1\"\nadvertise = \"10.0.20.7\"\nloader_dirs = [\"/opt/ipxe\"]\n\
             [listen]\nboot_http = \"10.0.20.7:8081\"\nadmin = \"127.0.0.1:9443\"\ntftp = \"off\"\ndhcp = \"on\"\npeer = \"10.0.20.7:7444\"\ngrpc = \"10.0.20.7:8082\"\n[grpc]\ncert = \"/gc\"\nkey = \"/gk\"\nclient_ca = \"/ga\"\nclient_role = \"read\"\n[boot]\nsigning_key_ring = \"/s\"\nsigning_passphrase_file = \"/p\"\n\
             [tls]\ncert = \"/c\"\nkey = \"/k\"\nnames = [\"boot.lab\"]\nclient_ca = \"/ta\"\nclient_role = \"admin\"\n[log]\nformat = \"json\"\nlevel = \"debug\"\n",
        )
        .expect("nothing is wrong");
        assert_eq!(config.data_dir, Path::new("/srv/rb"));
        assert_eq!(config.interface.as_deref(), Some("eth1"));
        assert_eq!(config.advertise, Some(Ipv4Addr::new(10, 0, 20, 7)));
        assert_eq!(config.loader_dirs, [Path::new("/opt/ipxe")]);
        assert_eq!(config.boot_http.port(), 8081);
        assert_eq!(config.admin.port(), 9443);
        assert_eq!(config.tftp, Listen::Off);
        assert_eq!(config.dhcp, Listen::On(()));
        assert_eq!(
            (config.name.as_deref(), config.timing, config.fence),
            (Some("node-a"), Timing::Vm, Fence::Lifetime)
        );
        assert_eq!((config.peer.port(), config.peer_address.as_deref()), (7444, Some("a.lab:7444")));
        assert_eq!(config.certificate, Some(Certificate { chain: "/c".into(), key: "/k".into() }));
        assert_eq!(config.names, ["boot.lab"]);
        assert_eq!(config.grpc, Listen::On(([10, 0, 20, 7], 8082).into()));
        let signing = SigningKey { key_ring: "/s".into(), passphrase_file: Some("/p".into()) };
        assert_eq!(config.signing, Some(signing));
        let server = Certificate { chain: "/gc".into(), key: "/gk".into() };
        assert_eq!(
            config.grpc_certificates,
            Some(GrpcCertificates { server, client_ca: ClientCa { file: "/ga".into(), role: Some(Role::Read) } })
        );
        assert_eq!(config.client_ca, Some(ClientCa { file: "/ta".into(), role: Some(Role::Admin) }));
        assert_eq!(config.log, Log { json: true, filter: "debug".into() });
    }

    #[test]
    fn all_mistakes_are_reported_together_with_their_lines() {
        let text = "data_dir = \"relative\"\nadvertise = 7\nadvertize = \"10.0.0.1\"\n[listen]\nadmin = \"nowhere\"\ntftp = \"maybe\"\n[tls]\ncert = \"/c\"\n";
        let want = [
            (1, "data_dir"),
            (2, "advertise"),
            (3, "advertize"),
            (5, "listen.admin"),
            (6, "listen.tftp"),
            (8, "tls.cert"),
        ];
        assert_eq!(mistakes(text), want.map(|(line, key)| (line, key.to_owned())));
    }

    #[test]
    fn text_that_is_not_toml_is_one_mistake_with_its_line() {
        assert_eq!(mistakes("data_dir = \"/x\"\nlisten = [\n")[0].0, 2);
    }

    #[test]
    fn one_port_for_two_services_is_refused() {
        assert_eq!(mistakes("[listen]\nadmin = \"127.0.0.1:8080\"\n"), [(2, "listen.admin".to_owned())]);
        assert_eq!(mistakes("[listen]\npeer = \"0.0.0.0:8443\"\n"), [(2, "listen.peer".to_owned())]);
        assert_eq!(mistakes("[listen]\npeer = \"0.0.0.0:0\"\n"), [(2, "listen.peer".to_owned())]);
    }

    #[test]
    fn certificates_for_grpc_come_together() {
        assert_eq!(mistakes("[grpc]\ncert = \"/c\"\nkey = \"/k\"\n"), [(2, "grpc.cert".to_owned())]);
        assert_eq!(mistakes("[grpc]\nclient_ca = \"/c\"\n"), [(2, "grpc.client_ca".to_owned())]);
        assert_eq!(mistakes("[tls]\nclient_role = \"read\"\n"), [(2, "tls.client_role".to_owned())]);
        assert_eq!(mistakes("[grpc]\nclient_role = \"read\"\n"), [(2, "grpc.client_role".to_owned())]);
        let foreign = Config::parse("[tls]\nclient_ca = \"/c\"\n").expect("nothing is wrong").client_ca;
        assert_eq!(foreign.expect("it is there").role, None, "a foreign CA alone gives nobody a right");
        assert!(Config::parse("[listen]\nboot_http = \"0.0.0.0:8081\"\n").is_ok(), "the default makes room");
        assert_eq!(
            mistakes("[listen]\nboot_http = \"0.0.0.0:8081\"\ngrpc = \"0.0.0.0:8081\"\n"),
            [(3, "listen.grpc".to_owned())]
        );
    }

    #[test]
    fn what_the_cluster_would_refuse_later_is_a_mistake_now() {
        for (text, key) in [
            ("name = \"7\"", "name"),
            ("name = \"a b\"", "name"),
            ("timing = \"fast\"", "timing"),
            ("fence = \"none\"", "fence"),
            ("peer_address = \"10.0.0.1\"", "peer_address"),
            ("peer_address = \"0.0.0.0:7443\"", "peer_address"),
            ("peer_address = \"a b:7443\"", "peer_address"),
            ("peer_address = \"host:0\"", "peer_address"),
        ] {
            assert_eq!(mistakes(text), [(1, key.to_owned())], "{text}");
        }
        assert!(Config::parse("name = \"rack1.node-2\"\npeer_address = \"[fd00::7]:7443\"").is_ok());
    }

    #[test]
    fn an_unknown_key_names_the_one_that_was_probably_meant() {
        let mistakes = Config::parse("interfase = \"eth0\"\n").expect_err("the key is unknown");
        assert!(mistakes[0].message.contains("`interface`"), "{mistakes:?}");
    }
}
