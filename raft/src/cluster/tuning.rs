//! What a cluster may be opened with besides its directory.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use super::open::OpenError;

/// Whether writes are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syncing {
    /// As promised.
    #[default]
    On,
    /// For the test that shows what is lost then; nothing in the product sets it.
    Off,
}

/// How fast a lost leader is noticed. The values scale together; `check` refuses sets that do not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// The shortest silence after which a follower campaigns.
    pub election_min: Duration,
    /// The longest; also the leader's lease.
    pub election_max: Duration,
}

impl Timing {
    /// For nodes on one LAN with disks of their own.
    pub const LAN: Self = Self {
        heartbeat: Duration::from_millis(50),
        election_min: Duration::from_millis(200),
        election_max: Duration::from_millis(350),
    };
    /// For virtual machines that share disks and processors.
    pub const VM: Self = Self {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(400),
        election_max: Duration::from_millis(700),
    };

    /// Refuses values that would elect leaders for no reason.
    ///
    /// # Errors
    /// When a heartbeat is not well below the shortest election timeout, or that not below the longest.
    pub fn check(&self) -> Result<(), OpenError> {
        if self.heartbeat.is_zero() || self.heartbeat * 3 > self.election_min || self.election_min >= self.election_max
        {
            return Err(OpenError(format!(
                "timing of {self:?}: three heartbeats must fit into the shortest election timeout, \
                 and that must be below the longest; use 50, 200 and 350 ms on a LAN"
            )));
        }
        Ok(())
    }
}

/// Further choices; the default is right for a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How fast a lost leader is noticed.
    pub timing: Timing,
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot, for followers a little behind.
    pub keep_behind_snapshot: u64,
    /// Bytes of log between two snapshots: large commands are fewer.
    pub snapshot_every_bytes: u64,
    /// How long a new holder of the VIP waits for the old one to be mute. All nodes must count alike, and are asked.
    pub vip_wait: Duration,
    /// The cluster the directory must be of, if that is known.
    pub expect_cluster: Option<[u8; 16]>,
    /// Always `On` outside one test.
    #[doc(hidden)]
    pub syncing: Syncing,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            timing: Timing::LAN,
            snapshot_every: 10_000,
            keep_behind_snapshot: 1_000,
            snapshot_every_bytes: 64 * 1024 * 1024,
            vip_wait: Duration::ZERO,
            expect_cluster: None,
            syncing: Syncing::On,
        }
    }
}

impl Tuning {
    /// The configuration for openraft.
    ///
    /// # Errors
    /// When the values do not work together.
    pub fn config(&self, cluster_name: String) -> Result<Config, OpenError> {
        self.timing.check()?;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let election_max = millis(self.timing.election_max);
        let config = Config {
            cluster_name,
            heartbeat_interval: millis(self.timing.heartbeat),
            election_timeout_min: millis(self.timing.election_min),
            election_timeout_max: election_max,
            // A node that cannot win must not disturb a leader that works.
            enable_pre_vote: Some(true),
            // A leader that was restarted has no lease any more and must be elected again.
            enable_leader_restore: Some(false),
            // A leader without quorum falls silent now and then, so that a connected majority can go on.
            quorum_loss_probe_interval: Some(2 * election_max),
            // Switched on once a restarted node no longer owes its vote to anybody.
            enable_elect: false,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep_behind_snapshot,
            // Each purge costs a sync, so it takes many entries.
            purge_batch_size: (self.snapshot_every / 4).max(1),
            replication_lag_threshold: self.snapshot_every + self.keep_behind_snapshot,
            api_channel_size: Some(4096),
            notification_channel_size: Some(4096),
            max_append_entries: Some(256),
            max_payload_entries: 64,
            ..Config::default()
        };
        config.validate().map_err(|error| OpenError(format!("timing of {:?}: {error}", self.timing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_that_would_elect_leaders_for_no_reason_are_refused() {
        let millis = Duration::from_millis;
        let of = |heartbeat, min, max| Timing {
            heartbeat: millis(heartbeat),
            election_min: millis(min),
            election_max: millis(max),
        };
        for (timing, works) in [
            (Timing::LAN, true),
            (Timing::VM, true),
            (of(100, 200, 350), false),
            (of(50, 350, 350), false),
            (of(0, 200, 350), false),
        ] {
            let config = Tuning { timing, ..Tuning::default() }.config("test".into());
            assert_eq!(config.is_ok(), works, "{timing:?}");
        }
    }

    #[test]
    fn what_openraft_leaves_off_is_on() {
        let config = Tuning::default().config("test".into()).unwrap();
        assert_eq!((config.enable_pre_vote, config.enable_leader_restore), (Some(true), Some(false)));
        assert_eq!(config.quorum_loss_probe_interval, Some(700));
    }
}
