//! One real process on loopback ports of its own, its command line, and waiting for states.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a state may take to be reached, on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node; its process ends with it.
pub(crate) struct Node {
    home: TempDir,
    name: String,
    pub(crate) http: u16,
    pub(crate) admin: u16,
    pub(crate) peer: u16,
    pub(crate) grpc: u16,
    child: Option<Child>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Said {
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("-o json prints JSON")
    }

    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.error
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
    }
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let [http, admin, peer, grpc] = [(); 4].map(|()| free_port());
        let node = Self { home, name: name.into(), http, admin, peer, grpc, child: None };
        let text = format!(
            // On loopback no address can float: a test must not put one on the network of whoever runs it.
            "data_dir = \"{}\"\nname = \"{name}\"\ninterface = \"lo\"\nadvertise = \"127.0.0.1\"\n[listen]\nboot_http = \"127.0.0.1:{http}\"\n\
             admin = \"127.0.0.1:{admin}\"\npeer = \"127.0.0.1:{peer}\"\ngrpc = \"127.0.0.1:{grpc}\"\ntftp = \"off\"\ndhcp = \"off\"\n",
            node.data().display()
        );
        fs::write(node.config(), text).expect("a writable folder");
        node
    }

    /// Founds a cluster and starts; answers the token others join with.
    pub(crate) fn found(name: &str) -> (Self, String) {
        let mut node = Self::new(name);
        let founded = node.init(&["-o", "json"]).json();
        let line = founded["join"].as_str().expect("a new cluster has a join line").to_owned();
        assert!(line.starts_with(&format!("raftboot join 127.0.0.1:{} --token rbj_", node.peer)), "{line}");
        node.start();
        let token = line.rsplit(' ').next().expect("the token ends the line").to_owned();
        (node, token)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home.path().join("raftboot.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftboot"));
        command.args(arguments).env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
        command
    }

    pub(crate) fn init(&self, more: &[&str]) -> Said {
        let mut command = self.command(&["init", "--config"]);
        command.arg(self.config()).args(more).output().expect("the binary runs").into()
    }

    pub(crate) fn join(&self, to: &Self, token: &str, more: &[&str]) -> Said {
        let address = format!("127.0.0.1:{}", to.peer);
        let mut command = self.command(&["join", &address, "--token", token, "--config"]);
        command.arg(self.config()).args(more).output().expect("the binary runs").into()
    }

    /// A command of a client that asks this node with the credentials of the founder.
    pub(crate) fn cli(&self, founder: &Self, arguments: &[&str]) -> Said {
        let mut command = self.command(arguments);
        command
            .env("RAFTBOOT_SERVER", format!("https://127.0.0.1:{}", self.admin))
            .arg("--data-dir")
            .arg(founder.data());
        command.output().expect("the binary runs").into()
    }

    /// The status, without what it says of the disk of the computer that the tests run on.
    pub(crate) fn status(&self, founder: &Self) -> Value {
        let mut status = self.cli(founder, &["status", "-o", "json"]).json();
        if let Some(problems) = status["problems"].as_array_mut() {
            problems.retain(|problem| problem["code"] != "disk_low");
        }
        status
    }

    /// Starts and waits until it says that it is ready.
    pub(crate) fn start(&mut self) {
        self.spawn();
        let start = Instant::now();
        while !self.log().contains(" ready ") {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("our own child"));
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{} is not ready:\n{}", self.name, self.log());
            pause();
        }
    }

    pub(crate) fn spawn(&mut self) {
        let log = fs::File::create(self.home.path().join("log")).expect("a writable folder");
        let mut command = self.command(&["serve", "--config"]);
        command.arg(self.config()).stderr(log).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("the binary runs"));
    }

    /// Waits for the process to end and answers its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it was started");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("our own child") {
                return status.code();
            }
            if start.elapsed() > PATIENCE {
                child.kill().expect("our own child");
                panic!("{} did not end:\n{}", self.name, self.log());
            }
            pause();
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it was started").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there").success());
    }

    pub(crate) fn stop(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.ended()
    }

    /// Removes everything the node has stored, as a new disk would.
    pub(crate) fn wipe_disk(&self) {
        fs::remove_dir_all(self.data()).expect("a removable folder");
    }

    /// Puts the data of another place where this node's is.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, text).expect("a writable folder");
        path.display().to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _already_gone = child.wait();
        }
        if std::thread::panicking() {
            let mut tail: Vec<String> = self.log().lines().rev().take(20).map(str::to_owned).collect();
            tail.reverse();
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("--- the last words of {}\n{}\n", self.name, tail.join("\n")).as_bytes(),
            );
        }
    }
}

/// Waits for a state; nothing is waited for by time alone.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "this did not happen: {what}");
        pause();
    }
}

/// Between two looks at a state.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(20));
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("loopback has ports").local_addr().expect("it is bound").port()
}

/// Whether something listens there.
pub(crate) fn is_open(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// All files below a folder, for messages.
pub(crate) fn exists(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}
