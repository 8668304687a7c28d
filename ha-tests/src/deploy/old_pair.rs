//! The pair of boot servers that a site had before: keepalived, dnsmasq and lsyncd themselves, and what answers as matchbox.

use super::container::Container;
use super::site::{Site, VIP};
use anyhow::{Context, Result};
use serde_json::json;

/// Their names, addresses and priorities, the usual ones, and what dnsmasq's unit is called there: Debian's own, or one of
/// the site's beside it.
const PAIR: [(&str, u8, u8, &str); 2] = [("boot-01", 21, 100, "dnsmasq"), ("boot-02", 22, 90, "dnsmasq-pxe")];
/// A machine that both know.
pub const MAC: &str = "52:54:00:20:00:01";
/// In place of matchbox, which is no Debian package: the product in matchbox's style, with matchbox's unit and directory.
const UNIT: &str = "[Unit]\nDescription=matchbox\n[Service]\nExecStart=/usr/bin/raftboot serve --config /etc/matchbox.toml\n\
    [Install]\nWantedBy=multi-user.target\n";
const CONFIG: &str = "data_dir = \"/var/lib/old\"\ninterface = \"host0\"\n[listen]\ndhcp = \"off\"\ntftp = \"off\"\n";
const DNSMASQ: &str = "port=0\ninterface=host0\nbind-interfaces\ndhcp-range=10.0.20.0,proxy\nenable-tftp\n\
    tftp-root=/usr/lib/ipxe\ndhcp-userclass=set:ipxe,iPXE\npxe-service=tag:#ipxe,x86PC,\"iPXE\",undionly.kpxe\n\
    pxe-service=tag:ipxe,x86PC,\"matchbox\",http://10.0.20.5:8080/boot.ipxe\n";
const DNSMASQ_UNIT: &str = "[Unit]\nDescription=dnsmasq\n[Service]\nExecStart=/usr/sbin/dnsmasq --keep-in-foreground \
    --conf-file=/etc/dnsmasq.d/pxe-boot.conf\n[Install]\nWantedBy=multi-user.target\n";
const LSYNCD: &str = "sync { default.rsync, source = \"/var/lib/matchbox/assets/\", target = \"/var/tmp/copy/\" }\n";

/// Starts the pair and waits until one of them has the address.
///
/// # Errors
/// When a part of it does not start.
pub fn start(site: &Site) -> Result<Vec<Container>> {
    let mut pair = Vec::new();
    for (name, last, priority, dnsmasq) in PAIR {
        let host = site.another_host(name, last)?;
        host.bring(&site.package, "root/raftboot.deb")?;
        host.write("etc/systemd/system/matchbox.service", UNIT)?;
        host.write("etc/matchbox.toml", CONFIG)?;
        host.write("etc/dnsmasq.d/pxe-boot.conf", DNSMASQ)?;
        if dnsmasq != "dnsmasq" {
            host.write(&format!("etc/systemd/system/{dnsmasq}.service"), DNSMASQ_UNIT)?;
        }
        host.write("etc/lsyncd/lsyncd.conf.lua", LSYNCD)?;
        host.write("etc/keepalived/keepalived.conf", &keepalived(priority))?;
        host.write("var/lib/matchbox/profiles/worker.json", &profile())?;
        host.write("var/lib/matchbox/groups/rack1-n1.json", &group("rack1-n1"))?;
        host.bash(&format!(
            "mkdir -p /var/lib/matchbox/assets /var/tmp/copy\n\
             head -c 100000 /dev/zero > /var/lib/matchbox/assets/vmlinuz\n\
             cp /var/lib/matchbox/assets/vmlinuz /var/lib/matchbox/assets/initrd\n\
             dpkg --install /root/raftboot.deb\n\
             systemctl daemon-reload\n\
             systemctl enable --now matchbox {dnsmasq} lsyncd keepalived\n\
             timeout 30 sh -c 'until curl -sfk https://127.0.0.1:8443/readyz; do sleep 0.2; done'\n\
             export RAFTBOOT_TOKEN_FILE=/var/lib/old/admin.token RAFTBOOT_CA_FILE=/var/lib/old/ca.crt\n\
             raftboot import matchbox /var/lib/matchbox\n\
             raftboot settings set script_style=matchbox",
        ))?;
        pair.push(host);
    }
    pair[0]
        .bash(&format!("timeout 30 sh -c 'until ip -4 address show | grep {VIP}/; do sleep 0.2; done'"))
        .context("keepalived takes the address")?;
    Ok(pair)
}

fn keepalived(priority: u8) -> String {
    format!(
        "vrrp_instance vip {{\n    state BACKUP\n    interface host0\n    virtual_router_id 51\n    priority {priority}\n    \
         virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n"
    )
}

fn profile() -> String {
    let boot = json!({"kernel": "/assets/vmlinuz", "initrd": ["/assets/initrd"], "args": ["console=ttyS0"]});
    json!({"id": "worker", "name": "worker", "boot": boot}).to_string()
}

/// The group of the one machine, as matchbox reads it from a file.
#[must_use]
pub fn group(name: &str) -> String {
    let metadata = json!({ "hostname": name });
    json!({"id": "rack1-n1", "name": name, "profile": "worker", "selector": {"mac": MAC}, "metadata": metadata})
        .to_string()
}
