//! Golden bytes. A file here is what some release has written: it is never changed, only added to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use raft::codec::{
    Applied, CodecError, DurableMark, Identity, LogEntry, Payload, Purged, SnapshotHeader, SnapshotTrailer, StoredVote,
    decode, decode_record, encode, encode_record,
};
use raft::command::Edit;
use raft::type_config::Proposal;

use crate::samples;

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn to_hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(out, "{byte:02x}").unwrap();
        }
        out.push('\n');
    }
    out
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn golden(name: &str) -> Vec<u8> {
    let path = dir().join(name).with_extension("hex");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    from_hex(&text)
}

#[test]
fn published_bytes_do_not_change() {
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for (name, bytes) in samples::all() {
        let path = dir().join(&name).with_extension("hex");
        match std::fs::read_to_string(&path) {
            Ok(text) if text == to_hex(&bytes) => {}
            Ok(_) => wrong.push(format!("{name}: other bytes than were published")),
            Err(_) => wrong.push(format!("{name}: write these bytes to {name}.hex\n{}", to_hex(&bytes))),
        }
        assert!(names.insert(format!("{name}.hex")), "{name} is there twice");
    }
    for item in std::fs::read_dir(dir()).unwrap() {
        let file = item.unwrap().file_name().into_string().unwrap();
        if !names.contains(&file) {
            wrong.push(format!("{file}: no sample writes it; keep one that reads it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_edit_has_golden_bytes() {
    let edits = samples::entries().iter().filter(|(name, _)| name.starts_with("edit-")).count();
    assert_eq!(edits, samples::EDITS);
}

#[test]
fn published_bytes_are_read_as_they_were_meant() {
    for (name, entry) in samples::entries() {
        assert_eq!(decode::<LogEntry>(&golden(&name)).unwrap(), entry, "{name}");
    }
    for (name, record) in samples::records() {
        assert_eq!(decode_record(&golden(&name)).unwrap(), record, "{name}");
    }
    let again = [
        encode(&decode::<StoredVote>(&golden("vote")).unwrap()),
        encode(&decode::<Purged>(&golden("purged")).unwrap()),
        encode(&decode::<Applied>(&golden("applied")).unwrap()),
        encode(&decode::<Identity>(&golden("identity")).unwrap()),
        encode(&decode::<DurableMark>(&golden("durable-mark")).unwrap()),
        encode(&decode::<SnapshotHeader>(&golden("snapshot-header")).unwrap()),
        encode(&decode::<SnapshotTrailer>(&golden("snapshot-trailer")).unwrap()),
    ];
    let names = ["vote", "purged", "applied", "identity", "durable-mark", "snapshot-header", "snapshot-trailer"];
    for (name, bytes) in names.into_iter().zip(again) {
        assert_eq!(bytes.unwrap(), golden(name), "{name}");
    }
}

/// What was written before groups had rules, by programs that knew none.
#[test]
fn a_group_without_rules_is_written_as_it_always_was() {
    let (_, record) = samples::records().into_iter().find(|(name, _)| name == "record-group").unwrap();
    let bytes = encode_record(&record).unwrap();
    assert_eq!(bytes, golden("record-group"));
    assert_eq!(bytes[4], 1, "the schema");
    assert_eq!(golden("record-group-2")[4], 2, "the schema of one with rules");
}

/// Rules are never lost in silence by the bytes that have no room for them.
#[test]
fn a_group_with_rules_does_not_fit_into_the_edit_without() {
    let (_, ruled) = samples::entries().into_iter().find(|(name, _)| name == "edit-put-ruled-group").unwrap();
    let Payload::Command(proposal) = ruled.payload else { panic!("a command") };
    let mut command = (*proposal.0).clone();
    let group = command.edits[0].edit.group().unwrap().clone();
    command.edits[0].edit = Edit::PutGroup(group);
    let error = encode(&LogEntry { position: ruled.position, payload: Payload::Command(Proposal(Arc::new(command))) });
    assert!(error.unwrap_err().to_string().contains("a group with rules"));
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    for (name, record) in samples::records() {
        let bytes = encode_record(&record).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_record(&changed).is_err(), "{name}: bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(decode_record(&bytes[..end]).is_err(), "{name}: cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode_record(&longer).is_err(), "{name}: one byte more");
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let mut bytes = encode(&StoredVote { term: 1, node: 1, committed: false }).unwrap();
    bytes[4] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let error = decode::<StoredVote>(&bytes).unwrap_err();
    assert!(matches!(&error, CodecError::Newer(what) if what == "Vote version 2"), "{error:?}");
}
