//! Signatures for machines as GnuPG sees them: keys that it made and exported, bodies that we sign, its verdict on both.
//!
//! Needs `gpg` and `gpgv` (Debian: `gnupg` and `gpgv`).

#[path = "cluster/node.rs"]
#[allow(dead_code, reason = "the rig of another test too")]
mod node;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::SystemTime;

use pgp::composed::{Deserializable, SignedSecretKey};

use node::Node;
use raftboot::boot::Signer;
use tempfile::TempDir;
use tracing_subscriber::filter::LevelFilter;

const PASSPHRASE: &str = "zwölf Boxkämpfer";

/// A folder with GnuPG's own files in it; its agent ends with it.
struct Gpg {
    home: TempDir,
}

impl Gpg {
    fn new() -> Self {
        // The agent's socket lies in the folder, and its path may not be long.
        Self { home: TempDir::with_prefix_in("gpg", "/tmp").expect("the test's own set-up") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn try_run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.env("GNUPGHOME", self.home.path()).env("LC_ALL", "C.UTF-8").current_dir(self.home.path()).args(args);
        command.output().unwrap_or_else(|error| panic!("{program}: {error}; install gnupg and gpgv"))
    }

    /// Runs `gpg` with a passphrase, which must succeed.
    fn run(&self, passphrase: &str, args: &[&str]) -> Vec<u8> {
        let common = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase];
        let output = self.try_run("gpg", &[&common, args].concat());
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key and exports both halves; the fingerprint.
    fn make(&self, name: &str, kind: &str, usage: &str, passphrase: &str, armored: bool) -> String {
        self.run(passphrase, &["--quick-generate-key", name, kind, usage, "never"]);
        let armor: &[&str] = if armored { &["--armor"] } else { &[] };
        let secret = self.run(passphrase, &[armor, &["--export-secret-keys", name]].concat());
        fs::write(self.file(&format!("{name}.secret")), secret).expect("the test's own set-up");
        fs::write(self.file(&format!("{name}.public")), self.run("", &["--export", name]))
            .expect("the test's own set-up");
        let listed = self.run("", &["--list-keys", "--with-colons", name]);
        let listed = String::from_utf8(listed).expect("gpg writes UTF-8");
        let line = listed.lines().find_map(|line| line.strip_prefix("fpr:")).expect("a key has a fingerprint");
        line.trim_matches(':').to_owned()
    }

    /// Whether GnuPG says that `signature` is one of `body` by the key with this fingerprint.
    fn accepts(&self, program: &str, name: &str, fingerprint: &str, signature: &[u8], body: &[u8]) -> bool {
        fs::write(self.file("body"), body).expect("the test's own set-up");
        fs::write(self.file("body.sig"), signature).expect("the test's own set-up");
        let ring = format!("./{name}.public");
        let args: &[&str] = match program {
            "gpg" => &["--batch", "--status-fd", "1", "--verify", "body.sig", "body"],
            _ => &["--status-fd", "1", "--keyring", &ring, "body.sig", "body"],
        };
        let output = self.try_run(program, args);
        let said = String::from_utf8_lossy(&output.stdout);
        let valid = said.lines().any(|line| line.starts_with(&format!("[GNUPG:] VALIDSIG {fingerprint} ")));
        let bad = said.contains("[GNUPG:] BADSIG ");
        assert_ne!(
            valid,
            bad,
            "{program} could not decide on {name}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(valid, output.status.success(), "{program} on {name}: {said}");
        valid
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        self.try_run("gpgconf", &["--kill", "all"]);
    }
}

fn open(file: &Path, passphrase: Option<&str>) -> Signer {
    Signer::open(file, passphrase).unwrap_or_else(|error| panic!("{error}"))
}

/// What the boot paths may serve, and what is hard about each.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let every_byte: Vec<u8> = (0..=255).cycle().take(4096).collect();
    vec![
        ("a script", b"#!ipxe\nkernel vmlinuz console=ttyS0\ninitrd initrd.img\nboot\n".to_vec()),
        ("nothing", Vec::new()),
        ("no line end", b"{\"ignition\":{\"version\":\"3.4.0\"}}".to_vec()),
        ("CR LF", b"one\r\ntwo\r\n\r\n".to_vec()),
        ("a CR LF across the edge of a buffer", [vec![b'x'; 8191], b"\r\nend\r\n".to_vec()].concat()),
        ("mixed line ends", b"one\r\ntwo\nthree \t\n\n".to_vec()),
        ("not UTF-8", b"\xff\xfe\x1a\n\x80".to_vec()),
        ("a NUL at the end of a line", b"one\0\ntwo\n".to_vec()),
        ("a binary", every_byte),
        ("a CR alone", b"one\rtwo\n".to_vec()),
        ("a CR at the end", b"one\r".to_vec()),
        ("two CRs before LF", b"one\r\r\n".to_vec()),
        ("the longest line of a text", [vec![b'x'; 19_990], b"\r\nend\r\n".to_vec()].concat()),
        ("one byte longer", [vec![b'x'; 19_991], b"\nend\n".to_vec()].concat()),
        ("a line beyond GnuPG's buffer", vec![b'x'; 20_000]),
        ("a long line", [vec![b'x'; 300_000], b"\n".to_vec()].concat()),
    ]
}

/// Every body, both forms, both programs; and refused when one byte has changed.
fn check(gpg: &Gpg, name: &str, signer: &Signer) {
    let fingerprint = signer.fingerprint();
    for (what, body) in bodies() {
        let now = SystemTime::now();
        let binary = signer.binary(&body, now).expect("a signature");
        let armored = signer.armored(&body, now).expect("a signature");
        for (form, signature) in [("sig", &binary[..]), ("asc", armored.as_bytes())] {
            for program in ["gpg", "gpgv"] {
                let good = gpg.accepts(program, name, &fingerprint, signature, &body);
                assert!(good, "{program} refuses the .{form} of {what} by {name}");
            }
            let mut changed = body.clone();
            match changed.last_mut() {
                Some(last) => *last ^= 0x10,
                None => changed.push(b'x'),
            }
            let good = gpg.accepts("gpgv", name, &fingerprint, signature, &changed);
            assert!(!good, "gpgv accepts the .{form} of {what} by {name} for other bytes");
        }
    }
}

#[test]
fn gnupg_accepts_what_keys_without_a_passphrase_sign() {
    let gpg = Gpg::new();
    for kind in ["rsa2048", "rsa3072", "rsa4096", "ed25519", "nistp256", "nistp384"] {
        let fingerprint = gpg.make(kind, kind, "sign", "", false);
        let signer = open(&gpg.file(&format!("{kind}.secret")), None);
        assert_eq!((signer.fingerprint(), signer.user()), (fingerprint, kind));
        check(&gpg, kind, &signer);
    }
}

#[test]
fn gnupg_accepts_what_keys_with_a_passphrase_sign() {
    let gpg = Gpg::new();
    for (kind, armored) in [("rsa2048", true), ("rsa4096", false), ("ed25519", true), ("nistp256", false)] {
        gpg.make(kind, kind, "sign", PASSPHRASE, armored);
        let file = gpg.file(&format!("{kind}.secret"));
        for (passphrase, word) in [(None, "no passphrase"), (Some("zwölf boxkämpfer"), "not unlocked")] {
            let error = Signer::open(&file, passphrase).expect_err("a locked key").to_string();
            assert!(error.contains(word), "{error}");
        }
        check(&gpg, kind, &open(&file, Some(PASSPHRASE)));
    }
}

#[test]
fn gnupg_accepts_signatures_whose_numbers_are_short() {
    let gpg = Gpg::new();
    for kind in ["rsa2048", "ed25519", "nistp256"] {
        let fingerprint = gpg.make(kind, kind, "sign", "", false);
        let signer = open(&gpg.file(&format!("{kind}.secret")), None);
        let now = SystemTime::now();
        let made = (0..5000).map(|count: u32| (count.to_string(), signer.binary(count.to_string().as_bytes(), now)));
        let mut made: Vec<_> = made.map(|(body, signature)| (body, signature.expect("a signature"))).collect();
        made.sort_by_key(|(_, signature)| signature.len());
        let (shortest, longest) = (&made[0], &made[made.len() - 1]);
        assert!(shortest.1.len() < longest.1.len(), "of 5000 signatures by {kind} one begins with a zero");
        for (body, signature) in [shortest, longest] {
            assert!(gpg.accepts("gpgv", kind, &fingerprint, signature, body.as_bytes()), "{kind}, {body}");
        }
    }
}

#[test]
fn keys_whose_signatures_gnupg_would_refuse_are_refused() {
    let gpg = Gpg::new();
    let fingerprint = gpg.make("certifies", "ed25519", "cert", "", false);
    gpg.run("", &["--quick-add-key", &fingerprint, "ed25519", "sign", "never"]);
    let fingerprint = gpg.make("signs", "rsa2048", "sign,cert", "", false);
    gpg.run("", &["--quick-add-key", &fingerprint, "rsa2048", "sign", "never"]);
    let export = |how: &str, name: &str, file: &str| {
        fs::write(gpg.file(file), gpg.run("", &[how, name])).expect("the test's own set-up");
    };
    export("--export-secret-keys", "certifies", "certifies");
    export("--export-secret-subkeys", "signs", "stub");
    export("--export", "signs", "public");
    let cases = [
        ("certifies", "it is meant for signing other keys only"),
        ("stub", "is there without its secret half"),
        ("public", "it holds public keys only"),
    ];
    for (file, what) in cases {
        let error = Signer::open(&gpg.file(file), None).expect_err(what).to_string();
        assert!(error.contains(what), "{file}: {error}");
    }
}

/// Everything that this process logs.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_of_a_secret_key_is_logged_at_any_level() {
    tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false).with_writer(|| Log).init();
    let gpg = Gpg::new();
    gpg.make("logged", "ed25519", "sign", "", false);
    let file = gpg.file("logged.secret");
    let found = |secret: &str| {
        let logged = LOGGED.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&logged).matches(secret).count()
    };
    let ring = fs::read(&file).expect("the test's own set-up");
    let key = SignedSecretKey::from_bytes(&ring[..]).expect("a key that GnuPG made");
    // Usage, length in bits, the number; then a checksum.
    let mut secret = Vec::new();
    key.primary_key.secret_params().to_writer(&mut secret, pgp::types::KeyVersion::V4).expect("bytes");
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found(&secret), 1, "the library logs a secret key when it is asked to read one");
    open(&file, None);
    assert_eq!(found(&secret), 1, "opening a key ring logged its secret key");
}

/// What a node answers at that path: status, content type, body.
fn fetched(node: &Node, path: &str) -> (u16, String, Vec<u8>) {
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
    let mut answer = agent.get(format!("http://127.0.0.1:{}{path}", node.http)).call().expect("it answers");
    let media = answer.headers().get("content-type").map_or("", |value| value.to_str().expect("a header")).to_owned();
    (answer.status().as_u16(), media, answer.body_mut().read_to_vec().expect("a body"))
}

#[test]
fn every_path_of_a_node_has_its_signature_beside_it_errors_included() {
    let gpg = Gpg::new();
    let fingerprint = gpg.make("Boot", "rsa2048", "sign", PASSPHRASE, false);
    let mut node = Node::new("a");
    let passphrase = node.write("passphrase", &format!("{PASSPHRASE}\n"));
    let config = fs::read_to_string(node.config()).expect("its configuration");
    let ring = gpg.file("Boot.secret").display().to_string();
    let keys = format!("[boot]\nsigning_key_ring = \"{ring}\"\nsigning_passphrase_file = \"{passphrase}\"\n");
    fs::write(node.config(), format!("{config}{keys}")).expect("a writable folder");
    node.start();
    assert!(node.log().contains(&fingerprint), "it says with what it signs:\n{}", node.log());
    let objects = node.write(
        "objects.yaml",
        "kind: profile\nid: p\nboot: {kernel: /assets/k}\ngeneric_id: g\ncloud_id: c\nignition_id: i.ign\n---\n\
         kind: template\ntype: generic\nname: g\ncontent: \"host={{.request.query.host}}\\n\"\n---\n\
         kind: template\ntype: cloud\nname: c\ncontent: \"#cloud-config\\n\"\n---\n\
         kind: template\ntype: ignition\nname: i.ign\ncontent: '{\"ignition\":{\"version\":\"3.4.0\"}}'\n---\n\
         kind: group\nid: g\nprofile: p\nselector: {os: x}\n",
    );
    node.cli(&node, &["apply", "-f", &objects]).ok();
    let paths = ["/grub", "/boot.ipxe", "/boot.ipxe.0", "/ipxe", "/ignition", "/cloud", "/generic", "/metadata"];
    for (query, status) in [("?os=x&host=h", 200), ("?os=y", 404)] {
        for path in paths {
            let (found, _, body) = fetched(&node, &format!("{path}{query}"));
            for (suffix, kind) in [("sig", "application/octet-stream"), ("asc", "text/plain; charset=utf-8")] {
                let (signed, media, signature) = fetched(&node, &format!("{path}.{suffix}{query}"));
                assert_eq!((signed, media.as_str()), (found, kind), "{path}{query}");
                assert!(gpg.accepts("gpgv", "Boot", &fingerprint, &signature, &body), "{path}.{suffix}{query}");
            }
            // Scripts never fail in the default style; what has no config does.
            let answered = if path.ends_with("ipxe") || path.ends_with("ipxe.0") { 200 } else { status };
            assert_eq!(found, answered, "{path}{query}");
        }
    }
    for nothing in ["/.sig", "/assets/x.sig", "/ipxe.sig.sig"] {
        assert_eq!(fetched(&node, nothing).0, 404, "{nothing}");
    }
    node.stop("TERM");
    fs::write(&passphrase, "another one\n").expect("a writable folder");
    node.spawn();
    assert_ne!(node.ended(), Some(0));
    assert!(node.log().contains("signing_passphrase_file"), "{}", node.log());
}
