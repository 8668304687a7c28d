//! Signatures by keys that GnuPG made, taken apart again, and every way in which a key ring can be of no use.

use std::fs;
use std::io::Read as _;
use std::time::{Duration, UNIX_EPOCH};

use pgp::armor::Dearmor;
use pgp::composed::Deserializable as _;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::SignatureVersion;
use pgp::types::VerifyingKey as _;

use super::fixtures::{
    ED25519, ED25519_CERTIFIES, ED25519_LOCKED, ED25519_OF_A_YEAR, ED25519_PUBLIC, P256, P384, RSA_LOCKED,
};
use super::*;

const BODY: &[u8] = b"#!ipxe\nkernel vmlinuz\nboot\n";
/// A day in 2027, after all the keys were made.
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn open(content: impl AsRef<[u8]>, passphrase: Option<&str>) -> Result<Signer, String> {
    let folder = tempfile::tempdir().expect("the test's own set-up");
    let file = folder.path().join("ring");
    fs::write(&file, content).expect("the test's own set-up");
    Signer::open(&file, passphrase).map_err(|error| {
        let text = error.to_string();
        let prefix = format!("{}: ", file.display());
        text.strip_prefix(&prefix).expect("an error names the file first").to_owned()
    })
}

fn signer(content: &str) -> Signer {
    open(content, Some("geheim")).expect("a key that signs")
}

/// The packets inside armor.
fn without_armor(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut armor = Dearmor::new(text.as_bytes());
    armor.read_header().expect("armor");
    armor.read_to_end(&mut bytes).expect("whole armor");
    bytes
}

fn signature(signer: &Signer, body: &[u8]) -> DetachedSignature {
    let packet = signer.binary(body, now()).expect("a signature");
    DetachedSignature::from_bytes(&packet[..]).expect("one signature packet")
}

/// Whether this is a signature of these bytes as they are, whatever it says of line ends.
fn covers(signature: &DetachedSignature, signer: &Signer, bytes: &[u8]) -> bool {
    let config = signature.signature.config().expect("a version that is known");
    let mut hasher = config.hash_alg.new_hasher().expect("a known hash");
    hasher.update(bytes);
    let length = config.hash_signature_data(&mut hasher).expect("what it says");
    hasher.update(&config.trailer(length).expect("a trailer"));
    let number = signature.signature.signature().expect("numbers");
    signer.held.key.public().verify(config.hash_alg, &hasher.finalize(), number).is_ok()
}

#[test]
fn every_kind_of_key_signs_a_text() {
    let text = b"#!ipxe\r\nkernel vmlinuz\r\nboot\r\n";
    for (ring, algorithm, hash) in [
        (RSA_LOCKED, PublicKeyAlgorithm::RSA, HashAlgorithm::Sha256),
        (ED25519, PublicKeyAlgorithm::EdDSALegacy, HashAlgorithm::Sha256),
        (ED25519_LOCKED, PublicKeyAlgorithm::EdDSALegacy, HashAlgorithm::Sha256),
        (P256, PublicKeyAlgorithm::ECDSA, HashAlgorithm::Sha256),
        (P384, PublicKeyAlgorithm::ECDSA, HashAlgorithm::Sha384),
    ] {
        let signer = signer(ring);
        let signature = signature(&signer, BODY);
        let config = signature.signature.config().unwrap();
        let said = (config.version(), config.typ, config.pub_alg, config.hash_alg);
        assert_eq!(said, (SignatureVersion::V4, SignatureType::Text, algorithm, hash), "{}", signer.user());
        assert!(covers(&signature, &signer, text), "{}", signer.user());
        assert!(!covers(&signature, &signer, BODY), "{}: the hashed text has CR LF", signer.user());
        assert!(!covers(&signature, &signer, b"#!ipxe\r\nkernel vmlinux\r\nboot\r\n"), "{}", signer.user());
    }
}

#[test]
fn a_signature_says_when_and_by_whom() {
    let signer = signer(ED25519);
    let signature = signature(&signer, BODY);
    let config = signature.signature.config().unwrap();
    let said = |data: &[Subpacket]| format!("{:?}", data.iter().map(|part| &part.data).collect::<Vec<_>>());
    let key = signer.held.key.fingerprint();
    let made = Timestamp::try_from(now()).unwrap();
    let hashed = [SubpacketData::SignatureCreationTime(made), SubpacketData::IssuerFingerprint(key)];
    assert_eq!(signer.fingerprint(), "E2EB3FC372CEDD198BEA8A88DE1FBFA1DB205E6C");
    assert_eq!(said(&config.hashed_subpackets), format!("{hashed:?}"));
    assert_eq!(said(&config.unhashed_subpackets), "[IssuerKeyId(KeyId(de1fbfa1db205e6c))]");
}

#[test]
fn line_ends_do_not_matter_to_the_signature_of_a_text() {
    let signer = signer(ED25519);
    let one = signer.binary(b"a\nb", now()).unwrap();
    assert_eq!(one, signer.binary(b"a\r\nb", now()).unwrap());
    assert_ne!(one, signer.binary(b"a\nb\n", now()).unwrap());
    // Whatever the size of the pieces in which a body is hashed, a CR LF may lie across two.
    let line = |end: &str| format!("{}{end}", "x".repeat(16)).repeat(8192);
    assert_eq!(signer.binary(line("\n").as_bytes(), now()), signer.binary(line("\r\n").as_bytes(), now()));
}

#[test]
fn what_is_not_plainly_a_text_is_signed_byte_by_byte() {
    let signer = signer(P256);
    let long = vec![b'x'; 100_000];
    for body in [&b"\x1f\x8b\r\n\0"[..], b"a\r", b"a\r\r\n", &long] {
        let signature = signature(&signer, body);
        assert_eq!(signature.signature.typ(), Some(SignatureType::Binary));
        assert!(covers(&signature, &signer, body));
    }
    for body in [&b""[..], b"\xff\n\x80", b"{}"] {
        assert_eq!(signature(&signer, body).signature.typ(), Some(SignatureType::Text), "{body:?}");
    }
}

#[test]
fn armor_holds_the_same_packet() {
    let signer = signer(ED25519);
    let armored = signer.armored(BODY, now()).unwrap();
    assert!(armored.starts_with("-----BEGIN PGP SIGNATURE-----\n\n"), "{armored}");
    assert!(armored.ends_with("\n-----END PGP SIGNATURE-----\n"), "{armored}");
    assert_eq!(without_armor(&armored), signer.binary(BODY, now()).unwrap());
}

#[test]
fn a_clock_that_cannot_be_right_signs_nothing() {
    let signer = signer(ED25519);
    // The key was made on 2026-01-01 00:00:00.
    let made = 1_767_225_600;
    let at = |seconds| signer.binary(BODY, UNIX_EPOCH + Duration::from_secs(seconds)).err();
    assert_eq!(at(made), None);
    assert_eq!(at(u64::from(u32::MAX)), None);
    assert_eq!(at(made - 1), Some(SignError::Clock));
    assert_eq!(at(u64::from(u32::MAX) + 1), Some(SignError::Clock));
    assert_eq!(signer.binary(BODY, UNIX_EPOCH - Duration::from_secs(1)), Err(SignError::Clock));
}

#[test]
fn the_key_tells_its_name_and_its_end() {
    let signer = signer(ED25519_OF_A_YEAR);
    assert_eq!(signer.user(), "Test short <test@example.com>");
    assert_eq!(signer.expires(), Some(UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 365 * 86_400)));
    assert_eq!(self::signer(ED25519).expires(), None);
    let shown = format!("{signer:?}");
    assert!(shown.contains(&signer.fingerprint()) && shown.len() < 80, "no secret is shown: {shown}");
}

#[test]
fn rings_are_read_in_every_form_they_come_in() {
    let binary = without_armor(ED25519);
    let public = ED25519_PUBLIC;
    let forms: [(&str, Vec<u8>); 6] = [
        ("armored", ED25519.into()),
        ("binary", binary),
        ("with CR LF", ED25519.replace('\n', "\r\n").into()),
        ("with headers", ED25519.replacen("\n\n", "\nVersion: GnuPG v1\nComment: a = b\n\n", 1).into()),
        ("after a public key", format!("What follows is secret.\n{public}{ED25519}").into()),
        ("before another one", format!("{ED25519}{ED25519_LOCKED}").into()),
    ];
    let wanted = signer(ED25519).fingerprint();
    for (form, content) in forms {
        let read = open(content, None).map(|signer| signer.fingerprint());
        assert_eq!(read.as_deref(), Ok(&*wanted), "{form}");
    }
}

/// A key packet of version 4 with this after the time, and the same secret octets.
fn packet(algorithm_and_public: &[u8], secret: &[u8]) -> Vec<u8> {
    let content = [&[4, 0, 0, 0, 1], algorithm_and_public, secret].concat();
    let length = u16::try_from(content.len()).expect("a short one").to_be_bytes();
    [&[0x95], &length[..], &content].concat()
}

#[test]
fn a_ring_of_no_use_says_what_is_wrong_and_what_to_do() {
    let rsa = |bytes: u16| [&[1][..], &(bytes * 8).to_be_bytes(), &vec![0xff; usize::from(bytes)], &[0, 2, 3]].concat();
    // Its algorithm and its point, behind the frame, the version and the time.
    let ed25519 = &without_armor(ED25519)[7..53];
    let locked = |cipher| [&[254, cipher, 3, 8][..], &[7; 8], &[96], &[7; 16], &[7; 40]].concat();
    let stub = packet(ed25519, &[255, 0, 101, 0, b'G', b'N', b'U', 1]);
    let card = packet(ed25519, &[255, 0, 101, 0, b'G', b'N', b'U', 2, 0]);
    let foreign = packet(ed25519, &[0, 0, 1, 1, 0, 2]);
    let damaged = packet(ed25519, &[0, 0, 1, 1, 0, 3]);
    let mut version = packet(&[&[0, 0], &rsa(256)[..]].concat(), &locked(9));
    version[3] = 3;
    let new_ed25519 = packet(&[&[27], &ed25519[14..]].concat(), &locked(9));
    let brainpool = packet(&[19, 9, 0x2b, 0x24, 3, 3, 2, 8, 1, 1, 7, 0, 1, 1], &locked(9));
    let elgamal = packet(&[16, 0, 1, 1, 0, 1, 1, 0, 1, 1], &locked(9));
    let mangled = ED25519.replacen("QobPT", "QobPX", 1);
    let cut = &ED25519[..200];
    let certifies = ED25519_CERTIFIES;
    let long = vec![0xb4; 4 * 1024 * 1024 + 1];
    let export = "gpg --export-secret-keys";
    let generate = "gpg --quick-generate-key";
    let word = "boot.signing_passphrase_file";
    let cases: [(&[u8], Option<&str>, &str, &str); 27] = [
        (b"", None, "it is empty", export),
        (b"hello\n", None, "it is not an OpenPGP key ring", export),
        (&[0x95, 1], None, "no whole secret key is in it", export),
        (&long, None, "it is longer than the 4194304 bytes", export),
        (cut.as_bytes(), None, "it is cut short, or its armor is damaged", export),
        (&ED25519.as_bytes()[..37], None, "its armor is damaged", export),
        (mangled.as_bytes(), None, "its first key is damaged", export),
        (ED25519_PUBLIC.as_bytes(), None, "it holds public keys only", export),
        (&without_armor(ED25519_PUBLIC), None, "it holds public keys only", export),
        (&[0xb4, 1, b'x'], None, "no whole secret key is in it", export),
        (&without_armor(ED25519)[..80], None, "it is cut short", export),
        (ED25519_LOCKED.as_bytes(), None, "is locked, and no passphrase is given", word),
        (ED25519_LOCKED.as_bytes(), Some(""), "is locked, and no passphrase is given", word),
        (ED25519_LOCKED.as_bytes(), Some("Geheim"), "is not unlocked by the passphrase given", word),
        (RSA_LOCKED.as_bytes(), Some("geheim "), "is not unlocked by the passphrase given", word),
        (&stub, None, "is there without its secret half", export),
        (&card, None, "is on a smart card", generate),
        (&packet(ed25519, &locked(99)), Some("x"), "locked in a way that is not known here", export),
        (&damaged, None, "its first key is damaged", export),
        (&foreign, None, "its numbers do not fit each other", generate),
        (&version, None, "it is in version 3 of the key format", generate),
        (certifies.as_bytes(), None, "it is meant for signing other keys only", generate),
        (&packet(&rsa(128), &locked(9)), None, "it is an RSA key of 1024 bits", generate),
        (&packet(&rsa(1024), &locked(9)), None, "it is an RSA key of 8192 bits", generate),
        (&elgamal, None, "it is of the kind ElgamalEncrypt (16)", generate),
        (&new_ed25519, None, "it is of the kind Ed25519 (27)", generate),
        (&brainpool, None, "it is on an elliptic curve that is not known here", generate),
    ];
    let mut wrong = Vec::new();
    for (content, passphrase, what, hint) in cases {
        let error = open(content, passphrase).expect_err(what);
        if !error.contains(what) || !error.contains(hint) {
            wrong.push(format!("wanted `{what}` and `{hint}`, got: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_path_of_no_use_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (folder.path().join("none"), "there is no such file"),
        (folder.path().to_owned(), "it is not a file"),
        ("/dev/zero".into(), "it is not a file"),
        // The one file that nobody can read from its beginning, not even root.
        ("/proc/self/mem".into(), "it cannot be read: "),
    ];
    for (file, what) in cases {
        let error = Signer::open(&file, None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: {what}", file.display())), "{error}");
    }
}

#[test]
fn a_withdrawn_key_is_of_no_use() {
    let key_id = signer(ED25519).held.key.legacy_key_id();
    let said = |kind| {
        let content =
            [&[4, kind, 22, 8, 0, 6, 5, 2, 0, 0, 0, 1, 0, 10, 9, 16], key_id.as_ref(), &[0, 0, 0, 1, 1, 0, 1, 1]];
        let content = content.concat();
        [vec![0x88, u8::try_from(content.len()).expect("a short one")], content].concat()
    };
    // The word stands behind the key itself, in front of its names.
    let ring = without_armor(ED25519);
    let (key, rest) = ring.split_at(2 + usize::from(ring[1]));
    assert_eq!(open([key, &said(0x1f), rest].concat(), None).map(|_| ()), Ok(()));
    let error = open([key, &said(0x20), rest].concat(), None).unwrap_err();
    assert!(error.starts_with("its first key cannot sign: its owner revoked it; "), "{error}");
}
