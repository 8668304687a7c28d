//! Takes every port before anything runs, so that a node that cannot serve has not begun to.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use raft::state::NodeKind;
use tracing::warn;

use super::signing;
use super::site::Site;
use crate::config::{Config, Listen};
use crate::{admin, boot, dhcp, grpc, https, tftp};

/// All sockets of a node, bound and silent.
pub(super) struct Bound {
    /// Nothing on a witness, which serves no machines.
    pub(super) boot_http: Option<boot::Server>,
    pub(super) admin: https::Listener,
    pub(super) grpc: Option<https::Listener>,
    pub(super) peers: TcpListener,
    pub(super) tftp: Option<tftp::Sockets>,
    pub(super) dhcp: Option<dhcp::Sockets>,
}

impl Bound {
    /// Binds what the configuration demands, and what it leaves open if it can be had.
    pub(super) fn bind(config: &Config, site: &Site, kind: NodeKind) -> anyhow::Result<Self> {
        let peers = peers(config.peer)?;
        let admin = https::bind(config.admin, &admin::SERVICE)?;
        if kind == NodeKind::Witness {
            return Ok(Self { boot_http: None, admin, grpc: None, peers, tftp: None, dhcp: None });
        }
        let signer = signing::open(config)?;
        if let Some(signer) = &signer {
            signing::report(signer);
        }
        let boot_http = Some(boot::bind(config.boot_http)?.signing(signer));
        let grpc = wanted("gRPC", "listen.grpc", config.grpc, |address| Ok(https::bind(address, &grpc::SERVICE)?))?;
        let tftp = wanted("TFTP", "listen.tftp", config.tftp, |address| Ok(tftp::Sockets::bind(&[address])?))?;
        let dhcp = wanted("DHCP", "listen.dhcp", config.dhcp, |()| {
            let interface = site.interface.clone();
            Ok(dhcp::Sockets::bind(&dhcp::SocketConfig { interface, ..dhcp::SocketConfig::default() })?)
        })?;
        Ok(Self { boot_http, admin, grpc, peers, tftp, dhcp })
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
        let left_out = || "not bound: switched off, a witness, or the log says why".to_owned();
        let boot_http = self.boot_http.as_ref().map(|server| one(server.local_addr()));
        let grpc = self.grpc.as_ref().map(|listener| one(listener.local_addr()));
        vec![
            part("dhcp", dhcp.is_some(), dhcp.unwrap_or_else(left_out)),
            part("tftp", tftp.is_some(), tftp.unwrap_or_else(left_out)),
            part("boot http", boot_http.is_some(), boot_http.unwrap_or_else(left_out)),
            part("admin api", true, one(self.admin.local_addr())),
            part("grpc", grpc.is_some(), grpc.unwrap_or_else(left_out)),
            part("peers", true, one(self.peers.local_addr())),
        ]
    }
}

/// The port for the other nodes. A node that is alone has it too: others join through it.
fn peers(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.with_context(|| {
        format!("the port for other nodes, {address}, cannot be had (`ss -ltnp` shows who has it): stop that program, or set `listen.peer`")
    })
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
