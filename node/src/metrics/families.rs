//! Every metric there is: name, kind, unit, labels and meaning. The reference page has the same table.

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins at 0 when the process starts.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How many there were up to each of some bounds.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it is measured in; empty for a plain number.
    pub unit: &'static str,
    /// Its labels; each has a handful of values.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const fn plain(name: &'static str, kind: Kind, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind, unit, labels: &[], help }
}

const fn by(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind, unit, labels, help }
}

use Kind::{Counter, Gauge, Histogram};

/// The table, in the order in which it is written.
pub const FAMILIES: &[Family] = &[
    // The node and its process.
    by("raftboot_build_info", Gauge, "", &["version"], "Always 1; the version is in the label."),
    by(
        "raftboot_node_info",
        Gauge,
        "",
        &["node", "id", "kind"],
        "Always 1; who this node is in its cluster is in the labels. No number while its cluster does not know it yet.",
    ),
    plain(
        "raftboot_clock_timestamp_seconds",
        Gauge,
        "seconds",
        "The node's wall clock when it was asked, in seconds since 1970.",
    ),
    by(
        "raftboot_part_running",
        Gauge,
        "",
        &["part"],
        "1 while a part of the node runs, 0 if it is switched off, was not bound or is in trouble: what `raftboot status` lists below the node.",
    ),
    by("raftboot_log_lines_total", Counter, "", &["level"], "Lines logged, after the filter of `log.level`."),
    plain("process_start_time_seconds", Gauge, "seconds", "When the process started, in seconds since 1970."),
    plain("process_cpu_seconds_total", Counter, "seconds", "Processor time the process has used."),
    plain("process_resident_memory_bytes", Gauge, "bytes", "Memory the process has in RAM."),
    plain("process_open_fds", Gauge, "", "Open file descriptors."),
    plain("process_max_fds", Gauge, "", "How many file descriptors may be open."),
    plain("process_threads", Gauge, "", "Threads of the process."),
    // Raft.
    plain("raftboot_raft_is_leader", Gauge, "", "1 on the node that leads."),
    plain(
        "raftboot_raft_has_leader",
        Gauge,
        "",
        "1 while this node hears a leader, or is one that a quorum answers; without one no change is taken.",
    ),
    plain(
        "raftboot_raft_caught_up",
        Gauge,
        "",
        "1 once everything that was answered before the start is applied again.",
    ),
    plain("raftboot_raft_term", Gauge, "", "The term of the last leader known."),
    plain("raftboot_raft_voters", Gauge, "", "How many nodes vote."),
    plain("raftboot_raft_last_log_index", Gauge, "", "The last log entry on this node."),
    plain("raftboot_raft_committed_index", Gauge, "", "The last log entry this node knows to be committed."),
    plain("raftboot_raft_applied_index", Gauge, "", "The last log entry that is part of this node's state."),
    plain("raftboot_raft_leader_changes_total", Counter, "", "How often this node saw another leader than before."),
    plain("raftboot_raft_campaigns_total", Counter, "", "How often this node stood for election."),
    plain(
        "raftboot_raft_quorum_ack_age_seconds",
        Gauge,
        "seconds",
        "On the leader: how long ago something was sent that a quorum has answered since. On other nodes no number.",
    ),
    plain(
        "raftboot_raft_fsync_duration_seconds",
        Histogram,
        "seconds",
        "How long writes took that must be on the disk before they are acknowledged.",
    ),
    plain("raftboot_raft_proposals_total", Counter, "", "Changes proposed through this node, its own included."),
    plain(
        "raftboot_raft_proposals_failed_total",
        Counter,
        "",
        "Those that came to nothing, or whose outcome is unknown.",
    ),
    plain("raftboot_raft_proposals_in_flight", Gauge, "", "Those without an answer yet."),
    plain("raftboot_raft_log_entries", Gauge, "", "Log entries on the disk."),
    plain("raftboot_raft_log_written_bytes_total", Counter, "bytes", "Bytes of log entries written."),
    plain(
        "raftboot_raft_snapshot_age_seconds",
        Gauge,
        "seconds",
        "Age of the last snapshot of the state. No number before the first one.",
    ),
    plain("raftboot_raft_snapshot_size_bytes", Gauge, "bytes", "Its size."),
    by(
        "raftboot_raft_peer_reachable",
        Gauge,
        "",
        &["peer"],
        "On the leader: 1 for each other node that has answered within two seconds, else 0.",
    ),
    by(
        "raftboot_raft_peer_silent_seconds",
        Gauge,
        "seconds",
        &["peer"],
        "On the leader: how long ago each other node answered last. No number for one that has not answered this leader yet.",
    ),
    by(
        "raftboot_raft_peer_lag_entries",
        Gauge,
        "",
        &["peer"],
        "On the leader: log entries that each other node lacks.",
    ),
    // The VIP.
    plain("raftboot_vip_configured", Gauge, "", "1 if the cluster has a VIP."),
    plain("raftboot_vip_held", Gauge, "", "1 while this node answers for the VIP."),
    plain(
        "raftboot_vip_held_since_timestamp_seconds",
        Gauge,
        "seconds",
        "Since when it does, in seconds since 1970. No number while it does not.",
    ),
    plain(
        "raftboot_vip_usable",
        Gauge,
        "",
        "0 if this node could not hold the VIP: no interface, no rights, no nftables, or somebody put the address there. 1 otherwise.",
    ),
    plain("raftboot_vip_conflict", Gauge, "", "1 while somebody else answers for the VIP that this node is to take."),
    plain("raftboot_vip_claims_total", Counter, "", "How often this node led and claimed the VIP."),
    plain("raftboot_vip_takes_total", Counter, "", "How often it began to answer for it."),
    by("raftboot_vip_releases_total", Counter, "", &["reason"], "How often it let go of it, and why."),
    plain(
        "raftboot_vip_fence_closed_total",
        Counter,
        "",
        "How often the kernel had muted this node before it renewed its lease.",
    ),
    plain("raftboot_vip_fence_reopened_total", Counter, "", "How often the fence was opened again after that."),
    plain(
        "raftboot_vip_renew_gap_max_seconds",
        Gauge,
        "seconds",
        "The longest time between two renewals of the lease since the start; 0.05 is meant, at 0.2 the kernel mutes the node (with the timing `lan`).",
    ),
    plain(
        "raftboot_vip_foreign_claims_total",
        Counter,
        "",
        "How often somebody else said to have the VIP while this node held it.",
    ),
    plain(
        "raftboot_vip_probe_conflicts_total",
        Counter,
        "",
        "How often somebody else answered for the VIP when this node was to take it.",
    ),
    // DHCP.
    plain("raftboot_dhcp_received_total", Counter, "", "DHCP packets that came in."),
    by("raftboot_dhcp_packets_total", Counter, "", &["outcome"], "What became of them."),
    by(
        "raftboot_dhcp_silent_total",
        Counter,
        "",
        &["reason"],
        "Requests not answered, and why: the reasons are those of a machine's timeline.",
    ),
    plain(
        "raftboot_dhcp_rival_packets_total",
        Counter,
        "",
        "Requests on port 4011 for a boot server that is none of this cluster.",
    ),
    // TFTP.
    by("raftboot_tftp_transfers_total", Counter, "", &["outcome"], "Transfers that have ended, and how."),
    by("raftboot_tftp_refused_total", Counter, "", &["reason"], "Requests that got no transfer, and why."),
    plain("raftboot_tftp_taken_over_total", Counter, "", "Transfers of another node that went on here."),
    plain(
        "raftboot_tftp_sent_bytes_total",
        Counter,
        "bytes",
        "Bytes that clients have acknowledged, counted when a transfer ends.",
    ),
    plain(
        "raftboot_tftp_blocks_resent_total",
        Counter,
        "",
        "Blocks sent more than once, counted when a transfer ends.",
    ),
    plain("raftboot_tftp_transfers_active", Gauge, "", "Transfers under way."),
    // Boot HTTP.
    by(
        "raftboot_boot_http_requests_total",
        Counter,
        "",
        &["path", "code"],
        "Requests of machines by what they asked for and the class of the answer. The node's look at itself, once a second, counts as other.",
    ),
    plain(
        "raftboot_boot_http_request_duration_seconds",
        Histogram,
        "seconds",
        "From a request to the head of its answer; the bytes of a file come after that.",
    ),
    plain("raftboot_boot_http_sent_bytes_total", Counter, "bytes", "Bytes of answers handed to the network."),
    plain("raftboot_boot_http_connections_active", Gauge, "", "Connections of machines."),
    plain(
        "raftboot_boot_http_connections_refused_total",
        Counter,
        "",
        "Connections closed because the client had its share.",
    ),
    // Operators and their programs.
    by(
        "raftboot_admin_requests_total",
        Counter,
        "",
        &["code"],
        "Requests to the admin API by class of the answer, scrapes included.",
    ),
    by(
        "raftboot_admin_refused_callers_total",
        Counter,
        "",
        &["reason"],
        "Callers of the admin API that were turned away.",
    ),
    by("raftboot_grpc_requests_total", Counter, "", &["code"], "gRPC calls: `ok`, or `error` for every other status."),
    by(
        "raftboot_tls_handshakes_failed_total",
        Counter,
        "",
        &["service"],
        "TLS handshakes that came to nothing, port scans included.",
    ),
    // Files.
    plain("raftboot_blobs", Gauge, "", "Files the cluster knows by content, those without a name included."),
    plain("raftboot_blobs_size_bytes", Gauge, "bytes", "Their size, each counted once."),
    plain(
        "raftboot_blobs_under_replicated",
        Gauge,
        "",
        "Named files with fewer copies than they need, in the whole cluster.",
    ),
    plain("raftboot_blobs_missing", Gauge, "", "Named files this node should hold and does not hold yet."),
    plain("raftboot_blobs_quarantined", Gauge, "", "Damaged files in this node's quarantine."),
    plain(
        "raftboot_blobs_fetched_total",
        Counter,
        "",
        "Files fetched from other nodes: new ones, and in place of damaged ones.",
    ),
    plain("raftboot_blobs_fetched_bytes_total", Counter, "bytes", "Their size."),
    plain("raftboot_blobs_fetch_failures", Gauge, "", "Fetches that failed since the last one that did not."),
    plain("raftboot_blobs_reread_total", Counter, "", "Copies read again at leisure, to find damage."),
    plain("raftboot_blobs_damaged_total", Counter, "", "Copies found damaged or gone."),
    plain("raftboot_disk_free_bytes", Gauge, "bytes", "Free on the disk of the data directory."),
    plain("raftboot_disk_reserve_bytes", Gauge, "bytes", "What uploads leave free for the log."),
    // What is in the state, and what ends some day.
    by("raftboot_objects", Gauge, "", &["kind"], "Objects in the replicated state."),
    by(
        "raftboot_certificate_expiry_timestamp_seconds",
        Gauge,
        "seconds",
        &["certificate"],
        "When each certificate of this node ends, in seconds since 1970.",
    ),
    plain(
        "raftboot_token_next_expiry_timestamp_seconds",
        Gauge,
        "seconds",
        "When the next API token ends, in seconds since 1970. No number if none of those still valid does.",
    ),
    plain(
        "raftboot_client_certificate_next_expiry_timestamp_seconds",
        Gauge,
        "seconds",
        "When the next client certificate ends that has no successor of the same name, in seconds since 1970. No number if none of those still valid does.",
    ),
    plain(
        "raftboot_last_backup_timestamp_seconds",
        Gauge,
        "seconds",
        "When this node last gave a whole backup (with the bytes of all files), in seconds since 1970. No number if it never did; ask for the greatest of all nodes.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_whose_they_are_what_they_count_and_in_what() {
        let mut names = BTreeSet::new();
        for Family { name, kind, unit, labels, help } in FAMILIES {
            assert!(name.starts_with("raftboot_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
            let bare = name.trim_end_matches("_total");
            assert!(unit.is_empty() || bare.ends_with(&format!("_{unit}")), "{name} is in {unit}");
            assert!(names.insert(name), "{name} is there twice");
            assert!(help.ends_with('.') && !help.contains(['\n', '|', '\\']), "{name}: {help}");
            assert!(labels.len() <= 3, "{name}");
        }
    }

    #[test]
    fn the_reference_page_has_the_same_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows: Vec<&str> =
            page.lines().filter(|line| line.starts_with("| `raftboot_") || line.starts_with("| `process_")).collect();
        let want: Vec<String> = FAMILIES.iter().map(row).collect();
        for (at, want) in want.iter().enumerate() {
            assert_eq!(rows.get(at).copied().unwrap_or_default(), want, "the page's row {at}");
        }
        assert_eq!(rows.len(), want.len(), "the page describes metrics that do not exist");
    }

    fn row(family: &Family) -> String {
        let Family { name, kind, unit, labels, help } = family;
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {} | {unit} | {} | {help} |", kind.word(), labels.join(", "))
    }
}
