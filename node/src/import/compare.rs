//! Compares what the old service and this one answer to the same question of the same machine.
//!
//! Pure. Scripts are compared by what they load, because ours are written differently on purpose; everything else by its
//! bytes.

use raft::state::{Group, normal_selector};

use crate::boot::config_served;

/// What a machine asks for once its group is known; assets are asked for by name.
pub const PATHS: [&str; 6] = ["/ipxe", "/grub", "/ignition", "/generic", "/cloud", "/metadata"];

/// An answer as far as machines care.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its `Content-Type`.
    pub media: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What a comparison comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A machine would not notice.
    Same,
    /// It is different on purpose.
    Meant(String),
    /// A machine gets something else.
    Differs(String),
}

/// How much of a differing line is shown, in characters.
const SHOWN_CHARS_MAX: usize = 160;

/// What a machine of this group says about itself: what the group asks for, with MACs as iPXE writes them.
#[must_use]
pub fn labels(group: &Group) -> Vec<(String, String)> {
    let normal = normal_selector(&group.selector).unwrap_or_default();
    let written =
        |key: &str, value: String| if key.eq_ignore_ascii_case("mac") { value.replace(':', "-") } else { value };
    normal.into_iter().map(|(key, value)| (key.clone(), written(&key, value))).collect()
}

/// Compares two answers to a question at `path`.
#[must_use]
pub fn compare(path: &str, old: &Answer, new: &Answer) -> Outcome {
    if (old.status, path) == (404, "/ipxe") && new.status == 200 && !loads_something(&new.body) {
        return Outcome::Meant(
            "the old one answers 404, this one a script that goes on to the next boot device".into(),
        );
    }
    if old.status != new.status {
        let hollow = path == "/ignition" && is_hollow(&old.body);
        let why = if hollow { " (an empty Ignition config)" } else { "" };
        return Outcome::Differs(format!("the old one answers {}{why}, this one {}", old.status, new.status));
    }
    if old.status != 200 {
        return Outcome::Same;
    }
    match path {
        "/ipxe" => scripts(&old.body, &new.body),
        "/metadata" => lines(&sorted(&old.body), &sorted(&new.body), true),
        "/grub" => lines(&old.body, &new.body, true),
        "/ignition" if is_hollow(&old.body) && old.body != new.body => {
            Outcome::Differs("the old one answers an empty Ignition config, this one the config".into())
        }
        // By a name that says so, a config is read and written anew, as matchbox does with every one.
        "/ignition" if old.body != new.body && config_served("a.ign", &new.body).as_ref() == Some(&old.body) => {
            Outcome::Meant(
                "this one answers the config as it was written, the old one wrote it anew as spec 3.4.0".into(),
            )
        }
        _ if old.media != new.media => {
            Outcome::Differs(format!("Content-Type was `{}`, is `{}`", old.media, new.media))
        }
        // These may hold secrets, which belong on no terminal.
        _ => lines(&old.body, &new.body, false),
    }
}

/// The config that matchbox makes of one that it cannot read.
fn is_hollow(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("\"version\":\"\"")
}

fn sorted(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.sort_unstable();
    lines.join(&b'\n')
}

fn lines(old: &[u8], new: &[u8], shown: bool) -> Outcome {
    if old == new {
        return Outcome::Same;
    }
    let split = |text: &[u8]| -> Vec<String> { String::from_utf8_lossy(text).split('\n').map(str::to_owned).collect() };
    let (old_lines, new_lines) = (split(old), split(new));
    let count = old_lines.len().max(new_lines.len());
    let get = |lines: &[String], at: usize| lines.get(at).cloned();
    let at = (0..count).find(|at| get(&old_lines, *at) != get(&new_lines, *at)).unwrap_or(0);
    let sizes = format!("line {}: it was {} bytes, is {}", at + 1, old.len(), new.len());
    if !shown {
        return Outcome::Differs(sizes);
    }
    let show = |line: Option<String>| line.map_or_else(|| "nothing".into(), |line| format!("`{}`", cut(&line)));
    Outcome::Differs(format!("line {}: it was {}, is {}", at + 1, show(get(&old_lines, at)), show(get(&new_lines, at))))
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}

fn loads_something(script: &[u8]) -> bool {
    String::from_utf8_lossy(script).lines().any(|line| line.starts_with("kernel "))
}

/// Compares what two scripts load and start.
fn scripts(old: &[u8], new: &[u8]) -> Outcome {
    let (old, new) = (Loads::of(&String::from_utf8_lossy(old)), Loads::of(&String::from_utf8_lossy(new)));
    if old.kernel.is_none() || new.kernel.is_none() {
        return Outcome::Differs("one of the two scripts loads no kernel".into());
    }
    for (what, old, new) in [("kernel", &old.kernel, &new.kernel), ("arguments", &old.args, &new.args)] {
        if old != new {
            let show = |text: &Option<String>| cut(text.as_deref().unwrap_or_default());
            return Outcome::Differs(format!("{what}: it was `{}`, is `{}`", show(old), show(new)));
        }
    }
    if old.initrds != new.initrds {
        let show = |list: &[String]| cut(&list.join(" "));
        return Outcome::Differs(format!("initrds: it was `{}`, is `{}`", show(&old.initrds), show(&new.initrds)));
    }
    // UEFI kernels find their initrds only by name; ours names those that the profile does not.
    match (old.names == new.names, old.names.is_empty()) {
        (true, _) => Outcome::Same,
        (false, true) => Outcome::Meant(format!("this one adds {}", cut(&new.names.join(" ")))),
        (false, false) => {
            let show = |list: &[String]| cut(&list.join(" "));
            Outcome::Differs(format!("it was `{}`, is `{}`", show(&old.names), show(&new.names)))
        }
    }
}

/// What a script loads.
#[derive(Debug, Default)]
struct Loads {
    kernel: Option<String>,
    /// Arguments other than `initrd=`.
    args: Option<String>,
    /// `initrd=` arguments.
    names: Vec<String>,
    initrds: Vec<String>,
}

impl Loads {
    fn of(script: &str) -> Self {
        let mut loads = Self::default();
        for line in script.lines() {
            let line = line.strip_suffix(" || goto failed").unwrap_or(line);
            match line.split_once(' ') {
                Some(("kernel", rest)) => {
                    let mut words = plain_words(rest);
                    loads.kernel = Some(if words.is_empty() { String::new() } else { words.remove(0) });
                    let (names, args): (Vec<_>, Vec<_>) =
                        words.into_iter().partition(|word| word.starts_with("initrd="));
                    (loads.names, loads.args) = (names, Some(args.join(" ")));
                }
                Some(("initrd", rest)) => loads.initrds.extend(plain_words(rest)),
                _ => {}
            }
        }
        loads
    }
}

/// The words of a download without its options, addresses on the service itself as plain paths.
fn plain_words(text: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "--timeout" | "-t" | "--name" | "-n" if kept.is_empty() => drop(words.next()),
            _ if kept.is_empty() && word.starts_with("--") => {}
            _ => kept.push(own_path(word)),
        }
    }
    kept
}

/// `${node${at}}/assets/k` and `assets/k` are `/assets/k`.
fn own_path(word: &str) -> String {
    let word = word.strip_prefix("${node${at}}").unwrap_or(word);
    if word.starts_with("assets/") { format!("/{word}") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, media: "text/plain; charset=utf-8".into(), body: body.into() }
    }

    const OLD: &str = "#!ipxe\nkernel assets/k a=b quiet\ninitrd /assets/i\nboot\n";
    const NEW: &str = "#!ipxe\nset node0 http://10.0.0.1:8080\nset at:int32 0\n:step0\n\
        kernel --timeout 10000 ${node${at}}/assets/k a=b quiet initrd=i || goto failed\n\
        initrd --timeout 10000 ${node${at}}/assets/i || goto failed\nboot || goto failed\n";
    const LEAVE: &str = "#!ipxe\necho Raftboot: no group matches\nsleep 5\nexit 1\n";

    #[test]
    fn scripts_are_compared_by_what_they_load() {
        for (old, new, want) in [
            (OLD, OLD, ""),
            (OLD, NEW, "meant: this one adds initrd=i"),
            (&OLD.replace("quiet", "initrd=i quiet"), NEW, ""),
            (&OLD.replace("quiet", "initrd=j quiet"), NEW, "differs: it was `initrd=j`, is `initrd=i`"),
            (&OLD.replace("assets/k", "assets/l"), NEW, "differs: kernel: it was `/assets/l`, is `/assets/k`"),
            (&OLD.replace("quiet", "loud"), NEW, "differs: arguments: it was `a=b loud`, is `a=b quiet`"),
            (&OLD.replace("/i", "/j"), NEW, "differs: initrds: it was `/assets/j`, is `/assets/i`"),
            (OLD, LEAVE, "differs: one of the two scripts loads no kernel"),
        ] {
            let told = match compare("/ipxe", &answer(200, old), &answer(200, new)) {
                Outcome::Same => String::new(),
                Outcome::Meant(why) => format!("meant: {why}"),
                Outcome::Differs(why) => format!("differs: {why}"),
            };
            assert_eq!(told, want, "{old}{new}");
        }
    }

    #[test]
    fn everything_else_is_compared_by_its_bytes_and_configs_are_not_shown() {
        let check = |path: &str, old: &Answer, new: &Answer, want: &str| {
            let outcome = compare(path, old, new);
            let told = if let Outcome::Differs(why) = outcome { why } else { format!("{outcome:?}") };
            assert!(told.contains(want), "{path}: {told}");
            assert!(!told.contains("secret"), "{told}");
        };
        let (a, b) = (answer(200, "a\nsecret b\n"), answer(200, "a\nsecret c\n"));
        check("/generic", &a, &a, "Same");
        check("/generic", &a, &b, "line 2: it was 11 bytes, is 11");
        check("/generic", &a, &Answer { media: "text/html".into(), ..a.clone() }, "Content-Type");
        check("/metadata", &answer(200, "B=1\nA=2\n"), &answer(200, "A=2\nB=1\n"), "Same");
        check("/metadata", &answer(200, "B=1\n"), &answer(200, "B=2\n"), "it was `B=1`, is `B=2`");
        check("/grub", &answer(200, "a"), &answer(200, "a\n"), "it was nothing, is ``");
        check("/cloud", &answer(404, "x"), &answer(404, "y"), "Same");
        check(
            "/ignition",
            &answer(200, r#"{"ignition":{"version":""}}"#),
            &answer(404, ""),
            "an empty Ignition config",
        );
        check(
            "/ignition",
            &answer(200, r#"{"ignition":{"version":""}}"#),
            &answer(200, r#"{"ignition":{"version":"3.5.0"}}"#),
            "an empty Ignition config, this one the config",
        );
        let written = r#"{"ignition": {"version": "3.2.0"}, "passwd": {"users": [{"name": "core"}]}}"#;
        let anew = String::from_utf8(config_served("a.ign", written.as_bytes()).unwrap()).unwrap();
        assert!(anew.contains("3.4.0"), "{anew}");
        check("/ignition", &answer(200, &anew), &answer(200, written), "Meant");
        check("/ignition", &answer(200, &anew), &answer(200, &written.replace("core", "root")), "line 1");
        check("/ipxe", &answer(404, ""), &answer(200, LEAVE), "Meant");
        check("/ipxe", &answer(404, ""), &answer(200, NEW), "answers 404, this one 200");
    }

    #[test]
    fn a_group_speaks_as_its_machines_do() {
        let selector = [("MAC", "52:54:00:AB:00:01"), ("os", "installed")];
        let selector = selector.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let labels = labels(&Group { selector, ..Group::default() });
        let shown: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["MAC=52-54-00-ab-00-01", "os=installed"]);
    }
}
