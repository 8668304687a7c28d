//! Keys of the file that take one of a few words.

use super::file::Written;

/// How fast a lost leader is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timing {
    /// Nodes on one LAN with disks of their own.
    #[default]
    Lan,
    /// Virtual machines that share disks and processors: twice as patient.
    Vm,
}

/// What keeps a node from answering for the floating address when it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fence {
    /// Kernel rules that mute the address unless they are renewed.
    #[default]
    Nftables,
    /// The finite lifetime of the address itself, for kernels without nftables; taking over is slower.
    Lifetime,
}

impl Timing {
    pub(super) fn read(written: &mut Written<'_>) -> Self {
        match written.choice("timing", &["lan", "vm"]).as_deref() {
            Some("vm") => Self::Vm,
            _ => Self::Lan,
        }
    }
}

impl Fence {
    pub(super) fn read(written: &mut Written<'_>) -> Self {
        match written.choice("fence", &["nftables", "lifetime"]).as_deref() {
            Some("lifetime") => Self::Lifetime,
            _ => Self::Nftables,
        }
    }
}
