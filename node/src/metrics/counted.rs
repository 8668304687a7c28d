//! What this process has done so far: one static for each thing that is counted where it happens.
//!
//! A process runs one node; where a test runs several they count together.

use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use raft::numbers::Timings;

use super::count::{Counter, Counts, Gauge};
use super::page::Page;

/// Lines logged.
pub static LOG_LINES: Counts<5> = Counts::new(["error", "warn", "info", "debug", "trace"]);

/// Times this node led and claimed the VIP.
pub static VIP_CLAIMS: Counter = Counter::new();
/// Times it began to answer for it.
pub static VIP_TAKES: Counter = Counter::new();
/// Times it let go of it.
pub static VIP_RELEASES: Counts<8> = Counts::new([
    "not_leading",
    "lease_over",
    "unhealthy",
    "no_carrier",
    "asked",
    "quorum_is_back",
    "other_survivor",
    "kernel",
]);
/// Times the fence had closed before it was renewed.
pub static VIP_FENCE_CLOSED: Counter = Counter::new();
/// Times it was opened again after that.
pub static VIP_FENCE_REOPENED: Counter = Counter::new();
/// The longest time between two renewals, in microseconds.
pub static VIP_RENEW_GAP_MAX_MICROS: Gauge = Gauge::new();
/// Times somebody else said to have the VIP while this node held it.
pub static VIP_FOREIGN_CLAIMS: Counter = Counter::new();
/// Times somebody else answered for it when this node was to take it.
pub static VIP_PROBE_CONFLICTS: Counter = Counter::new();

/// Requests for a boot server that is none of ours.
pub static DHCP_RIVAL_PACKETS: Counter = Counter::new();
/// The last such server, and when it was named.
static DHCP_RIVAL: Mutex<Option<(Ipv4Addr, SystemTime)>> = Mutex::new(None);

/// Transfers that have ended.
pub static TFTP_TRANSFERS: Counts<11> = Counts::new([
    "complete",
    "probed",
    "aborted",
    "never_answered",
    "silent",
    "too_slow",
    "too_many_resends",
    "replaced",
    "source_failed",
    "address_gone",
    "stopped",
]);
/// Requests that got no transfer.
pub static TFTP_REFUSED: Counts<4> = Counts::new(["not_found", "busy", "bad_name", "text_mode"]);
/// Transfers of another node that went on here.
pub static TFTP_TAKEN_OVER: Counter = Counter::new();
/// Bytes acknowledged.
pub static TFTP_SENT_BYTES: Counter = Counter::new();
/// Blocks sent again.
pub static TFTP_BLOCKS_RESENT: Counter = Counter::new();
/// Transfers under way.
pub static TFTP_ACTIVE: Gauge = Gauge::new();

/// The classes of answers.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "other"];
/// What machines ask for.
const PATHS: [&str; 6] = ["script", "config", "metadata", "asset", "loader", "other"];
static BOOT_REQUESTS: [Counts<5>; PATHS.len()] = [const { Counts::new(CLASSES) }; PATHS.len()];
/// From request to the head of the answer.
pub static BOOT_DURATION: Timings = Timings::new();
/// Bytes of answers.
pub static BOOT_SENT_BYTES: Counter = Counter::new();
/// Connections of machines.
pub static BOOT_CONNECTIONS: Gauge = Gauge::new();
/// Connections that were not let in.
pub static BOOT_REFUSED: Counter = Counter::new();

static ADMIN_REQUESTS: Counts<5> = Counts::new(CLASSES);
/// Callers turned away, by the code they were told.
pub static ADMIN_REFUSED_CALLERS: Counts<10> = Counts::new([
    "unauthenticated",
    "token_invalid",
    "token_expired",
    "certificate_untrusted",
    "certificate_expired",
    "certificate_unfit",
    "certificate_revoked",
    "certificate_without_role",
    "forbidden",
    "other",
]);
/// gRPC calls.
pub static GRPC_REQUESTS: Counts<2> = Counts::new(["ok", "error"]);
/// TLS handshakes that came to nothing.
pub static HANDSHAKES_FAILED: Counts<2> = Counts::new(["grpc", "admin"]);

/// Copies read again at leisure.
pub static BLOBS_REREAD: Counter = Counter::new();

/// The class of an HTTP status.
fn class(status: u16) -> &'static str {
    CLASSES.get(usize::from(status / 100).wrapping_sub(2)).copied().unwrap_or("other")
}

/// What a machine's request is for, by its path as it was sent.
fn asked_for(path: &str) -> usize {
    let plain = path.strip_suffix(".sig").or_else(|| path.strip_suffix(".asc")).unwrap_or(path);
    match plain {
        "/boot.ipxe" | "/boot.ipxe.0" | "/autoexec.ipxe" | "/loaders/autoexec.ipxe" | "/ipxe" | "/grub" => 0,
        "/generic" | "/cloud" | "/ignition" => 1,
        "/metadata" => 2,
        _ if plain.starts_with("/assets") => 3,
        _ if plain.starts_with("/loaders/") => 4,
        _ => 5,
    }
}

/// Counts a machine's request that was answered.
pub fn boot_request(path: &str, status: u16, took: Duration) {
    BOOT_REQUESTS[asked_for(path)].one(class(status));
    BOOT_DURATION.note(took);
}

/// Counts an operator's request that was answered.
pub fn admin_request(status: u16) {
    ADMIN_REQUESTS.one(class(status));
}

/// Notes that a machine asked another boot server.
pub fn dhcp_rival(server: Ipv4Addr, now: SystemTime) {
    DHCP_RIVAL_PACKETS.one();
    *DHCP_RIVAL.lock().unwrap_or_else(PoisonError::into_inner) = Some((server, now));
}

/// The boot server of somebody else that was heard of last, and when.
#[must_use]
pub fn last_dhcp_rival() -> Option<(Ipv4Addr, SystemTime)> {
    *DHCP_RIVAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes all of it.
pub fn write(page: &mut Page) {
    let mut by_word = |name: &str, all: &mut dyn Iterator<Item = (&'static str, u64)>| {
        for (word, count) in all {
            page.labelled(name, &[word], count as f64);
        }
    };
    by_word("raftboot_log_lines_total", &mut LOG_LINES.all());
    by_word("raftboot_vip_releases_total", &mut VIP_RELEASES.all());
    by_word("raftboot_tftp_transfers_total", &mut TFTP_TRANSFERS.all());
    by_word("raftboot_tftp_refused_total", &mut TFTP_REFUSED.all());
    by_word("raftboot_admin_requests_total", &mut ADMIN_REQUESTS.all());
    by_word("raftboot_admin_refused_callers_total", &mut ADMIN_REFUSED_CALLERS.all());
    by_word("raftboot_grpc_requests_total", &mut GRPC_REQUESTS.all());
    by_word("raftboot_tls_handshakes_failed_total", &mut HANDSHAKES_FAILED.all());
    for (path, counts) in PATHS.iter().zip(&BOOT_REQUESTS) {
        for (code, count) in counts.all() {
            page.labelled("raftboot_boot_http_requests_total", &[path, code], count as f64);
        }
    }
    for (name, counter) in [
        ("raftboot_vip_claims_total", &VIP_CLAIMS),
        ("raftboot_vip_takes_total", &VIP_TAKES),
        ("raftboot_vip_fence_closed_total", &VIP_FENCE_CLOSED),
        ("raftboot_vip_fence_reopened_total", &VIP_FENCE_REOPENED),
        ("raftboot_vip_foreign_claims_total", &VIP_FOREIGN_CLAIMS),
        ("raftboot_vip_probe_conflicts_total", &VIP_PROBE_CONFLICTS),
        ("raftboot_dhcp_rival_packets_total", &DHCP_RIVAL_PACKETS),
        ("raftboot_tftp_taken_over_total", &TFTP_TAKEN_OVER),
        ("raftboot_tftp_sent_bytes_total", &TFTP_SENT_BYTES),
        ("raftboot_tftp_blocks_resent_total", &TFTP_BLOCKS_RESENT),
        ("raftboot_boot_http_sent_bytes_total", &BOOT_SENT_BYTES),
        ("raftboot_boot_http_connections_refused_total", &BOOT_REFUSED),
        ("raftboot_blobs_reread_total", &BLOBS_REREAD),
    ] {
        page.count(name, counter.get());
    }
    page.count("raftboot_tftp_transfers_active", TFTP_ACTIVE.get());
    page.count("raftboot_boot_http_connections_active", BOOT_CONNECTIONS.get());
    page.number("raftboot_vip_renew_gap_max_seconds", VIP_RENEW_GAP_MAX_MICROS.get() as f64 / 1e6);
    page.spread("raftboot_boot_http_request_duration_seconds", &[], &BOOT_DURATION.look());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_what_they_are_for() {
        for (path, want) in [
            ("/ipxe", "script"),
            ("/ipxe.sig", "script"),
            ("/boot.ipxe.0", "script"),
            ("/ignition", "config"),
            ("/cloud.asc", "config"),
            ("/metadata", "metadata"),
            ("/assets/", "asset"),
            ("/assets/a/b.sig", "asset"),
            ("/loaders/ipxe.efi", "loader"),
            ("/", "other"),
            ("/wp-login.php", "other"),
        ] {
            assert_eq!(PATHS[asked_for(path)], want, "{path}");
        }
        for (status, want) in [(200, "2xx"), (206, "2xx"), (304, "3xx"), (404, "4xx"), (503, "5xx"), (101, "other")] {
            assert_eq!(class(status), want);
        }
    }
}
