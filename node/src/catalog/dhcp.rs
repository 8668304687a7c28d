//! What DHCP asks: the settings in force, and what is known of one machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use raft::state::{DhcpMode, State};
use raft::types::Mac;
use tracing::{debug, info, warn};

use super::Catalog;
use super::gate::Pass;
use crate::dhcp::{
    Architecture, ClientUuid, Facts, HardwareAddress, MachineFacts, Mode, Outcome, Place, Port, Questions, Sighting,
    Silence, Stage, Turn,
};
use crate::metrics::counted;
use crate::sightings;
use crate::timeline::Who;
use crate::vip::View;

/// A file every Raspberry Pi boot directory holds: without one there is nothing to offer a Pi.
const RASPBERRY_PI_FILES: [&str; 2] = ["bootcode.bin", "start4.elf"];

impl Questions for Catalog {
    fn facts(&self) -> Arc<Facts> {
        let (state, view) = (self.cluster.read(), self.vip.get());
        let cached = self.dhcp_facts.load();
        if let Some((applied, seen, facts)) = cached.as_deref()
            && (*applied, *seen) == (state.applied(), view)
        {
            return facts.clone();
        }
        let facts = Arc::new(self.dhcp_facts_of(&state, view));
        self.dhcp_facts.store(Some(Arc::new((state.applied(), view, facts.clone()))));
        facts
    }

    fn machine(&self, mac: HardwareAddress, uuid: Option<ClientUuid>) -> Option<MachineFacts> {
        let state = self.cluster.read();
        let known = mac_of(mac).and_then(|mac| state.machine(&mac));
        let known = known.or_else(|| state.machine_of_uuid(&uuid?.to_string()))?;
        let policy = &known.policy;
        Some(MachineFacts {
            hold: policy.hold,
            boot_file: Some(policy.loader.clone()).filter(|loader| !loader.is_empty()),
            discovery_control: policy.discovery_control.then_some(true),
        })
    }

    fn seen(&self, sighting: Sighting) {
        self.log(&sighting);
        self.note_dhcp(&sighting);
        self.note_rival(&sighting);
        // What another node answers, that node records: three records of one packet would be two too many.
        let is_told_elsewhere = sighting.outcome == Outcome::Silent(Silence::OtherNodeAnswers);
        if sighting.stage == Stage::OperatingSystem || is_told_elsewhere {
            return;
        }
        let Some(mac) = mac_of(sighting.mac) else { return };
        self.sightings.seen(raft::state::Sighting {
            mac,
            uuid: sighting.uuid.map(|uuid| uuid.to_string()).unwrap_or_default(),
            serial: String::new(),
            arch: String::new(),
            address: sighting.address.as_ref().map(Ipv4Addr::to_string).unwrap_or_default(),
            at: sightings::now(),
        });
    }
}

impl Catalog {
    fn dhcp_facts_of(&self, state: &State, view: View) -> Facts {
        let settings = state.settings().map(|stored| stored.value.clone()).unwrap_or_default();
        let mut facts = Facts::proxy(self.site.address, self.site.http_port);
        facts.floating = view.address.map(|address| Place::new(address, self.site.http_port));
        facts.turn = self.turn(state, view);
        if settings.dhcp_mode == DhcpMode::Off {
            facts.mode = Mode::Off;
        }
        let chosen: BTreeMap<Architecture, String> =
            settings.loaders.iter().filter_map(|(class, loader)| Some((class.parse().ok()?, loader.clone()))).collect();
        facts.loaders.extend(chosen);
        facts.loaders.retain(|_, loader| self.loaders.get(loader).is_some() || state.asset(loader).is_some());
        facts.raspberry_pi = state
            .assets_from("")
            .any(|asset| asset.value.name.rsplit('/').next().is_some_and(|file| RASPBERRY_PI_FILES.contains(&file)));
        facts
    }

    /// A machine that asks for its boot file elsewhere has taken the offer of another boot server: one nobody knows of is a
    /// fault that looks like bad luck. On port 67 the server it names is the one that hands out addresses.
    fn note_rival(&self, sighting: &Sighting) {
        let Some(server) = sighting.chosen_server.filter(|_| sighting.port == Port::Boot) else { return };
        if sighting.outcome != Outcome::Silent(Silence::OtherServer) {
            return;
        }
        let state = self.cluster.read();
        let boots_at = |member: &raft::state::Member| member.boot.strip_prefix("http://").map(str::to_owned);
        let of_ours = |place: String| place.rsplit_once(':').is_some_and(|(host, _)| host == server.to_string());
        if state.vip() != Some(server) && !state.members().filter_map(|member| boots_at(member)).any(of_ours) {
            counted::dhcp_rival(server, std::time::SystemTime::now());
        }
    }

    /// This node's part in answering. While no holder is known the one committed last is the node to trust least: nodes
    /// that can see no leader pass it over, and so does it itself if it is cut off from them.
    fn turn(&self, state: &State, view: View) -> Turn {
        if view.address.is_some() && view.held_here {
            return Turn::Holder;
        }
        if view.reachable().is_some() {
            return Turn::Backup;
        }
        let nodes: Vec<u64> = state.data_nodes().map(|member| member.id).collect();
        let gone = view.address.and(state.vip_record()).map(|record| record.holder);
        let left: Vec<u64> = nodes.iter().copied().filter(|node| Some(*node) != gone).collect();
        match (nodes.len(), left.len()) {
            (0, _) => Turn::Alone,
            (_, 0) => Turn::Shared { this: self.node, nodes },
            _ => Turn::Shared { this: self.node, nodes: left },
        }
    }

    fn note_dhcp(&self, sighting: &Sighting) {
        let Some(mac) = mac_of(sighting.mac) else { return };
        let (now, address) = (sightings::now(), sighting.address.map(IpAddr::from));
        let (what, came_of_it) = match &sighting.outcome {
            _ if sighting.stage == Stage::OperatingSystem => return,
            // The node that answers notes it. Who it is must be known here too: its next steps may come to this node.
            Outcome::Silent(Silence::OtherNodeAnswers) => {
                if let Some(address) = address {
                    self.timeline.met(&mac, address, now);
                }
                return;
            }
            Outcome::Answered { boot_file, .. } => ("dhcp_answered", boot_file.as_deref().unwrap_or("no boot file")),
            Outcome::Silent(why) => ("dhcp_silent", why.name()),
        };
        let stage = if sighting.stage == Stage::Ipxe { "iPXE" } else { "firmware" };
        let architecture = sighting.architecture.map_or("unknown", Architecture::name);
        let detail = format!("{} of {stage}, {architecture}: {came_of_it}", sighting.message);
        self.timeline.note(Who { mac: Some(&mac), address }, what, &detail, now);
    }

    fn log(&self, sighting: &Sighting) {
        if sighting.stage == Stage::OperatingSystem {
            debug!(mac = %sighting.mac, request = sighting.message, "DHCP not meant for us");
            return;
        }
        if sighting.outcome == Outcome::Silent(Silence::OtherNodeAnswers) {
            // The node that answers says so; who wonders about this one finds a counter of that name, too.
            let (mac, message) = (&sighting.mac, sighting.message);
            debug!(%mac, request = message, why = Silence::OtherNodeAnswers.name(), "a network boot request was not answered here");
            return;
        }
        match self.dhcp_log.lock().unwrap_or_else(PoisonError::into_inner).ask(Instant::now()) {
            Pass::Suppress => return,
            Pass::Write(0) => {}
            Pass::Write(left_out) => {
                warn!(left_out, "so many network boot requests came in that they were not all logged")
            }
        }
        let (mac, message, stage) = (&sighting.mac, sighting.message, sighting.stage);
        let architecture = sighting.architecture.map_or("unknown", Architecture::name);
        match &sighting.outcome {
            Outcome::Answered { message: answer, boot_file } => {
                let boot_file = boot_file.as_deref().unwrap_or("-");
                info!(%mac, request = message, ?stage, architecture, ?answer, boot_file, "a network boot request was answered");
            }
            Outcome::Silent(why) => {
                info!(%mac, request = message, ?stage, architecture, why = why.name(), "a network boot request was not answered");
            }
        }
    }
}

fn mac_of(address: HardwareAddress) -> Option<Mac> {
    address.to_string().parse().ok()
}
