//! A node's life as an operator sees it: starts, refusals, signals, exit codes, what it says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// From start to ready and from signal to end, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    home: TempDir,
    http: u16,
    admin: u16,
    peer: u16,
    child: Option<Child>,
}

impl Node {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let (http, admin, peer) = (free_port(), free_port(), free_port());
        let node = Self { home, http, admin, peer, child: None };
        node.configure("");
        node
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "data_dir = \"{}\"\nadvertise = \"127.0.0.1\"\n{more}\n[listen]\nboot_http = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\npeer = \"127.0.0.1:{}\"\ntftp = \"off\"\ndhcp = \"off\"\n",
            self.data().display(),
            self.http,
            self.admin,
            self.peer
        );
        fs::write(self.config(), text).expect("a writable folder");
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("raftboot.toml")
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftboot"));
        command.args(arguments).env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
        command.env("RAFTBOOT_SERVER", format!("https://127.0.0.1:{}", self.admin));
        command
    }

    fn start(&mut self) {
        self.start_with(|command| command);
    }

    fn start_with(&mut self, prepare: impl FnOnce(&mut Command) -> &mut Command) {
        let log = fs::File::create(self.home.path().join("log")).expect("a writable folder");
        let mut command = self.command(&["serve", "--config"]);
        command.arg(self.config()).stderr(log).stdout(Stdio::null());
        self.child = Some(prepare(&mut command).spawn().expect("the binary runs"));
    }

    fn start_until_ready(&mut self) {
        self.start();
        self.until("ready", |node| node.log().contains(" ready "));
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("our own child"));
            assert!(ended.is_none(), "the node ended before it was {what}:\n{}", self.log());
            assert!(start.elapsed() < PATIENCE, "the node is not {what}:\n{}", self.log());
            pause();
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it was started");
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("our own child") {
                return status;
            }
            if start.elapsed() > PATIENCE {
                child.kill().expect("our own child");
                panic!("the node did not end:\n{}", self.log());
            }
            pause();
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it was started").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there").success());
    }

    fn cli(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).arg("--data-dir").arg(self.data()).output().expect("the binary runs");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("boot HTTP listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a writable socket");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _already_gone = child.kill();
            let _already_gone = child.wait();
        }
    }
}

/// Between two looks at a state; nothing is waited for by time alone.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(5));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("loopback has ports").local_addr().expect("it is bound").port()
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).expect("a writable folder");
    path.display().to_string()
}

const MACHINE: &str = "kind: profile\nid: p\nboot: {kernel: /assets/k}\n---\nkind: group\nid: g\nprofile: p\nselector: {mac: \"52:54:00:12:34:56\"}\n";

#[test]
fn sigterm_ends_a_node_in_order_with_exit_code_0() {
    let mut node = Node::new();
    node.start_until_ready();
    node.signal("TERM");
    assert_eq!(node.wait().code(), Some(0), "{}", node.log());
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let mut node = Node::new();
    node.start_until_ready();
    let file = write(&node.home.path().join("machine.yaml"), MACHINE);
    let (done, text) = node.cli(&["apply", "-f", &file]);
    assert!(done, "{text}");
    node.signal("KILL");
    node.wait();
    node.start_until_ready();
    let script = node.get("/ipxe?mac=52-54-00-12-34-56");
    assert!(script.contains("/assets/k"), "{script}");
}

#[test]
fn a_template_that_fails_for_a_machine_is_in_the_log_and_in_its_timeline() {
    let mut node = Node::new();
    node.start_until_ready();
    let template = "kind: template\ntype: generic\nname: t\ncontent: \"a: {{.missing}}\"\n---\n";
    let text = template.to_owned() + &MACHINE.replace("id: p\n", "id: p\ngeneric_id: t\n");
    let (done, text) = node.cli(&["apply", "-f", &write(&node.home.path().join("machine.yaml"), &text)]);
    assert!(done, "{text}");
    for _ in 0..2 {
        assert!(node.get("/generic?mac=52-54-00-12-34-56").starts_with("HTTP/1.1 404 "));
    }
    let log = node.log();
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("template failed")).collect();
    assert_eq!(warned.len(), 2, "one line for each: {log}");
    for said in [" WARN ", "client=127.0.0.1", "52:54:00:12:34:56", "template=\"t\"", "kind=\"generic\"", "missing"] {
        assert!(warned[0].contains(said), "{said}: {}", warned[0]);
    }
    assert!(node.get("/ipxe?mac=52-54-00-12-34-56").contains("/assets/k"));
    assert!(node.get("/assets/k").starts_with("HTTP/1.1 404 "));
    let (done, table) = node.cli(&["machine", "timeline", "52:54:00:12:34:56"]);
    assert!(done, "{table}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("TIME ") && lines[0].ends_with("DETAIL"), "{table}");
    assert!(lines[1].contains(" refused  generic template `t`: ") && lines[1].contains("missing"), "{table}");
    assert!(lines[1].contains("(2 times, last 20"), "{table}");
    assert!(lines[2].ends_with(" script   group g, profile p"), "{table}");
    assert!(lines[3].ends_with(" refused  there is nothing at /assets/k"), "{table}");
}

#[test]
fn systemd_is_told_when_the_node_is_ready_and_when_it_stops() {
    let mut node = Node::new();
    let path = node.home.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a writable folder");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    node.start_with(|command| command.env("NOTIFY_SOCKET", &path));
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).expect("a notification");
    assert_eq!(String::from_utf8_lossy(&buffer[..length]).trim(), "READY=1");
    assert!(node.get("/").ends_with("matchbox\n"), "ready means that machines are answered");
    node.signal("TERM");
    let length = socket.recv(&mut buffer).expect("a notification");
    assert_eq!(String::from_utf8_lossy(&buffer[..length]).trim(), "STOPPING=1");
    assert_eq!(node.wait().code(), Some(0));
}

#[test]
fn signs_of_life_come_while_systemd_waits_for_them_and_none_from_a_node_that_stands_still() {
    let mut node = Node::new();
    let path = node.home.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a writable folder");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    node.start_with(|command| command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000"));
    let next = || {
        let mut buffer = [0; 256];
        socket.recv(&mut buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
    };
    // The first sign of life may come before the node says that it is ready.
    let mut said = Vec::new();
    while said.iter().filter(|word| *word == "WATCHDOG=1").count() < 4 {
        said.push(next().expect("a sign of life"));
    }
    assert!(said.contains(&"READY=1".to_owned()), "{said:?}");
    node.signal("STOP");
    socket.set_read_timeout(Some(Duration::from_millis(800))).expect("a socket");
    while next().is_ok() {}
    node.signal("CONT");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    assert_eq!(next().expect("a sign of life"), "WATCHDOG=1");
    node.signal("TERM");
    assert_eq!(node.wait().code(), Some(0));
}

#[test]
fn manual_pages_and_completions_cover_every_command() {
    let node = Node::new();
    let dir = node.home.path().join("man");
    let (done, said) = {
        let output = node.command(&["man", "--out"]).arg(&dir).output().expect("the binary runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(done, "{said}");
    let page = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(page("raftboot.1").contains("raftboot\\-token(1)"), "{}", page("raftboot.1"));
    assert!(page("raftboot-token-create.1").contains("\\-\\-role"), "{}", page("raftboot-token-create.1"));
    for shell in ["bash", "zsh", "fish"] {
        let output = node.command(&["completions", shell]).output().expect("the binary runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("join-token"), "{shell}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_remedy_and_nothing_is_created() {
    let mut node = Node::new();
    let _taken = TcpListener::bind(("127.0.0.1", node.http)).expect("it was free a moment ago");
    node.start();
    assert_eq!(node.wait().code(), Some(1));
    let log = node.log();
    assert!(log.contains(&format!("127.0.0.1:{}", node.http)) && log.contains("another program"), "{log}");
    assert!(!node.data().exists(), "a node that could not bind must not have begun");
}

#[test]
fn a_second_node_on_the_same_data_is_refused() {
    let mut first = Node::new();
    first.start_until_ready();
    let mut second = Node::new();
    let text = fs::read_to_string(second.config()).expect("just written");
    let text = text.replace(&second.data().display().to_string(), &first.data().display().to_string());
    fs::write(second.config(), text).expect("a writable folder");
    second.start();
    assert_eq!(second.wait().code(), Some(1));
    let log = second.log();
    assert!(log.contains("another") && log.contains(&first.data().display().to_string()), "{log}");
    assert!(first.get("/").ends_with("matchbox\n"), "the first node must not notice");
}

#[test]
fn a_configuration_with_mistakes_ends_with_64_and_all_of_them() {
    let mut node = Node::new();
    node.configure("interfase = \"eth0\"\nadvertise_to = 3");
    node.start();
    assert_eq!(node.wait().code(), Some(64));
    let log = node.log();
    assert!(log.contains("line 3: interfase") && log.contains("line 4: advertise_to"), "{log}");
    let checked = node.command(&["check-config", "--config"]).arg(node.config()).output().expect("the binary runs");
    assert_eq!(checked.status.code(), Some(64));
}

#[test]
fn a_token_file_that_cannot_be_read_is_said_with_its_path() {
    let mut node = Node::new();
    node.start_until_ready();
    let token = node.data().join("admin.token");
    fs::remove_file(&token).expect("serve wrote it");
    fs::create_dir(&token).expect("a writable folder");
    let (done, text) = node.cli(&["status", "--token-file", &token.display().to_string()]);
    assert!(!done && text.contains("admin.token"), "{text}");
    // Whoever can read the CA's key needs no token; whoever cannot is told where one was looked for.
    fs::rename(node.data().join("ca.key"), node.home.path().join("ca.key")).expect("a writable folder");
    let (done, text) = node.cli(&["status"]);
    assert!(!done && text.contains("admin.token") && text.contains("--token-file"), "{text}");
}

#[test]
fn a_configuration_that_does_not_fit_the_host_is_found_by_check_config() {
    let node = Node::new();
    let check = |more: &str| {
        node.configure(more);
        let output = node.command(&["check-config", "--config"]).arg(node.config()).output().expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, text) = check("");
    assert!(code == Some(0) && text.contains("http://127.0.0.1:"), "{text}");
    let (code, text) = check("interface = \"nope0\"");
    assert!(code == Some(64) && text.contains("`nope0` does not exist"), "{text}");
}

#[test]
fn a_second_node_leaves_the_uploads_of_the_first_alone() {
    let mut first = Node::new();
    first.start_until_ready();
    let upload = first.data().join("tmp/upload-of-the-first");
    fs::write(&upload, "half of it").expect("the folder is there");
    let mut second = Node::new();
    let text = fs::read_to_string(second.config()).expect("just written");
    let text = text.replace(&second.data().display().to_string(), &first.data().display().to_string());
    fs::write(second.config(), text).expect("a writable folder");
    second.start();
    assert_eq!(second.wait().code(), Some(1));
    assert!(upload.exists(), "the second process swept away an upload of the first");
}

#[test]
fn json_logs_are_one_object_a_line() {
    let mut node = Node::new();
    let text = fs::read_to_string(node.config()).expect("just written") + "[log]\nformat = \"json\"\n";
    fs::write(node.config(), text).expect("a writable folder");
    node.start();
    node.until("ready", |node| node.log().contains("\"message\":\"ready\""));
    for line in node.log().lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|value| value["level"].is_string()), "{line}");
    }
}

#[test]
fn a_damaged_log_ends_the_node_with_one_error_and_exit_code_1() {
    let mut node = Node::new();
    node.start_until_ready();
    for round in 0..20 {
        let text = MACHINE.replace("/assets/k", &format!("/assets/k{round}"));
        let file = write(&node.home.path().join("machine.yaml"), &text);
        assert!(node.cli(&["apply", "-f", &file]).0);
    }
    node.signal("KILL");
    node.wait();
    let damaged = damage_the_write_ahead_log(&node.data().join("raft"));
    node.start();
    assert_eq!(node.wait().code(), Some(1), "{damaged:?}: {}", node.log());
    let said = node.log();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("raftboot: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
}

/// Flips bits in the middle of the newest write-ahead log.
fn damage_the_write_ahead_log(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut logs = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                logs.push(path);
            }
        }
    }
    let path =
        logs.into_iter().max_by_key(|path| fs::metadata(path).map_or(0, |meta| meta.len())).expect("RocksDB keeps one");
    let mut bytes = fs::read(&path).expect("a readable file");
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0x5a;
    }
    fs::write(&path, bytes).expect("a writable file");
    path
}
