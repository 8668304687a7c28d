//! What the protocol servers know of the floating address, read with every packet.

use std::net::Ipv4Addr;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// The floating address at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct View {
    /// The address; `None`: the cluster has none.
    pub address: Option<Ipv4Addr>,
    /// A holder is committed and has not released it, and a leader was heard lately: machines may be sent there.
    pub holder_known: bool,
    /// This node is the holder, and the kernel lets it answer.
    pub held_here: bool,
}

impl View {
    /// The address, while somebody is known to answer there.
    #[must_use]
    pub fn reachable(&self) -> Option<Ipv4Addr> {
        self.address.filter(|_| self.holder_known || self.held_here)
    }
}

/// Shares the newest [`View`]: cheap to clone and to read, never waits. A new one says that there is no address.
#[derive(Debug, Clone, Default)]
pub struct Handle(Arc<ArcSwap<View>>);

impl Handle {
    /// The newest view.
    #[must_use]
    pub fn get(&self) -> View {
        **self.0.load()
    }

    /// Replaces the view; says whether it has changed.
    pub fn set(&self, view: View) -> bool {
        *self.0.swap(Arc::new(view)) != view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_sent_to_the_address_only_while_somebody_answers_there() {
        let address = Some(Ipv4Addr::new(192, 0, 2, 1));
        let view = |address, holder_known, held_here| View { address, holder_known, held_here };
        assert_eq!(View::default().reachable(), None);
        assert_eq!(view(address, false, false).reachable(), None);
        assert_eq!(view(address, true, false).reachable(), address);
        assert_eq!(view(address, false, true).reachable(), address);
        assert_eq!(view(None, true, true).reachable(), None);
    }

    #[test]
    fn every_clone_sees_the_newest_view() {
        let (writer, view) = (Handle::default(), View { held_here: true, ..View::default() });
        let reader = writer.clone();
        assert!(writer.set(view));
        assert!(!writer.set(view), "nothing has changed");
        assert_eq!(reader.get(), view);
    }
}
