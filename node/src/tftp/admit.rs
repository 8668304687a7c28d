//! From a read request to a transfer, or to a refusal that says why.

use std::time::{Duration, Instant};

use super::loop_breaker::Signature;
use super::names::{NAME_BYTES_MAX, Name};
use super::options::{Agreed, blksize_for_link};
use super::packet::{self, ErrorCode, Mode, Request};
use super::patience::Busy;
use super::questions::{Client, Ending, Lookup, Refusal, What};
use super::server::Driver;
use super::sessions::{Key, Session};
use super::source::{self, NETASCII_BYTES_MAX, Source};
use super::transfer::{Outcome, Transfer};

/// A request repeated in mid-transfer within this time of the last progress is a late copy; afterwards the client has
/// started anew. Firmware uses the same port on every boot.
const RESTART_QUIET: Duration = Duration::from_secs(1);

impl Driver {
    /// Answers a read request.
    pub(super) async fn on_request(
        &mut self,
        key: Key,
        interface: Option<u32>,
        request: &Request,
        datagram: &[u8],
        now: Instant,
    ) {
        if let Some(session) = self.sessions.get(&key) {
            if *session.request == *datagram {
                if !session.transfer.opened() {
                    let step = session.transfer.on_request_repeated(now);
                    return self.apply(key, step).await;
                }
                let quiet = now.saturating_duration_since(session.transfer.progress_at());
                if !session.transfer.all_sent() && quiet < RESTART_QUIET {
                    return;
                }
            }
            self.end(key, Ending::Replaced);
        }
        self.sharing.inherited.forget(&key);
        if !self.allowance.take(key.0.ip(), now) {
            tracing::debug!(client = %key.0, "tftp client asks too often");
            return;
        }
        let client = Client { address: key.0, local: key.1, interface, signature: Signature::of(request) };
        match self.open(request, &client) {
            Ok((name, source)) => self.start(key, client, name, source, request, datagram, now).await,
            Err(Some(Refusal::Busy)) => self.on_busy(key, client, request, now).await,
            Err(None) => tracing::debug!(client = %key.0, "tftp client is not served"),
            Err(Some(refusal)) => self.tell(key, client, request, refusal).await,
        }
    }

    /// Tells a client why it gets no file.
    async fn tell(&mut self, key: Key, client: Client, request: &Request, refusal: Refusal) {
        let (code, text) = words_for(refusal);
        self.send(key, &packet::error(code, &text)).await;
        self.note_refused(client, request, refusal);
    }

    fn note_refused(&self, client: Client, request: &Request, refusal: Refusal) {
        let name = packet::printable(&request.name, NAME_BYTES_MAX);
        tracing::debug!(client = %client.address, name, ?refusal, "tftp request refused");
        self.tell_of(name, client, What::Refused(refusal));
    }

    /// Leaves a client without an answer, so that it asks again; not for ever.
    async fn on_busy(&mut self, key: Key, client: Client, request: &Request, now: Instant) {
        match self.patience.on_busy(key, now) {
            Busy::First => self.note_refused(client, request, Refusal::Busy),
            Busy::Again => {}
            Busy::TooLong => return self.tell(key, client, request, Refusal::Busy).await,
        }
        self.allowance.give_back(key.0.ip());
    }

    /// Makes room when all transfers are taken, at the cost of one whose client never answered.
    fn make_room(&mut self, reads_a_file: bool) {
        if let Some(key) = self.sessions.evictable(reads_a_file) {
            self.end(key, Ending::Protocol(Outcome::NeverAnswered));
        }
    }

    /// Finds the bytes of a request; `Err(None)` when it is to be ignored.
    fn open(&mut self, request: &Request, client: &Client) -> Result<(Name, Source), Option<Refusal>> {
        self.make_room(false);
        self.sessions.has_room(client.address.ip(), false).map_err(Some)?;
        let name = Name::parse(&request.name).map_err(|bad| Some(Refusal::BadName(bad)))?;
        let source = self.source(&name, client, request.mode == Mode::Netascii)?;
        Ok((name, source))
    }

    /// Finds the bytes behind a name; `Err(None)` when the client is to be ignored.
    pub(super) fn source(&mut self, name: &Name, client: &Client, text: bool) -> Result<Source, Option<Refusal>> {
        match self.questions.open(name, client) {
            Lookup::Bytes(bytes) if !text => Ok(Source::Bytes(bytes)),
            Lookup::Bytes(bytes) if bytes.len() <= NETASCII_BYTES_MAX => Ok(Source::Bytes(source::to_netascii(&bytes))),
            Lookup::File { path, size } if !text => {
                self.make_room(true);
                self.sessions.has_room(client.address.ip(), true).map_err(Some)?;
                Ok(Source::file(path, size))
            }
            Lookup::Bytes(_) | Lookup::File { .. } => Err(Some(Refusal::TextMode)),
            Lookup::NotFound => Err(Some(Refusal::NotFound)),
            Lookup::Busy => Err(Some(Refusal::Busy)),
            Lookup::Ignore => Err(None),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a request, used once")]
    async fn start(
        &mut self,
        key: Key,
        client: Client,
        name: Name,
        source: Source,
        request: &Request,
        datagram: &[u8],
        now: Instant,
    ) {
        let mtu = self.port.mtu(client.interface, now);
        let limit = blksize_for_link(mtu, key.0.is_ipv6());
        let window_max = self.flow.window_max(key.0.ip(), now);
        let agreed = Agreed::new(request, source.size(), limit, window_max);
        self.patience.on_served(&key);
        let name = name.to_string();
        let what = What::Started { size: agreed.size, blksize: agreed.blksize, windowsize: agreed.windowsize };
        self.tell_of(name.clone(), client.clone(), what);
        let (transfer, step) = Transfer::new(agreed, now);
        let mut session = Session::new(client, name, datagram, transfer, source, now);
        self.share(&mut session, request.mode == Mode::Netascii);
        self.sessions.insert(key, session);
        self.apply(key, step).await;
    }
}

fn words_for(refusal: Refusal) -> (ErrorCode, String) {
    match refusal {
        Refusal::NotFound => (ErrorCode::FileNotFound, "file not found".into()),
        Refusal::Busy => (ErrorCode::Undefined, "busy, try again".into()),
        Refusal::BadName(bad) => (ErrorCode::AccessViolation, bad.to_string()),
        Refusal::TextMode => (ErrorCode::Undefined, "too large for text mode, ask in octet mode".into()),
    }
}
