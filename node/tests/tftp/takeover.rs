//! Two servers that tell each other of their transfers: what one began, the other ends.

use std::sync::OnceLock;

use raftboot::tftp::{Handoff, Inherited, Shared};

use super::*;

/// Takes transfers to another server, as bytes, the way nodes do.
#[derive(Default)]
struct Wire {
    other: OnceLock<Inherited>,
    told: Mutex<Vec<Shared>>,
}

impl Handoff for Wire {
    fn concerns(&self, local: IpAddr) -> bool {
        local == IpAddr::from([127, 0, 0, 10])
    }

    fn publish(&self, transfer: &Shared) {
        let read = Shared::decode(&transfer.encode()).unwrap();
        self.told.lock().unwrap().push(read.clone());
        if let Some(other) = self.other.get() {
            other.adopt(read, Instant::now());
        }
    }
}

/// Two servers; packets to 127.0.0.10 reach one by its port, as packets to a floating address reach who holds it.
struct Pair {
    one: Server,
    two: Server,
    told_by_one: Arc<Wire>,
}

impl Pair {
    fn start() -> Self {
        let wires = [Arc::<Wire>::default(), Arc::<Wire>::default()];
        let sharings = wires.clone().map(|handoff| Sharing { handoff, inherited: Inherited::default() });
        wires[0].other.set(sharings[1].inherited.clone()).unwrap();
        wires[1].other.set(sharings[0].inherited.clone()).unwrap();
        let [one, two] = sharings.map(|sharing| Server::start_sharing("0.0.0.0:0", sharing));
        let [told_by_one, _] = wires;
        Self { one, two, told_by_one }
    }

    /// Where the floating address is with one server, and with the other.
    fn floating(&self) -> [SocketAddr; 2] {
        [&self.one, &self.two].map(|server| SocketAddr::from(([127, 0, 0, 10], server.address.port())))
    }
}

fn acknowledge(peer: &Peer, at: SocketAddr, block: u64) {
    let [high, low] = (block as u16).to_be_bytes();
    peer.send(at, &[0, 4, high, low]);
}

/// Fetches the rest of a file, of which the client has `have` blocks, from `at(block)`; changing servers costs nothing.
fn fetch(
    peer: &Peer,
    content: &mut Vec<u8>,
    mut have: u64,
    blksize: usize,
    window: u64,
    at: impl Fn(u64) -> SocketAddr,
) {
    loop {
        let (asked, until) = (at(have), have + window);
        acknowledge(peer, asked, have);
        while have < until {
            let (packet, from) = peer.receive().expect("a block");
            assert_eq!(packet[..2], [0, 3], "{packet:?}");
            // On a busy computer a server may send a block again that is old news.
            if u16::from_be_bytes([packet[2], packet[3]]) != (have + 1) as u16 {
                continue;
            }
            assert_eq!(from, asked, "the address that was asked answers");
            have += 1;
            content.extend(&packet[4..]);
            if packet.len() < 4 + blksize {
                return acknowledge(peer, at(have), have);
            }
        }
    }
}

#[test]
fn a_transfer_goes_from_node_to_node_and_back() {
    for name in ["loader", "file-loader"] {
        let pair = Pair::start();
        let [first, second] = pair.floating();
        let peer = Peer::new("127.0.0.1:0");
        peer.send(first, &request(name, &[("blksize", "1432"), ("windowsize", "4")]));
        assert_eq!(peer.receive().unwrap().0[..2], [0, 6]);
        let mut content = Vec::new();
        // The first still has it when the address comes back, and is wrong about where the client is.
        let at = |block| if (200..400).contains(&block) { second } else { first };
        fetch(&peer, &mut content, 0, 1432, 4, at);
        assert!(content == pair.one.content("loader"), "{name} differs");
        for (server, blocks) in [(&pair.two, 200), (&pair.one, 400)] {
            let taken = server.event("taken over", |event| matches!(event.what, What::TakenOver { .. }));
            assert_eq!(taken.what, What::TakenOver { bytes: blocks * 1432, size: 850_528 });
        }
        assert_eq!(pair.one.ended(name).0, Ending::AddressGone);
        let finished = |event: &Event| matches!(&event.what, What::Ended { ending, .. } if *ending == FINISHED);
        pair.one.event("the end", finished);
    }
}

#[test]
fn a_transfer_is_taken_over_before_its_first_block_as_well() {
    let pair = Pair::start();
    let [first, second] = pair.floating();
    let peer = Peer::new("127.0.0.1:0");
    peer.send(first, &request("exact", &[("tsize", "0")]));
    assert_eq!(peer.receive().unwrap().0[..2], [0, 6]);
    let mut content = Vec::new();
    fetch(&peer, &mut content, 0, 512, 1, |_| second);
    assert!(content == pair.one.content("exact"));
}

#[test]
fn progress_is_told_before_the_block_numbers_come_round() {
    let pair = Pair::start();
    let [first, second] = pair.floating();
    let peer = Peer::new("127.0.0.1:0");
    // 9,000,001 bytes in blocks of 64: more than 140,000 of them.
    peer.send(first, &request("large", &[("blksize", "64"), ("windowsize", "8")]));
    assert_eq!(peer.receive().unwrap().0[..2], [0, 6]);
    let mut content = Vec::new();
    fetch(&peer, &mut content, 0, 64, 8, |block| if block < 80_000 { first } else { second });
    assert!(content == pair.one.content("large"));
    let told: Vec<u64> = pair.told_by_one.told.lock().unwrap().iter().map(|shared| shared.acked).collect();
    assert_eq!(told.len(), 5, "the beginning and four times 16384 blocks: {told:?}");
}

#[test]
fn what_is_not_the_same_file_or_was_never_told_is_left_in_silence() {
    let pair = Pair::start();
    let [_, second] = pair.floating();
    let shared = |peer: &Peer| Shared {
        client: peer.0.local_addr().unwrap(),
        local: second.ip(),
        name: "exact".into(),
        text: false,
        signature: tftp::Signature::Other,
        size: 10_240,
        fingerprint: 1,
        acked: 0,
        blksize: 512,
        windowsize: 1,
        timeout_seconds: None,
    };
    let inherited = pair.told_by_one.other.get().unwrap();
    let peers: Vec<Peer> = (0..4).map(|_| Peer::new("127.0.0.1:0")).collect();
    inherited.adopt(shared(&peers[0]), Instant::now());
    inherited.adopt(Shared { size: 9, ..shared(&peers[1]) }, Instant::now());
    inherited.adopt(Shared { name: "nothing".into(), ..shared(&peers[2]) }, Instant::now());
    for peer in &peers {
        acknowledge(peer, second, 3);
    }
    for (at, peer) in peers.iter().enumerate() {
        assert!(peer.drain(Duration::from_millis(100)).is_empty(), "peer {at}: an error would end its transfer");
        // And it may ask for whatever it likes.
        peer.send(second, &request("one", &[]));
        assert_eq!(peer.receive().unwrap().0, [0, 3, 0, 1, 7]);
    }
}

#[test]
fn transfers_at_a_nodes_own_address_are_nobody_elses() {
    let pair = Pair::start();
    let peer = Peer::new("127.0.0.1:0");
    peer.send(pair.one.address, &request("one", &[]));
    assert_eq!(peer.receive().unwrap().0, [0, 3, 0, 1, 7]);
    assert!(pair.told_by_one.told.lock().unwrap().is_empty());
}
