//! The scripts boot loaders run: iPXE's in matchbox's words or in robust ones, and GRUB's.
//!
//! Pure. Nothing a request says ever enters a script: all text comes from profiles, settings and our nodes' addresses.
//!
//! Robust scripts outlive a node. A download that makes no progress fails (`--timeout`, which counts from the last byte:
//! iPXE before 2025 has no other way to notice that the other end has lost power) and is tried at the next address of a
//! list, `${node0}` and so on, `at` being the one in use. What works is kept: later downloads begin there.

use std::fmt::Write as _;

use raft::state::{NetBoot, ScriptStyle};

use super::line::Line;

/// The relative address a machine asks with everything it knows of itself, in matchbox's words; iPXE fills in the
/// values.
const ASK: &str = "ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain}&hostname=${hostname}&serial=${serial}&arch=${buildarch:uristring}";
/// The same with every free text escaped: a space in a serial number would end the address. iPXE leaves `&` and `+` as
/// they are. What matchbox does not know stands at the end, so that nothing in it can take the place of the rest.
const ASK_ESCAPED: &str = "ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain:uristring}&hostname=${hostname:uristring}&serial=${serial:uristring}&arch=${buildarch:uristring}&manufacturer=${manufacturer:uristring}&product=${product:uristring}&asset=${asset:uristring}";

/// A file that makes no progress for so long is fetched elsewhere, in milliseconds. Lost packets are repeated by then, and
/// a floating address has moved.
const FILE_STALL_MILLISECONDS: u32 = 10_000;
/// The same for a script, which every node has in memory.
const SCRIPT_STALL_MILLISECONDS: u32 = 5_000;
/// After so many failures of one download, at every address, the machine asks again what to boot: the answer may have been corrected.
const DOWNLOAD_TRIES: u32 = 8;
/// Pauses double up to this, in seconds; a power of two.
const PAUSE_SECONDS_MAX: u32 = 32;
/// How long a held machine waits before it asks again, in seconds.
const HOLD_SECONDS: u32 = 30;
/// How long an unknown machine shows why it goes on to its next boot device, in seconds.
const LEAVE_SECONDS: u32 = 5;
/// After so many questions without an answer, about a quarter of an hour, a machine goes on to its next boot device.
const ASKS_MAX: u32 = 32;
/// After so many rounds of failed downloads, about as long again, it does so too.
const RESTARTS_MAX: u32 = 8;
/// Every so many questions without an answer the machine asks DHCP anew: this node may be gone, or have another address.
const RENEW_ASKS: u32 = 4;

/// The first script: ask this service what to boot, at one of `nodes`. `asks` outlives a script that starts itself again.
#[must_use]
pub(super) fn boot(style: ScriptStyle, nodes: &[String]) -> String {
    match style {
        ScriptStyle::Matchbox => format!("#!ipxe\nchain {ASK}\n"),
        ScriptStyle::Robust => format!(
            "#!ipxe\nset pause:int32 1\nset renew:int32 0\nisset ${{asks}} || set asks:int32 0\n{}:ask\n{}{}{}\
             echo Raftboot: no answer yet for ${{mac}} (${{uuid}}); asking again in ${{pause}} s\n{}{}{}",
            list(nodes),
            chain(&at_node(nodes, ASK_ESCAPED)),
            next_node(nodes, "ask"),
            count_ask(),
            sleep(),
            renew("ask"),
            leave()
        ),
    }
}

/// The script iPXE finds beside its own binary: bring up the network, then go on as DHCP would have told it to.
///
/// `asked` is `http://ADDRESS:PORT` without a slash at the end, `nodes` where else to go.
#[must_use]
pub fn autoexec(asked: &str, nodes: &[String]) -> String {
    let first = [asked.to_owned()];
    let nodes = if nodes.is_empty() { &first } else { nodes };
    format!(
        "#!ipxe\nset pause:int32 1\nset asks:int32 0\n{}:ask\ndhcp || goto failed\n{}:failed\n{}{}\
         echo Raftboot: no answer yet from {asked}; trying again in ${{pause}} s\n{}goto ask\n{}",
        list(nodes),
        chain(&at_node(nodes, "boot.ipxe")),
        next_node(nodes, "ask"),
        count_ask(),
        sleep(),
        leave()
    )
}

/// Sets the list of nodes, and begins with the first.
fn list(nodes: &[String]) -> String {
    let mut text = String::new();
    for (at, base) in nodes.iter().enumerate() {
        let _ = writeln!(text, "set node{at} {base}");
    }
    if !nodes.is_empty() {
        text.push_str("set at:int32 0\n");
    }
    text
}

/// A path on the node in use; iPXE fills in the innermost setting first. Without a list it is relative to the script.
fn at_node(nodes: &[String], path: &str) -> String {
    if nodes.is_empty() { path.to_owned() } else { format!("${{node${{at}}}}/{}", path.trim_start_matches('/')) }
}

/// Goes on with the next node and back to `label`; after the last one it falls through, with the first one in use.
fn next_node(nodes: &[String], label: &str) -> String {
    match nodes.len() {
        0 | 1 => String::new(),
        count => format!("inc at\niseq ${{at}} {count} || goto {label}\nset at:int32 0\n"),
    }
}

/// Runs another script in place of this one; the next line is reached if it cannot be fetched.
fn chain(address: &str) -> String {
    format!("chain --timeout {SCRIPT_STALL_MILLISECONDS} --autofree --replace {address} ||\n")
}

/// Counts a question without an answer and gives up after many.
fn count_ask() -> String {
    format!("inc asks\niseq ${{asks}} {ASKS_MAX} && goto leave ||\n")
}

/// Goes back to `label`, now and then by way of DHCP, which may name another node by now. `netX` is the card last used.
fn renew(label: &str) -> String {
    format!(
        "inc renew\niseq ${{renew}} {RENEW_ASKS} || goto {label}\nset renew:int32 0\ndhcp netX || dhcp ||\n\
         isset ${{filename}} && {}goto {label}\n",
        chain("${filename}")
    )
}

/// The end of a script that has tried for long enough.
fn leave() -> String {
    let end = go_on("giving up on this network boot");
    format!(":leave\nset asks:int32 0\nset restarts:int32 0\n{end}")
}

/// Says why and goes on to the next boot device. UEFI firmware ends its boot order after a program that succeeds, so
/// the script must fail; BIOS firmware does not care.
fn go_on(why: &str) -> String {
    format!("echo Raftboot: {why}; going on to the next boot device\nsleep {LEAVE_SECONDS}\nexit 1\n")
}

/// Sleeps `pause` seconds and doubles it up to the limit; `inc` adds, so adding it to itself doubles.
fn sleep() -> String {
    format!("sleep ${{pause}}\niseq ${{pause}} {PAUSE_SECONDS_MAX} || inc pause ${{pause}}\n")
}

/// What goes into a script beside the profile.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extras<'a> {
    /// Kernel arguments for every machine, after the profile's own.
    pub args: &'a [String],
    /// What `${base_url}` stands for; empty: it is left alone.
    pub base_url: &'a str,
    /// Where files are fetched, in this order; none: from the node that was asked.
    pub nodes: &'a [String],
}

impl Extras<'_> {
    fn expand(&self, text: &str) -> String {
        expand_base_url(text, self.base_url)
    }
}

/// Replaces `${base_url}`, unless `base_url` is empty.
#[must_use]
pub(super) fn expand_base_url(text: &str, base_url: &str) -> String {
    if base_url.is_empty() { text.to_owned() } else { text.replace(BASE_URL, base_url) }
}

/// The placeholder for the address of the node that serves.
pub(super) const BASE_URL: &str = "${base_url}";

/// The script that loads a profile's kernel and starts it.
#[must_use]
pub(super) fn ipxe(style: ScriptStyle, boot: &NetBoot, extras: Extras<'_>) -> String {
    match style {
        ScriptStyle::Matchbox => ipxe_matchbox(boot, extras),
        ScriptStyle::Robust => ipxe_robust(boot, extras),
    }
}

fn ipxe_matchbox(boot: &NetBoot, extras: Extras<'_>) -> String {
    let mut script = String::with_capacity(256);
    script.push_str("#!ipxe\nkernel ");
    script.push_str(&boot.kernel);
    for arg in boot.args.iter().chain(extras.args) {
        script.push(' ');
        script.push_str(arg);
    }
    script.push('\n');
    for initrd in &boot.initrd {
        script.push_str("initrd ");
        script.push_str(initrd);
        script.push('\n');
    }
    script.push_str("boot\n");
    script
}

/// Each download is tried again by itself, at every node and then with growing pauses; `goto ${step}` returns to the one
/// that failed.
fn ipxe_robust(boot: &NetBoot, extras: Extras<'_>) -> String {
    let initrds = name_initrds(boot);
    let mut kernel = download(&boot.kernel, extras);
    for arg in boot.args.iter().chain(extras.args) {
        kernel.push(' ');
        kernel.push_str(&extras.expand(arg));
    }
    for name in initrds.iter().filter_map(|initrd| initrd.argument.as_deref()) {
        kernel.push_str(" initrd=");
        kernel.push_str(name);
    }
    let mut script = String::with_capacity(2048);
    script.push_str("#!ipxe\nset pause:int32 1\nset tries:int32 0\nset asks:int32 0\nset renew:int32 0\n");
    script.push_str("isset ${restarts} || set restarts:int32 0\n");
    script.push_str(&list(extras.nodes));
    let _ = writeln!(script, ":begin\nimgfree\n:step0\nset step step0\nkernel {kernel} || goto failed");
    for (at, initrd) in initrds.iter().enumerate() {
        let (step, line) = (at + 1, download(&initrd.line, extras));
        let _ = writeln!(script, ":step{step}\nset step step{step}\ninitrd {line} || goto failed");
    }
    script.push_str("set step begin\nboot || goto failed\n:failed\n");
    let _ = write!(
        script,
        "{}inc tries\niseq ${{tries}} {DOWNLOAD_TRIES} && goto restart ||\n\
         echo Raftboot: that failed; trying again in ${{pause}} s\n{}goto ${{step}}\n\
         :restart\ninc restarts\niseq ${{restarts}} {RESTARTS_MAX} && goto leave ||\n{}",
        next_node(extras.nodes, "${step}"),
        sleep(),
        ask_again("that keeps failing", extras.nodes)
    );
    script
}

/// A download's words: when to give up, and where the file is. Addresses that leave the host open get one from the list.
fn download(text: &str, extras: Extras<'_>) -> String {
    let line = Line::read(text);
    let timeout = if line.has_timeout() || line.address.is_empty() {
        String::new()
    } else {
        format!("--timeout {FILE_STALL_MILLISECONDS} ")
    };
    let own = line.own_path().filter(|_| !extras.nodes.is_empty());
    let address = own.map_or_else(|| extras.expand(line.address), |path| at_node(extras.nodes, &path));
    format!("{timeout}{}{address}{}", extras.expand(line.options), extras.expand(line.rest))
}

/// Asks what to boot from the beginning, until there is an answer or it has taken too long.
fn ask_again(why: &str, nodes: &[String]) -> String {
    let (ask, next) = match next_node(nodes, "ask") {
        next if next.is_empty() => ("", next),
        next => (":ask\n", next),
    };
    format!(
        ":again\necho Raftboot: {why}; asking again what to boot in {HOLD_SECONDS} s\nsleep {HOLD_SECONDS}\nimgfree\n\
         {ask}{}{next}{}{}{}",
        chain(&at_node(nodes, "boot.ipxe")),
        count_ask(),
        renew("again"),
        leave()
    )
}

/// The script for a machine an operator holds back: it says so and asks again until it is let go.
#[must_use]
pub(super) fn held(nodes: &[String]) -> String {
    let again = ask_again("an operator holds this machine (${mac})", nodes);
    format!("#!ipxe\nset asks:int32 0\nset renew:int32 0\nset restarts:int32 0\n{}{again}", list(nodes))
}

/// The script for a machine no group matches: it goes on to its next boot device.
#[must_use]
pub(super) fn unknown() -> String {
    format!("#!ipxe\n{}", go_on("no group matches this machine (${mac}, ${uuid})"))
}

/// The script for a machine whose profile boots nothing: it goes on to its next boot device.
#[must_use]
pub(super) fn nothing_to_boot(profile: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/@+:".contains(letter);
    let name: String = profile.chars().map(|letter| if plain(letter) { letter } else { '?' }).collect();
    format!("#!ipxe\n{}", go_on(&format!("nothing to boot is configured for profile {name}")))
}

/// An `initrd` line, and the name its image must have on the kernel's command line if the profile does not say so.
struct Initrd {
    line: String,
    argument: Option<String>,
}

/// UEFI kernels find their initrds only by `initrd=NAME`. Where a profile names none, each gets its own.
fn name_initrds(boot: &NetBoot) -> Vec<Initrd> {
    let lines = boot.initrd.iter().filter(|line| !line.trim().is_empty());
    let mut words = boot.args.iter().map(String::as_str).chain([boot.kernel.as_str()]).flat_map(str::split_whitespace);
    if words.any(|word| word.starts_with("initrd=")) {
        return lines.map(|line| Initrd { line: line.clone(), argument: None }).collect();
    }
    let mut taken: Vec<String> = Vec::new();
    let mut initrds = Vec::new();
    for (at, line) in lines.enumerate() {
        let mut line = line.clone();
        let name = match image_name(&line) {
            Some(name) if !taken.contains(&name) => name,
            // Two images of one name, or a name that is no single plain word: give it one that works.
            _ => {
                let name = format!("initrd{at}");
                line = format!("--name {name} {}", without_name(&line));
                name
            }
        };
        taken.push(name.clone());
        initrds.push(Initrd { line, argument: Some(name) });
    }
    initrds
}

/// The name iPXE gives an image: `--name`, else the last part of the path. `None` if that is not safe as one word.
fn image_name(text: &str) -> Option<String> {
    let line = Line::read(text);
    let mut words = line.options.split_whitespace();
    let mut name = None;
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some(("--name" | "-n", value)) => name = Some(value),
            _ if matches!(word, "--name" | "-n") => name = words.next(),
            _ if matches!(word, "--timeout" | "-t") => drop(words.next()),
            _ => {}
        }
    }
    let name = name.unwrap_or_else(|| {
        let path = line.address.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    });
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-+~@$:{}".contains(letter));
    (plain && !name.is_empty()).then(|| name.to_owned())
}

fn without_name(line: &str) -> String {
    let mut kept = Vec::new();
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        if matches!(word, "--name" | "-n") {
            words.next();
        } else if !word.starts_with("--name=") {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// GRUB's configuration for a profile, in matchbox's words.
#[must_use]
pub(super) fn grub(boot: &NetBoot, extras: Extras<'_>) -> String {
    let mut script = String::from("default=0\nfallback=1\ntimeout=1\n");
    for (title, linux, initrd) in [("CoreOS (EFI)", "linuxefi", "initrdefi"), ("CoreOS (BIOS)", "linux", "initrd")] {
        let kernel = extras.expand(&boot.kernel);
        let _ = write!(script, "menuentry \"{title}\" {{\necho \"Loading kernel\"\n{linux} \"{kernel}\"");
        for arg in boot.args.iter().chain(extras.args) {
            let _ = write!(script, " {}", extras.expand(arg));
        }
        let _ = write!(script, "\necho \"Loading initrd\"\n{initrd} ");
        for image in &boot.initrd {
            let _ = write!(script, " \"{}\"", extras.expand(image));
        }
        script.push_str("\n}\n");
    }
    script
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
