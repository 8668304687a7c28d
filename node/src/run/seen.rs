//! Where the facts come from that others see of this node: its parts, asked when somebody looks.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::bind::Bound;
use crate::config::{Config, Listen};
use crate::observe::{DhcpCounts, Health, LastBackup, Rival, Source, VipHere};
use crate::{dhcp, log, vip};

/// `source` with what the parts of this node tell.
pub(super) fn source(source: Source, config: &Config, bound: &Bound, told: &vip::Reporter) -> Source {
    let (parts, counters) = (bound.health(), bound.dhcp.as_ref().map(dhcp::Sockets::counters));
    let (asked, told) = (told.clone(), told.clone());
    Source {
        health: Arc::new(move || parts_of(&parts, &asked)),
        vip: Arc::new(move || vip_here(told.status())),
        dhcp: Arc::new(move || counters.as_deref().map(dhcp_counts)),
        last_backup: LastBackup::open(&config.data_dir),
        log: Arc::new(log::recent),
        config: shown(config).into(),
        data_dir: Some(config.data_dir.clone()),
        ..source
    }
}

/// What was bound, and how it stands with the VIP now.
fn parts_of(bound: &[Health], vip: &vip::Reporter) -> Vec<Health> {
    let vip::Status { state, detail, .. } = vip.status();
    let state = match state {
        "none" => "off",
        "idle" | "claiming" | "held" => "ok",
        wrong => wrong,
    };
    let mut parts = bound.to_vec();
    parts.push(Health { name: "vip", state, detail });
    parts
}

fn vip_here(status: vip::Status) -> VipHere {
    let vip::Status { state, detail, held_since, rival } = status;
    let millis = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    VipHere {
        state: state.into(),
        detail,
        held_since: held_since.map(millis),
        rival: rival.map(|rival| Rival { who: rival.mac, at: millis(rival.since) }),
    }
}

fn dhcp_counts(counters: &dhcp::Counters) -> DhcpCounts {
    let silent: Vec<_> = counters.silences().collect();
    DhcpCounts {
        received: counters.received(),
        outcomes: vec![
            ("offered", counters.offers()),
            ("acknowledged", counters.acknowledgements()),
            ("silent", silent.iter().map(|(_, count)| count).sum()),
            ("malformed", counters.malformed()),
            ("unsent", counters.unsent()),
        ],
        silent,
    }
}

/// The configuration as it is in force: names of files, and nothing of what is in them.
fn shown(config: &Config) -> String {
    let mut text = String::new();
    let path = |path: &Path| path.display().to_string();
    let mut line = |key: &str, value: String| {
        let _infallible = writeln!(text, "{key} = {value}");
    };
    line("file", config.file.as_deref().map_or_else(|| "none".into(), path));
    line("data_dir", path(&config.data_dir));
    line("name", config.name.clone().unwrap_or_default());
    line("timing", format!("{:?}", config.timing).to_lowercase());
    line("fence", format!("{:?}", config.fence).to_lowercase());
    line("interface", config.interface.clone().unwrap_or_default());
    line("advertise", config.advertise.map(|address| address.to_string()).unwrap_or_default());
    line("peer_address", config.peer_address.clone().unwrap_or_default());
    line("loader_dirs", config.loader_dirs.iter().map(|dir| path(dir)).collect::<Vec<_>>().join(", "));
    line("listen.boot_http", config.boot_http.to_string());
    line("listen.admin", config.admin.to_string());
    line("listen.peer", config.peer.to_string());
    line("listen.tftp", listen(config.tftp, |address| address.to_string()));
    line("listen.dhcp", listen(config.dhcp, |()| "on".into()));
    line("listen.grpc", listen(config.grpc, |address| address.to_string()));
    if let Some(own) = &config.grpc_certificates {
        line("grpc.cert", path(&own.server.chain));
        line("grpc.key", path(&own.server.key));
        line("grpc.client_ca", path(&own.client_ca));
    }
    if let Some(own) = &config.certificate {
        line("tls.cert", path(&own.chain));
        line("tls.key", path(&own.key));
    }
    if let Some(signing) = &config.signing {
        line("boot.signing_key_ring", path(&signing.key_ring));
        line("boot.signing_passphrase_file", signing.passphrase_file.as_deref().map(path).unwrap_or_default());
    }
    line("tls.names", config.names.join(", "));
    line("log.format", if config.log.json { "json" } else { "human" }.into());
    line("log.level", config.log.filter.clone());
    text
}

fn listen<T>(listen: Listen<T>, at: impl Fn(T) -> String) -> String {
    match listen {
        Listen::Auto(address) => format!("auto ({})", at(address)),
        Listen::On(address) => at(address),
        Listen::Off => "off".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_shown_with_the_names_of_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("passphrase");
        std::fs::write(&secret, "S3CRET").unwrap();
        let written = format!(
            "name = \"node-a\"\n[listen]\ntftp = \"off\"\n[boot]\nsigning_key_ring = \"/k\"\nsigning_passphrase_file = \"{}\"\n",
            secret.display()
        );
        let text = shown(&Config::parse(&written).unwrap());
        for want in ["name = node-a\n", "listen.tftp = off\n", "listen.dhcp = auto (on)\n", "log.level = info\n"] {
            assert!(text.contains(want), "{want}: {text}");
        }
        assert!(text.contains(&*secret.to_string_lossy()) && !text.contains("S3CRET"), "{text}");
    }
}
