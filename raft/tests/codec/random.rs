//! Random and damaged bytes: refused, never a panic, never a huge allocation.

use proptest::prelude::*;
use raft::codec::{Applied, LogEntry, SnapshotHeader, decode, decode_record};

use crate::samples;

/// An envelope that is whole, around any payload.
fn sealed(kind: u8, schema: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![b'R', b'B', 1, kind];
    out.extend_from_slice(&schema.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), payload);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(decode::<LogEntry>(&bytes).is_err());
        prop_assert!(decode_record(&bytes).is_err());
    }

    #[test]
    fn random_payloads_never_panic(kind in 0_u8..40, schema in 1_u16..3, payload in proptest::collection::vec(any::<u8>(), 0..512)) {
        let bytes = sealed(kind, schema, &payload);
        let _ = decode::<LogEntry>(&bytes);
        let _ = decode::<Applied>(&bytes);
        let _ = decode::<SnapshotHeader>(&bytes);
        let _ = decode_record(&bytes);
    }

    #[test]
    fn a_damaged_payload_with_a_right_checksum_never_panics(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let samples = samples::all();
        let (_, bytes) = which.get(&samples);
        let mut payload = bytes[16..].to_vec();
        if !payload.is_empty() {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let bytes = sealed(bytes[3], u16::from_le_bytes([bytes[4], bytes[5]]), &payload);
        if let Ok(entry) = decode::<LogEntry>(&bytes) {
            let _ = entry.into_raft();
        }
        let _ = decode::<Applied>(&bytes).map(Applied::into_raft);
        let _ = decode_record(&bytes);
    }
}

#[test]
fn a_length_that_lies_costs_no_memory() {
    // A list said to have 2^60 elements.
    let mut payload = vec![0; 24];
    payload.extend_from_slice(&1_u32.to_le_bytes());
    payload.extend_from_slice(&(1_u64 << 60).to_le_bytes());
    assert!(decode::<LogEntry>(&sealed(1, 1, &payload)).is_err());
}
