//! Fills the page for Prometheus: what is looked up when somebody asks, beside what was counted on the way.

use std::time::SystemTime;

use raft::Status;
use raft::peer::PeerView;
use raft::state::{NodeKind, State};

use super::{Source, millis};
use crate::metrics::{Page, counted, write_process};
use crate::replication::summary;

impl Source {
    /// All numbers of this node. `peers` is how a leader sees the other nodes. Looks at the disk; blocks.
    #[must_use]
    pub(super) fn page(&self, peers: &[PeerView]) -> Page {
        let mut page = Page::default();
        let (state, status) = (self.cluster.read(), self.cluster.status());
        self.node(&mut page, &state);
        self.consensus(&mut page, &status);
        self.peers(&mut page, &state, peers);
        self.vip(&mut page, &state);
        self.dhcp(&mut page);
        self.files(&mut page, &state);
        self.objects(&mut page, &state);
        counted::write(&mut page);
        write_process(&mut page, self.started);
        page
    }

    fn node(&self, page: &mut Page, state: &State) {
        page.labelled("raftboot_build_info", &[self.version], 1.0);
        page.number("raftboot_clock_timestamp_seconds", seconds(millis(SystemTime::now())));
        if let Some(member) = state.member(self.cluster.identity().node) {
            let kind = if member.kind == NodeKind::Witness { "witness" } else { "data" };
            page.labelled("raftboot_node_info", &[&member.name, &member.id.to_string(), kind], 1.0);
        }
        for part in (self.health)() {
            let runs = f64::from(u8::from(part.state == "ok"));
            page.labelled("raftboot_part_running", &[part.name], runs);
        }
        for certificate in (self.certificates)() {
            let ends = seconds(certificate.expires);
            page.labelled("raftboot_certificate_expiry_timestamp_seconds", &[&certificate.name], ends);
        }
        if let Some(at) = self.last_backup.get() {
            page.number("raftboot_last_backup_timestamp_seconds", seconds(at));
        }
    }

    fn consensus(&self, page: &mut Page, status: &Status) {
        let (lease, numbers) = (self.cluster.lease(), self.cluster.numbers());
        page.flag("raftboot_raft_is_leader", lease.leading.is_some());
        page.flag("raftboot_raft_has_leader", status.leader.is_some());
        page.flag("raftboot_raft_caught_up", status.caught_up);
        page.count("raftboot_raft_term", status.term);
        page.count("raftboot_raft_voters", status.voters.len() as u64);
        page.count("raftboot_raft_last_log_index", status.last_log.0);
        page.count("raftboot_raft_committed_index", numbers.committed);
        page.count("raftboot_raft_applied_index", status.applied.0);
        page.count("raftboot_raft_leader_changes_total", numbers.leader_changes);
        page.count("raftboot_raft_campaigns_total", numbers.campaigns);
        if let Some(acked) = lease.quorum_acked {
            page.number("raftboot_raft_quorum_ack_age_seconds", acked.elapsed().as_secs_f64());
        }
        page.spread("raftboot_raft_fsync_duration_seconds", &[], &numbers.syncs);
        page.count("raftboot_raft_proposals_total", numbers.proposals);
        page.count("raftboot_raft_proposals_failed_total", numbers.proposals_failed);
        page.count("raftboot_raft_proposals_in_flight", numbers.proposals_under_way);
        page.count("raftboot_raft_log_entries", numbers.log_entries);
        page.count("raftboot_raft_log_written_bytes_total", numbers.log_bytes_written);
        if let Some((bytes, age)) = numbers.snapshot {
            page.number("raftboot_raft_snapshot_age_seconds", age.as_secs_f64());
            page.count("raftboot_raft_snapshot_size_bytes", bytes);
        }
    }

    fn peers(&self, page: &mut Page, state: &State, peers: &[PeerView]) {
        let own = self.cluster.identity().node;
        for peer in peers.iter().filter(|peer| peer.id != own) {
            let name = state.member(peer.id).map_or_else(|| peer.id.to_string(), |member| member.name.clone());
            page.labelled("raftboot_raft_peer_reachable", &[&name], f64::from(u8::from(peer.is_alive())));
            if let Some(silent) = peer.silent_for_millis {
                page.labelled("raftboot_raft_peer_silent_seconds", &[&name], seconds(silent));
            }
            if let Some(lag) = peer.lag {
                page.labelled("raftboot_raft_peer_lag_entries", &[&name], lag as f64);
            }
        }
    }

    fn vip(&self, page: &mut Page, state: &State) {
        let vip = (self.vip)();
        page.flag("raftboot_vip_configured", state.vip().is_some());
        page.flag("raftboot_vip_held", vip.is_held());
        if let Some(since) = vip.held_since {
            page.number("raftboot_vip_held_since_timestamp_seconds", seconds(since));
        }
        page.flag("raftboot_vip_usable", vip.state != "unusable");
        page.flag("raftboot_vip_conflict", vip.state == "conflict");
    }

    fn dhcp(&self, page: &mut Page) {
        let Some(counts) = (self.dhcp)() else { return };
        page.count("raftboot_dhcp_received_total", counts.received);
        for (outcome, count) in counts.outcomes {
            page.labelled("raftboot_dhcp_packets_total", &[outcome], count as f64);
        }
        for (reason, count) in counts.silent {
            page.labelled("raftboot_dhcp_silent_total", &[reason], count as f64);
        }
    }

    fn files(&self, page: &mut Page, state: &State) {
        let (copies, copying) = (summary(state), self.replicator.status());
        let missing = copies.missing.get(&self.cluster.identity().node).copied().unwrap_or(0);
        page.count("raftboot_blobs", state.blobs().len() as u64);
        page.count("raftboot_blobs_size_bytes", state.blobs().map(|blob| blob.size).sum());
        page.count("raftboot_blobs_under_replicated", copies.under_replicated as u64);
        page.count("raftboot_blobs_missing", missing as u64);
        page.count("raftboot_blobs_quarantined", self.store.quarantined() as u64);
        page.count("raftboot_blobs_fetched_total", copying.pulled_blobs);
        page.count("raftboot_blobs_fetched_bytes_total", copying.pulled_bytes);
        page.count("raftboot_blobs_fetch_failures", copying.failures_in_row.into());
        page.count("raftboot_blobs_damaged_total", copying.damaged_blobs);
        if let Ok(room) = self.store.room() {
            page.count("raftboot_disk_free_bytes", room.free);
            page.count("raftboot_disk_reserve_bytes", room.reserve);
        }
    }

    fn objects(&self, page: &mut Page, state: &State) {
        for (kind, count) in [
            ("profile", state.profiles().len()),
            ("group", state.groups().len()),
            ("template", state.templates().len()),
            ("asset", state.assets_len()),
            ("machine", state.machines().len()),
            ("token", state.tokens().len()),
        ] {
            page.labelled("raftboot_objects", &[kind], count as f64);
        }
        let now = millis(SystemTime::now());
        let ends = state.tokens().filter_map(|stored| stored.value.expires).map(|expires| expires.0);
        if let Some(next) = ends.filter(|expires| *expires > now).min() {
            page.number("raftboot_token_next_expiry_timestamp_seconds", seconds(next));
        }
        let ends = state.last_certificates().map(|certificate| certificate.expires.0);
        if let Some(next) = ends.filter(|expires| *expires > now).min() {
            page.number("raftboot_client_certificate_next_expiry_timestamp_seconds", seconds(next));
        }
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use raft::types::{Digest, Timestamp};
    use raft::{Cluster, EngineKind, Options};

    use super::super::{Certificate, DhcpCounts, LastBackup, VipHere};
    use super::*;
    use crate::assets::Store;

    #[tokio::test]
    async fn what_other_parts_tell_is_on_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::open(Options::alone(folder.path().join("raft"), EngineKind::Memory)).unwrap();
        let store = Arc::new(Store::open(&folder.path().join("assets")).unwrap());
        let vip = VipHere { state: "conflict".into(), held_since: Some(1_795_254_847_500), ..VipHere::default() };
        let source = Source {
            vip: Arc::new(move || vip.clone()),
            dhcp: Arc::new(|| {
                Some(DhcpCounts { received: 3, outcomes: vec![("offered", 2)], silent: vec![("no_loader", 1)] })
            }),
            certificates: Arc::new(|| vec![Certificate { name: "admin".into(), expires: 1_800_000_000_000 }]),
            last_backup: LastBackup::open(folder.path()),
            ..Source::new(cluster.clone(), store)
        };
        let certificate = |serial: &str, revoked, seconds: u64| {
            raft::command::Edit::PutCertificate(raft::state::Certificate {
                serial: serial.into(),
                name: "terraform".into(),
                role: None,
                expires: Timestamp(seconds * 1000),
                issuer: None,
                revoked,
                reason: String::new(),
            })
        };
        // One with a successor, that successor, and one that ends later and is refused.
        let edits = [("01", false, 3_900_000_000), ("02", false, 4_000_000_000), ("03", true, 4_100_000_000)]
            .map(|(serial, revoked, seconds)| certificate(serial, revoked, seconds).into());
        let command = raft::command::Command {
            actor: "test".into(),
            at: Timestamp(1),
            idempotency_key: String::new(),
            fingerprint: Digest::of(b""),
            edits: edits.into(),
            replace: Vec::new(),
            allow_ties: false,
        };
        cluster.propose(command).await.unwrap();
        source.last_backup.note(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000));
        let peer = |id, silent_for_millis| PeerView { id, voter: true, silent_for_millis, lag: Some(7) };
        let text = source.page(&[peer(1, Some(0)), peer(2, Some(34_000)), peer(3, None)]).text();
        for line in [
            "raftboot_vip_held 1",
            "raftboot_vip_held_since_timestamp_seconds 1795254847.5",
            "raftboot_vip_conflict 1",
            "raftboot_vip_usable 1",
            "raftboot_dhcp_received_total 3",
            "raftboot_dhcp_packets_total{outcome=\"offered\"} 2",
            "raftboot_dhcp_silent_total{reason=\"no_loader\"} 1",
            "raftboot_certificate_expiry_timestamp_seconds{certificate=\"admin\"} 1800000000",
            "raftboot_client_certificate_next_expiry_timestamp_seconds 4000000000",
            "raftboot_last_backup_timestamp_seconds 1795000000",
            "raftboot_raft_peer_reachable{peer=\"2\"} 0",
            "raftboot_raft_peer_silent_seconds{peer=\"2\"} 34",
            "raftboot_raft_peer_lag_entries{peer=\"3\"} 7",
            "raftboot_raft_peer_reachable{peer=\"3\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("peer=\"1\"") && !text.contains("peer_silent_seconds{peer=\"3\"}"), "{text}");
        cluster.shutdown().await;
    }
}
