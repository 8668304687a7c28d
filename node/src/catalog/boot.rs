//! What boot HTTP asks: the state, the bytes behind a digest, boot loaders; and what it tells of machines.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use raft::state::{Sighting, State};
use raft::types::Digest;
use tracing::{debug, info};

use super::Catalog;
use crate::assets::ReadError;
use crate::boot::{BlobError, Event, Fetched, Loader, LoaderClient, Questions, Seen, Whereabouts};
use crate::sightings;
use crate::tftp::Signature;
use crate::timeline::Who;

impl Questions for Catalog {
    fn state(&self) -> Arc<State> {
        self.cluster.read()
    }

    fn whereabouts(&self) -> Whereabouts {
        Self::whereabouts(self)
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        self.store.open_blob(digest).map_err(|error| match error {
            ReadError::Missing => BlobError::Missing,
            ReadError::Damaged => BlobError::Damaged,
            ReadError::Busy => BlobError::Busy,
            ReadError::Unreadable(reason) => BlobError::Unreadable(reason),
        })
    }

    fn fetch(&self, digest: &Digest, part: Range<u64>) -> BoxFuture<'static, Fetched> {
        let (replicator, digest) = (self.replicator.clone(), *digest);
        async move {
            match replicator.fetch(digest, part).await {
                Ok(bytes) => Ok(bytes.map(|piece| piece.map_err(io::Error::other)).boxed()),
                Err(error) => {
                    debug!(%digest, %error, "a blob that is not here cannot be had from another node");
                    Err(BlobError::Missing)
                }
            }
        }
        .boxed()
    }

    fn loader(&self, name: &str, client: LoaderClient) -> Option<Loader> {
        if client.ipxe && self.is_loop(name, client.address, Signature::Ipxe) {
            info!(client = %client.address, name, "iPXE asked for iPXE again and was given the script");
            return Some(Loader::Bytes(self.script(client.local).into()));
        }
        let state = self.cluster.read();
        let found = match (state.asset(name), self.packaged(name)) {
            (Some(asset), _) => Loader::Asset(Arc::clone(asset)),
            (None, Some(loader)) => Loader::Bytes(Bytes::from_owner(Arc::clone(&loader.bytes))),
            (None, None) => return None,
        };
        if client.gets {
            self.note_loaded(name, client.address);
        }
        Some(found)
    }

    fn seen(&self, seen: Seen<'_>) {
        let (client, uuid, serial) = (seen.address, seen.uuid, seen.serial);
        let mac = seen.mac.map(ToString::to_string).unwrap_or_default();
        match seen.event {
            Event::Script { group, profile } => {
                info!(%client, mac, uuid, group, profile, "a machine was given its script")
            }
            Event::Held => info!(%client, mac, uuid, "a machine was told that it is held"),
            Event::Unmatched => debug!(%client, mac, uuid, serial, "no group matches a machine"),
            Event::Config { kind, name } => {
                info!(%client, mac, kind = kind.name(), name, "a machine fetched its config")
            }
            Event::Metadata => info!(%client, mac, "a machine fetched its metadata"),
            Event::Loader(name) => info!(%client, name, "a machine fetched a boot loader"),
            Event::Asset(name) => debug!(%client, name, "a machine began to fetch an asset"),
            // Boot HTTP has said why.
            Event::Refused { .. } => {}
        }
        self.note_http(&seen);
        let Some(mac) = seen.mac else { return };
        self.sightings.seen(Sighting {
            mac: mac.clone(),
            uuid: uuid.to_owned(),
            serial: serial.to_owned(),
            arch: seen.arch.to_owned(),
            address: client.to_canonical().to_string(),
            at: sightings::now(),
        });
    }
}

impl Catalog {
    fn note_http(&self, seen: &Seen<'_>) {
        let (what, detail) = match seen.event {
            Event::Script { group, profile } => ("script", format!("group {group}, profile {profile}")),
            Event::Held => ("held", String::new()),
            Event::Unmatched => ("unmatched", "no group matches its labels".to_owned()),
            Event::Config { kind, name } => ("config", format!("{} {name}", kind.name())),
            Event::Metadata => ("metadata", String::new()),
            Event::Loader(name) => ("loader", name.to_owned()),
            Event::Asset(name) => ("asset", name.to_owned()),
            Event::Refused { reason } => ("refused", reason.to_owned()),
        };
        let who = Who { mac: seen.mac, address: Some(seen.address.to_canonical()) };
        self.timeline.note(who, what, &detail, sightings::now());
    }
}
