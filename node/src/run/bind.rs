//! Takes every port before anything runs, so that a node that cannot serve has not begun to.

use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use tracing::warn;

use super::site::Site;
use crate::config::{Config, Listen};
use crate::{admin, boot, dhcp, tftp};

/// All sockets of a node, bound and silent.
pub(super) struct Bound {
    pub(super) boot_http: boot::Server,
    pub(super) admin: admin::Listener,
    pub(super) tftp: Option<tftp::Sockets>,
    pub(super) dhcp: Option<dhcp::Sockets>,
}

impl Bound {
    /// Binds what the configuration demands, and what it leaves open if it can be had.
    pub(super) fn bind(config: &Config, site: &Site) -> anyhow::Result<Self> {
        let boot_http = boot::bind(config.boot_http)?;
        let admin = admin::bind(config.admin)?;
        let tftp = wanted("TFTP", "listen.tftp", config.tftp, |address| Ok(tftp::Sockets::bind(&[address])?))?;
        let dhcp = wanted("DHCP", "listen.dhcp", config.dhcp, |()| {
            let interface = site.interface.clone();
            Ok(dhcp::Sockets::bind(&dhcp::SocketConfig { interface, ..dhcp::SocketConfig::default() })?)
        })?;
        Ok(Self { boot_http, admin, tftp, dhcp })
    }

    /// Which parts will run, for `status`.
    pub(super) fn health(&self) -> Vec<admin::Health> {
        let part =
            |name, runs: bool, detail: String| admin::Health { name, state: if runs { "ok" } else { "off" }, detail };
        let list =
            |addresses: Vec<SocketAddr>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let one = |address: io::Result<SocketAddr>| list(address.into_iter().collect());
        let dhcp = self.dhcp.as_ref().map(|sockets| list(sockets.addresses().collect()));
        let tftp = self.tftp.as_ref().map(|sockets| list(sockets.addresses()));
        let left_out = || "not bound: switched off, or the log says why".to_owned();
        vec![
            part("dhcp", dhcp.is_some(), dhcp.unwrap_or_else(left_out)),
            part("tftp", tftp.is_some(), tftp.unwrap_or_else(left_out)),
            part("boot http", true, one(self.boot_http.local_addr())),
            part("admin api", true, one(self.admin.local_addr())),
        ]
    }
}

/// A privileged port: demanded, welcome, or unwanted. What is left out is said once, with the way to get it.
fn wanted<T, S>(
    what: &str,
    key: &str,
    listen: Listen<T>,
    bind: impl FnOnce(T) -> anyhow::Result<S>,
) -> anyhow::Result<Option<S>> {
    match listen {
        Listen::Off => Ok(None),
        Listen::On(at) => {
            bind(at).map(Some).with_context(|| format!("{what} cannot be served although `{key}` demands it"))
        }
        Listen::Auto(at) => Ok(bind(at)
            .inspect_err(|error| {
                let reason = format!("{error:#}");
                warn!(reason, "{what} is left out; set `{key} = \"off\"` to be silent about it");
            })
            .ok()),
    }
}
