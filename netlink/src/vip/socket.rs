//! Netlink sockets whose questions are answered before the question returns.
//!
//! The kernel handles rtnetlink and nfnetlink requests inside `sendmsg`, and continues a dump inside `recvmsg`: all
//! answers are queued when sending returns, so that reading until the queue is empty never waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// The kernel never builds a larger netlink message for a reader (`NLMSG_GOODSIZE` and dumps stay below 32 KiB).
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// One message as it arrived, not decoded further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// The message type.
    pub(super) kind: u16,
    /// The number of the request it answers, or that caused it.
    pub(super) sequence: u32,
    /// The netlink port of the process that caused it; 0 is the kernel itself.
    pub(super) port: u32,
    /// What follows the netlink header.
    pub(super) payload: Vec<u8>,
}

/// The kernel's verdict on one request: its number and the error, or nothing when it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The number of the request.
    pub(super) sequence: u32,
    /// A positive errno; 0 says that it was accepted.
    pub(super) errno: i32,
}

/// All that came back for one send.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Acknowledgements and refusals.
    pub(super) verdicts: Vec<Verdict>,
    /// Everything else: the objects asked for.
    pub(super) messages: Vec<Received>,
}

/// A netlink socket bound to a port of its own.
pub(super) struct NetlinkSocket {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for NetlinkSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetlinkSocket").field("port", &self.port).finish_non_exhaustive()
    }
}

impl NetlinkSocket {
    /// Opens a socket of that netlink protocol, subscribed to the multicast groups.
    pub(super) fn open(protocol: isize, groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(RECEIVE_BUFFER_BYTES) })
    }

    /// Its port number, by which notifications name who caused them.
    pub(super) const fn port(&self) -> u32 {
        self.port
    }

    /// Reserves `count` consecutive request numbers and returns the first.
    pub(super) const fn reserve(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends encoded requests and collects all that the kernel says to them.
    pub(super) fn exchange(&mut self, request: &[u8]) -> io::Result<Answers> {
        // What an earlier, failed exchange left behind answers nothing of ours now.
        while self.receive()?.is_some() {}
        self.socket.send_to(request, &SocketAddr::new(0, 0), 0)?;
        let mut answers = Answers::default();
        while let Some(messages) = self.receive()? {
            for message in messages {
                match message.kind {
                    NLMSG_ERROR => answers.verdicts.extend(verdict(&message)),
                    NLMSG_DONE => {}
                    _ => answers.messages.push(message),
                }
            }
        }
        Ok(answers)
    }

    /// Sends one request that must be acknowledged, and returns what came before the acknowledgement.
    pub(super) fn request<T: NetlinkSerializable>(&mut self, message: T, flags: u16) -> io::Result<Vec<Received>> {
        let sequence = self.reserve(1);
        let answers = self.exchange(&encode(message, NLM_F_REQUEST | flags, sequence))?;
        match answers.verdicts.iter().find(|verdict| verdict.sequence == sequence) {
            Some(Verdict { errno: 0, .. }) => Ok(answers.messages),
            Some(verdict) => Err(io::Error::from_raw_os_error(verdict.errno)),
            None if flags & NLM_F_ACK == 0 => Ok(answers.messages),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel did not answer a netlink request")),
        }
    }

    /// Reads one datagram, which may hold several messages; nothing when the queue is empty.
    ///
    /// `ENOBUFS` is an error here: the kernel had to drop notifications.
    pub(super) fn receive(&mut self) -> io::Result<Option<Vec<Received>>> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer, 0) {
            Ok(_) => Ok(Some(split(&self.buffer))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Encodes one request.
pub(super) fn encode<T: NetlinkSerializable>(message: T, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    // The next message in the same buffer begins on a 4-byte boundary (NLMSG_ALIGN).
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}

/// Splits a datagram into its messages; a malformed rest is dropped, for the kernel does not send any.
fn split(mut datagram: &[u8]) -> Vec<Received> {
    let mut messages = Vec::new();
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        messages.push(Received {
            kind: message.message_type(),
            sequence: message.sequence_number(),
            port: message.port_number(),
            payload: message.payload().to_vec(),
        });
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    messages
}

fn verdict(message: &Received) -> Option<Verdict> {
    let code = ErrorBuffer::new_checked(&message.payload).ok()?.code();
    Some(Verdict { sequence: message.sequence, errno: code.map_or(0, |code| code.get().saturating_neg()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An acknowledgement of request 7 and a refusal (`ENOENT`) of request 8, as one datagram; little-endian hosts.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_datagram_is_split_into_its_verdicts() {
        let mut datagram = vec![20, 0, 0, 0, 2, 0, 0, 1, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        datagram.extend([20, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
        let verdicts: Vec<_> = split(&datagram).iter().filter_map(verdict).collect();
        assert_eq!(verdicts, [Verdict { sequence: 7, errno: 0 }, Verdict { sequence: 8, errno: 2 }]);
    }

    #[test]
    fn a_cut_datagram_yields_only_its_whole_messages() {
        let mut datagram = [20u32, 0x0100_0002, 7, 9, 0].map(u32::to_ne_bytes).concat();
        datagram.extend(40u32.to_ne_bytes());
        assert_eq!(split(&datagram).len(), 1);
        assert_eq!(split(&[]), []);
    }
}
