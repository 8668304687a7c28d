//! Several nodes of the product as one cluster: founded, grown and shrunk by its own commands, watched from outside.

mod shape;
mod status;

use crate::admin::Admin;
use crate::evidence::Evidence;
use crate::fault::{Machine, Shared, locked};
use crate::lab::{Host, Lab};
use crate::mac::Mac;
use crate::node::{Node, PEER_PORT, READY_MAX, binary};
use crate::observer::{Observer, Question};
use crate::process::run;
use crate::wait::until;
use crate::writers::{Plan, Writers};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use shape::Shape;
pub use status::{MemberRow, Status};

/// The floating address of every cluster of the lab.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 100);
/// From the last start until everybody is a voter and says so: joining copies the log and the blobs.
pub const WHOLE_MAX: Duration = Duration::from_secs(60);
/// Where the first node is; the others follow.
const FIRST: u8 = 2;
/// Nodes observed even if they are not there yet.
const OBSERVED_MIN: usize = 3;
/// The host that administers.
const ADMIN: u8 = 202;
/// What is captured: the address that moves and the machines that boot, not the load.
const CAPTURED: &str = "arp or udp port 67 or udp port 68 or udp port 4011";
/// How every join token begins.
const TOKEN: &str = "rbj_";

/// One node of the cluster.
#[derive(Clone)]
pub struct Member {
    /// The process, for faults and for whoever looks after it.
    pub node: Shared<Node>,
    /// Where it runs.
    pub host: Host,
    /// Whether it only votes.
    pub witness: bool,
}

/// A running cluster. Ends in the order of its fields: nodes first, the lab last.
pub struct Cluster {
    members: Vec<Member>,
    /// A client that any node accepts.
    pub admin: Admin,
    admin_host: Host,
    /// What stays when the scenario fails.
    pub evidence: Evidence,
    lab: Lab,
}

impl Cluster {
    /// Founds a cluster and waits until every node is a voter.
    ///
    /// `small_disks` gives each node's data a disk of that many MiB, which a fault can fill.
    ///
    /// # Errors
    /// When a command of the product fails or the cluster does not become whole.
    pub fn found(name: &str, shape: Shape, small_disks: Option<u32>, repeat: &str) -> Result<Self> {
        let lab = Lab::new()?;
        let mut evidence = Evidence::new(name, repeat)?;
        evidence.capture_only(&lab, CAPTURED)?;
        let host = lab.host("node-2", FIRST)?;
        let mut node = Node::member(&host, &evidence)?;
        if let Some(mebibytes) = small_disks {
            node.use_small_disk(mebibytes)?;
        }
        let vip = VIP.to_string();
        let mut init = vec!["init", "--name", host.name(), "--vip", &vip];
        init.extend(shape.flag());
        let printed = node.offline(&init)?;
        let token = token_in(&printed)?;
        node.start()?;
        let read = |file: &str| {
            let path = node.data().join(file);
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            // A copy that is still there when the founder's disk is wiped.
            fs::write(evidence.file(file), &bytes).with_context(|| format!("keep {file}"))?;
            Ok::<_, anyhow::Error>(bytes)
        };
        let (secret, ca) = (read("admin.token")?, read("ca.crt")?);
        let admin_host = lab.host("admin", ADMIN)?;
        let admin = Admin::new(&admin_host, &String::from_utf8_lossy(&secret), &ca)?;
        let first = Member { node: Arc::new(Mutex::new(node)), host, witness: false };
        let mut cluster = Self { members: vec![first], admin, admin_host, evidence, lab };
        for witness in &shape.witnesses()[1..] {
            cluster.grow_with(&token, *witness, small_disks)?;
        }
        cluster.until_whole(WHOLE_MAX)?;
        Ok(cluster)
    }

    /// Adds a node with a fresh join token and waits until the cluster is whole; answers its index.
    ///
    /// # Errors
    /// When it does not become a voter.
    pub fn grow(&mut self, witness: bool) -> Result<usize> {
        let token = self.join_token()?;
        let index = self.grow_with(&token, witness, None)?;
        self.until_whole(WHOLE_MAX)?;
        Ok(index)
    }

    /// A token from the running cluster.
    ///
    /// # Errors
    /// When no node gives one.
    pub fn join_token(&self) -> Result<String> {
        let at = self.leader()?.context("no leader is known")?;
        token_in(&self.cli(at, &["join-token"])?)
    }

    fn grow_with(&mut self, token: &str, witness: bool, small_disks: Option<u32>) -> Result<usize> {
        let index = self.members.len();
        let last = FIRST + u8::try_from(index).context("few nodes")?;
        let host = self.lab.host(&format!("node-{last}"), last)?;
        let mut node = Node::member(&host, &self.evidence)?;
        if let Some(mebibytes) = small_disks {
            node.use_small_disk(mebibytes)?;
        }
        self.members.push(Member { node: Arc::new(Mutex::new(node)), host, witness });
        self.join(index, token)?;
        Ok(index)
    }

    /// Joins the node with this index, whose disk is empty, through a living other one, and starts it.
    ///
    /// # Errors
    /// When it is refused.
    pub fn join(&self, index: usize, token: &str) -> Result<()> {
        let through = self.living()?.into_iter().find(|at| *at != index).context("nobody is there to be joined")?;
        let member = &self.members[index];
        let address = format!("{}:{PEER_PORT}", self.members[through].host.address());
        let mut join = vec!["join", &address, "--token", token, "--name", member.host.name()];
        join.extend(member.witness.then_some("--witness"));
        let mut node = locked(&member.node);
        node.offline(&join)?;
        node.launch()
    }

    /// All nodes, the first is the founder.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The network.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The host that administers and holds no node.
    #[must_use]
    pub fn admin_host(&self) -> &Host {
        &self.admin_host
    }

    /// Takes a node out of this list, not out of the cluster: `leave` or `remove` did that.
    ///
    /// # Errors
    /// When it still runs and cannot be ended.
    pub fn forget(&mut self, index: usize) -> Result<()> {
        let member = self.members.remove(index);
        let mut node = locked(&member.node);
        if node.ended()? { Ok(()) } else { node.kill() }
    }

    /// Addresses of all nodes.
    #[must_use]
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.members.iter().map(|member| member.host.address()).collect()
    }

    /// Indexes of the nodes whose process runs.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn living(&self) -> Result<Vec<usize>> {
        let mut living = Vec::with_capacity(self.members.len());
        for (at, member) in self.members.iter().enumerate() {
            if !locked(&member.node).ended()? {
                living.push(at);
            }
        }
        Ok(living)
    }

    /// What one node says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self, at: usize) -> Result<Status> {
        self.admin.get(self.members[at].host.address(), "/status").map(Status)
    }

    /// Runs the client on the admin's host against one node.
    ///
    /// # Errors
    /// When it does not exit with 0; the message holds what it printed.
    pub fn cli(&self, at: usize, arguments: &[&str]) -> Result<String> {
        let mut command = self.admin_host.command(&binary()?.to_string_lossy());
        command.args(arguments);
        command.env("RAFTBOOT_SERVER", format!("https://{}:8443", self.members[at].host.address()));
        command.env("RAFTBOOT_TOKEN_FILE", self.evidence.file("admin.token"));
        command.env("RAFTBOOT_CA_FILE", self.evidence.file("ca.crt"));
        run(command).with_context(|| format!("raftboot {}", arguments.join(" ")))
    }

    /// The index of the node that all living ones call leader; `None` while they disagree or know none.
    ///
    /// # Errors
    /// Never because of a node that does not answer.
    pub fn leader(&self) -> Result<Option<usize>> {
        let mut names = Vec::new();
        for at in self.living()? {
            if let Ok(status) = self.status(at) {
                names.push(status.leader().and_then(|id| status.name_of(&id)));
            }
        }
        names.dedup();
        Ok(match names.as_slice() {
            [Some(name)] => self.index_of(name),
            _ => None,
        })
    }

    /// The index of the node with an Ethernet address, as the observer names it.
    ///
    /// # Errors
    /// When it is nobody of this cluster.
    pub fn index_of_mac(&self, mac: Mac) -> Result<usize> {
        let found = self.members.iter().position(|member| member.host.mac() == mac);
        found.with_context(|| format!("{mac} answers and is no node"))
    }

    fn index_of(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.host.name() == name)
    }

    /// Waits until every node is ready, a voter, has all it should have, and all name one leader and one log position.
    ///
    /// # Errors
    /// When that does not come within `limit`; the message says who lacks what.
    pub fn until_whole(&self, limit: Duration) -> Result<()> {
        let mut lacking = String::new();
        let whole = until("the cluster is whole", limit, || match self.wholeness() {
            Ok(()) => Ok(Some(())),
            Err(error) => {
                lacking = format!("{error:#}");
                Ok(None)
            }
        });
        whole.with_context(|| lacking)
    }

    fn wholeness(&self) -> Result<()> {
        let mut expected: Vec<&str> = self.members.iter().map(|member| member.host.name()).collect();
        expected.sort_unstable();
        let mut leaders = Vec::new();
        for (at, member) in self.members.iter().enumerate() {
            let name = member.host.name();
            let mut node = locked(&member.node);
            node.must_run()?;
            drop(node);
            let status = self.status(at).with_context(|| format!("{name} does not answer"))?;
            ensure!(status.ready(), "{name} is not ready");
            ensure!(status.voters() == expected, "{name} knows the voters {:?}", status.voters());
            let missing: u64 =
                status.members().iter().filter(|row| row.role == "voter").map(|row| row.replicas_missing).sum();
            ensure!(missing == 0, "{name} knows of {missing} blobs that are missing somewhere");
            leaders.push(status.leader().with_context(|| format!("{name} knows no leader"))?);
        }
        leaders.dedup();
        ensure!(leaders.len() == 1, "different leaders: {leaders:?}");
        Ok(())
    }

    /// Waits until the node with this index is ready again.
    ///
    /// # Errors
    /// When it ends or does not become ready.
    pub fn until_ready(&self, at: usize) -> Result<()> {
        locked(&self.members[at].node).until_ready(READY_MAX)
    }

    /// An observer of all nodes, a witness included, which must never answer, and of nodes still to come.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn observe(&self) -> Result<Observer> {
        let count = self.members.len().max(OBSERVED_MIN);
        let macs = (FIRST..).take(count).map(Host::mac_of).collect();
        Observer::start(&self.lab, Question::boot_services(VIP, macs))
    }

    /// Writers through every node.
    ///
    /// # Errors
    /// When their threads cannot be made.
    pub fn write(&self, plan: Plan) -> Result<Writers> {
        Writers::start(&self.admin, &self.addresses(), plan)
    }
}

/// The join token in what `init` or `join-token` printed, whichever format that was in.
fn token_in(printed: &str) -> Result<String> {
    let Some(at) = printed.find(TOKEN) else {
        bail!("there is no join token ({TOKEN}…) in:\n{printed}");
    };
    let is_token = |c: &char| c.is_ascii_alphanumeric() || "_-.+/=~".contains(*c);
    Ok(printed[at..].chars().take_while(is_token).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_text_and_json() {
        for printed in ["raftboot join 10.88.0.2:7443 --token rbj_aB-9_x\n", "{\"join\":\"… rbj_aB-9_x\",\"a\":1}"] {
            assert_eq!(token_in(printed).unwrap(), "rbj_aB-9_x");
        }
        assert!(token_in("founded already").is_err());
    }
}
