//! Counts connections, in all and per client, so that a few clients cannot keep all others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections are open at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// How many of them one client may hold, so that one machine cannot take them all.
pub(super) const CONNECTIONS_PER_CLIENT_MAX: usize = 64;
/// How many are kept for clients that hold none yet.
const CONNECTIONS_KEPT: usize = CONNECTIONS_MAX / 4;

/// Lets connections in.
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)), clients: Arc::default() }
    }
}

/// The right to one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Pass {
    client: IpAddr,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _permit: OwnedSemaphorePermit,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The client has enough.
    #[error("this client holds {CONNECTIONS_PER_CLIENT_MAX} connections already")]
    Client,
    /// What is left is for others.
    #[error("the last {CONNECTIONS_KEPT} connections are kept for clients that hold none")]
    Kept,
}

impl Gate {
    /// Waits until a connection may be accepted.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        self.permits.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Lets a client in.
    ///
    /// # Errors
    /// If it holds its share.
    pub(super) fn pass(&self, client: IpAddr, permit: OwnedSemaphorePermit) -> Result<Pass, Refused> {
        let client = counted_as(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.get(&client).copied().unwrap_or_default();
        if count >= CONNECTIONS_PER_CLIENT_MAX {
            return Err(Refused::Client);
        }
        if count > 0 && self.permits.available_permits() < CONNECTIONS_KEPT {
            return Err(Refused::Kept);
        }
        clients.insert(client, count + 1);
        Ok(Pass { client, clients: self.clients.clone(), _permit: permit })
    }
}

/// An IPv4 address counts by itself, IPv6 addresses by their /64, of which one host can use them all.
fn counted_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn enter(gate: &Gate, client: &str) -> Result<Pass, Refused> {
        gate.pass(client.parse().unwrap(), gate.permit().await)
    }

    #[tokio::test]
    async fn many_greedy_clients_leave_room_for_one_that_holds_nothing() {
        let gate = Gate::default();
        let mut passes = Vec::new();
        for client in 0..100 {
            let address = format!("192.0.2.{client}");
            while let Ok(pass) = enter(&gate, &address).await {
                passes.push(pass);
            }
        }
        assert!((CONNECTIONS_MAX - CONNECTIONS_KEPT..CONNECTIONS_MAX - CONNECTIONS_KEPT + 100).contains(&passes.len()));
        assert_eq!(enter(&gate, "192.0.2.99").await.err(), Some(Refused::Kept));
        passes.push(enter(&gate, "198.51.100.1").await.expect("a newcomer is let in"));
        drop(passes);
        assert_eq!(gate.permits.available_permits(), CONNECTIONS_MAX);
        assert!(gate.clients.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_client_has_one_share_however_it_writes_its_address() {
        let gate = Gate::default();
        let mut passes = Vec::new();
        for at in 0..CONNECTIONS_PER_CLIENT_MAX {
            passes.push(enter(&gate, &format!("2001:db8::{at:x}:1")).await.expect("a share"));
            passes.push(enter(&gate, if at % 2 == 0 { "::ffff:192.0.2.1" } else { "192.0.2.1" }).await.unwrap());
        }
        assert_eq!(enter(&gate, "2001:db8::ffff").await.err(), Some(Refused::Client));
        assert_eq!(enter(&gate, "192.0.2.1").await.err(), Some(Refused::Client));
        assert!(enter(&gate, "2001:db8:0:1::1").await.is_ok());
    }
}
