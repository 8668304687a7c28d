//! The shapes a cluster may have.

/// How many nodes, and what two of them do without the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One node.
    One,
    /// Two data nodes: the address goes when quorum goes.
    Two,
    /// Two data nodes of which the survivor serves on.
    Survivor,
    /// Two data nodes and a witness.
    Witness,
    /// Three data nodes.
    Three,
}

impl Shape {
    /// The flag given to `init`.
    pub(super) fn flag(self) -> Option<&'static str> {
        match self {
            Self::Survivor => Some("--survivor"),
            Self::Witness => Some("--witness"),
            Self::One | Self::Two | Self::Three => None,
        }
    }

    /// Whether each node is a witness, in the order in which they join.
    pub(super) fn witnesses(self) -> &'static [bool] {
        match self {
            Self::One => &[false],
            Self::Two | Self::Survivor => &[false, false],
            Self::Witness => &[false, false, true],
            Self::Three => &[false, false, false],
        }
    }
}
