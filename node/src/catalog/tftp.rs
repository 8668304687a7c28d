//! What TFTP asks: which bytes a name stands for, here and now, for this client.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tracing::{debug, info, warn};

use super::Catalog;
use super::gate::Pass;
use crate::assets::ReadError;
use crate::sightings;
use crate::tftp::names::Meaning;
use crate::tftp::{Client, Ending, Event, Lookup, Name, Outcome, Questions, Refusal, What};
use crate::timeline::Who;

impl Questions for Catalog {
    /// An imported asset goes first, so that an operator's own iPXE replaces the packaged one; then the script and the
    /// boot loaders found on this host.
    fn open(&self, name: &Name, client: &Client) -> Lookup {
        let state = self.cluster.read();
        let meaning = name.meaning();
        let file = match meaning {
            Meaning::Script => name.as_str(),
            Meaning::File(file) => file,
        };
        let script = || Lookup::Bytes(self.script(client.local).into_bytes().into());
        if self.is_loop(file, client.address.ip(), client.signature) {
            info!(client = %client.address, name = file, "iPXE asked for iPXE again and was given the script");
            return script();
        }
        if let Some(asset) = state.asset(name.as_str()).or_else(|| state.asset(file)) {
            return self.file(&asset.value);
        }
        match (meaning, self.packaged(file)) {
            (Meaning::Script, _) => script(),
            (Meaning::File(_), Some(loader)) => Lookup::Bytes(Arc::clone(&loader.bytes)),
            (Meaning::File(_), None) => Lookup::NotFound,
        }
    }

    fn event(&self, event: Event) {
        self.note_tftp(&event);
        let (client, name) = (event.client.address, event.name.as_str());
        match event.what {
            What::Started { size, blksize, windowsize } => {
                debug!(%client, name, size, blksize, windowsize, "a TFTP transfer began");
            }
            What::TakenOver { bytes, size } => {
                info!(%client, name, bytes, size, "a TFTP transfer of another node goes on here");
            }
            What::Ended { ending: Ending::Protocol(Outcome::Finished { .. }), bytes, blocks_resent, duration } => {
                info!(%client, name, bytes, blocks_resent, ?duration, "a TFTP transfer is complete");
                self.note_sent(name, bytes, &event.client);
            }
            What::Ended { ending: ending @ (Ending::SourceFailed | Ending::AddressGone), bytes, .. } => {
                warn!(%client, name, bytes, ?ending, "a TFTP transfer failed on our side");
            }
            What::Ended { ending, bytes, duration, .. } => {
                debug!(%client, name, bytes, ?duration, ?ending, "a TFTP transfer ended early");
            }
            What::Refused(why) => {
                match self.refusal_log.lock().unwrap_or_else(PoisonError::into_inner).ask(Instant::now()) {
                    Pass::Suppress => {}
                    Pass::Write(left_out) => info!(%client, name, ?why, left_out, "a TFTP request was refused"),
                }
            }
        }
    }
}

impl Catalog {
    fn note_tftp(&self, event: &Event) {
        let name = &event.name;
        let failed = |why: &str| ("tftp_failed", format!("{name}: {why}"));
        let (what, detail) = match &event.what {
            What::TakenOver { bytes, size } => ("tftp_taken_over", format!("{name}, from byte {bytes} of {size} on")),
            What::Ended { ending, bytes, .. } => match ending {
                Ending::Protocol(Outcome::Finished { .. }) => ("tftp_sent", format!("{name}, {bytes} bytes")),
                Ending::Protocol(Outcome::Aborted { code, text }) => {
                    failed(&format!("the machine ended it after {bytes} bytes: {code} {text}"))
                }
                Ending::Protocol(Outcome::NeverAnswered) => failed("the machine never answered the first packet"),
                Ending::Protocol(Outcome::Silent) => failed(&format!("the machine fell silent after {bytes} bytes")),
                Ending::Protocol(Outcome::TooSlow) => failed(&format!("too slow, {bytes} bytes")),
                Ending::Protocol(Outcome::TooManyResends) => failed(&format!("the link loses too much, {bytes} bytes")),
                Ending::SourceFailed => failed("the file cannot be read"),
                Ending::AddressGone => failed("the address that was asked is no longer here"),
                Ending::Stopped => failed("this node stops"),
                // Asking for the size first, or anew, is how firmware works.
                Ending::Protocol(Outcome::Probed) | Ending::Replaced => return,
            },
            What::Refused(why) => {
                let why = match why {
                    Refusal::NotFound => "there is no such file".to_owned(),
                    Refusal::Busy => "not now, a limit is reached".to_owned(),
                    Refusal::BadName(bad) => bad.to_string(),
                    Refusal::TextMode => "too large for text mode".to_owned(),
                };
                ("refused", format!("TFTP {name}: {why}"))
            }
            What::Started { .. } => return,
        };
        let who = Who { mac: None, address: Some(event.client.address.ip().to_canonical()) };
        self.timeline.note(who, what, &detail, sightings::now());
    }

    fn file(&self, asset: &raft::state::Asset) -> Lookup {
        match self.store.ready(&asset.digest) {
            Ok((path, size)) => Lookup::File { path, size },
            // Fetched before all others now: it is here when the client repeats itself, which an error would keep it from.
            Err(ReadError::Missing | ReadError::Damaged) if self.replicator.is_elsewhere(&asset.digest) => {
                debug!(name = asset.name, "an asset that is asked for by TFTP is fetched from another node");
                self.replicator.missing(asset.digest);
                Lookup::Ignore
            }
            // Being verified, or nowhere.
            Err(error) => {
                debug!(name = asset.name, %error, "an asset cannot be sent by TFTP right now");
                Lookup::Busy
            }
        }
    }

    fn note_sent(&self, name: &str, bytes: u64, client: &Client) {
        let Ok(parsed) = Name::parse(name.as_bytes()) else { return };
        let Meaning::File(file) = parsed.meaning() else { return };
        let state = self.cluster.read();
        let asset = state.asset(parsed.as_str()).or_else(|| state.asset(file)).map(|asset| asset.value.size);
        let packaged = self.packaged(file).and_then(|loader| u64::try_from(loader.bytes.len()).ok());
        if asset.or(packaged) == Some(bytes) {
            self.note_loaded(file, client.address.ip());
        }
    }
}
