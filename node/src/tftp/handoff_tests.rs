//! What nodes tell each other of transfers: golden bytes, hostile bytes, and a table that stays bounded.

use proptest::prelude::*;

use super::*;

fn shared(port: u16) -> Shared {
    Shared {
        client: SocketAddr::from(([10, 0, 0, 99], port)),
        local: IpAddr::from([10, 0, 0, 10]),
        name: "snponly.efi".into(),
        text: false,
        signature: Signature::Ipxe,
        size: 850_528,
        fingerprint: 0x0123_4567_89ab_cdef,
        acked: 0,
        blksize: 1432,
        windowsize: 4,
        timeout_seconds: Some(3),
    }
}

#[test]
fn the_bytes_are_the_same_in_every_version() {
    let want = "0102\
                00000000000000000000ffff0a0000630816\
                00000000000000000000ffff0a00000a\
                00000000000cfa600123456789abcdef0000000000000000\
                05980004030b736e706f6e6c792e656669";
    let bytes: String = shared(2070).encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, want);
}

#[test]
fn what_was_written_is_read_and_nothing_else() {
    let v6 = Shared {
        client: "[2001:db8::5]:4000".parse().unwrap(),
        local: "2001:db8::1".parse().unwrap(),
        text: true,
        signature: Signature::Other,
        timeout_seconds: None,
        acked: 70_000,
        name: String::new(),
        ..shared(1)
    };
    for transfer in [shared(2070), v6] {
        let bytes = transfer.encode();
        assert_eq!(Shared::decode(&bytes), Ok(transfer));
        assert_eq!(Shared::decode(&bytes[..bytes.len() - 1]), Err(Unreadable));
        assert_eq!(Shared::decode(&[&bytes[..], &[0]].concat()), Err(Unreadable));
        for version in [0, 2] {
            assert_eq!(Shared::decode(&[&[version], &bytes[1..]].concat()), Err(Unreadable));
        }
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_or_read_the_same_again(bytes in prop::collection::vec(any::<u8>(), 0..120), good in any::<bool>()) {
        let mut bytes = bytes;
        if good && bytes.len() >= FIXED_BYTES {
            bytes[0] = VERSION;
            bytes[1] &= FLAG_TEXT | FLAG_IPXE;
            bytes[FIXED_BYTES - 1] = u8::try_from(bytes.len() - FIXED_BYTES).unwrap();
            for byte in &mut bytes[FIXED_BYTES..] {
                *byte &= 0x7f;
            }
        }
        if let Ok(read) = Shared::decode(&bytes) {
            prop_assert!(read.blksize >= BLKSIZE_MIN && read.windowsize > 0);
            prop_assert_eq!(Shared::decode(&read.encode()), Ok(read));
        }
    }
}

#[test]
fn the_table_stays_bounded_and_the_newest_stay_in_it() {
    let (inherited, start) = (Inherited::default(), Instant::now());
    let kept = shared(1);
    for round in 0..3 {
        for port in 0..u16::try_from(INHERITED_MAX - 1).unwrap() {
            inherited.adopt(shared(2000 + port), start);
        }
        // Told again and again: it is among the newest.
        inherited.adopt(kept.clone(), start + Duration::from_secs(round));
        assert!(inherited.len() <= INHERITED_MAX);
        assert_eq!(inherited.get(&kept.key(), start), Some(kept.clone()));
    }
    inherited.forget(&kept.key());
    assert_eq!(inherited.get(&kept.key(), start), None);
    let old = shared(2000 + u16::try_from(INHERITED_MAX).unwrap() - 2);
    assert_eq!(inherited.get(&old.key(), start), Some(old.clone()));
    assert_eq!(inherited.get(&old.key(), start + INHERITED_FOR), None, "without news it is over");
}

#[test]
fn the_same_bytes_have_the_same_fingerprint_wherever_they_lie() {
    let mut fingerprints = Fingerprints::default();
    let bytes = |content: &[u8]| Source::Bytes(Arc::from(content));
    let one = bytes(b"abc");
    let first = fingerprints.of(&one);
    assert_eq!(first, fingerprints.of(&one));
    assert_eq!(first, fingerprints.of(&bytes(b"abc")));
    assert_ne!(first, fingerprints.of(&bytes(b"abd")));
    for number in 0..10 * FINGERPRINTS_MAX {
        fingerprints.of(&bytes(&number.to_be_bytes()));
        assert!(fingerprints.known.len() <= FINGERPRINTS_MAX);
    }
    let blob = |path: &str| Source::file(path.into(), 3);
    let digest = fingerprints.of(&blob("/data/one/blobs/sha256/ab/abcd"));
    assert_eq!(digest, fingerprints.of(&blob("/elsewhere/ab/abcd")));
    assert_ne!(digest, fingerprints.of(&blob("/data/one/blobs/sha256/ab/abce")));
}
