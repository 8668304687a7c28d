//! What tags stand for: kinds of firmware, iPXE, or something that only this configuration knows.

use std::collections::{BTreeMap, BTreeSet};

use super::line::Line;
use crate::dhcp::Architecture;

/// Whom some tags choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Who {
    /// iPXE, which asks once more when it has started.
    pub ipxe: bool,
    /// Kinds of firmware, by their names in the settings.
    pub classes: BTreeSet<&'static str>,
    /// Tags that stand for something else: single machines, relays, words of the site.
    pub others: BTreeSet<String>,
}

impl Who {
    fn add(&mut self, other: &Self) {
        self.ipxe |= other.ipxe;
        self.classes.extend(&other.classes);
        self.others.extend(other.others.iter().cloned());
    }
}

/// Every tag that some line sets.
#[derive(Debug, Default)]
pub(super) struct Tags(BTreeMap<String, Who>);

/// How often `tag-if` lines are gone through, for those that build on each other.
const ROUNDS_MAX: usize = 8;

impl Tags {
    /// Gathers them from all lines.
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut tags = Self::default();
        for line in lines {
            if let Some((tag, who)) = set_by(line) {
                tags.0.entry(tag).or_default().add(&who);
            }
        }
        let joins: Vec<&Line> = lines.iter().filter(|line| line.option == "tag-if").collect();
        for round in 0..ROUNDS_MAX {
            for line in &joins {
                let chosen = line.fields.iter().filter_map(|field| field.strip_prefix("tag:")).map(str::to_owned);
                // What no line sets, another join may still set: only in the end is it a word of the site.
                let is_last = round + 1 == ROUNDS_MAX;
                let chosen: Vec<String> = chosen.filter(|tag| is_last || tags.0.contains_key(tag)).collect();
                let who = tags.who(&chosen);
                for tag in line.fields.iter().filter_map(|field| field.strip_prefix("set:")) {
                    tags.0.entry(tag.to_owned()).or_default().add(&who);
                }
            }
        }
        tags
    }

    /// Whom these tags choose together. A negated tag chooses nobody in particular.
    pub(super) fn who(&self, tags: &[String]) -> Who {
        let mut who = Who::default();
        for tag in tags.iter().filter(|tag| !tag.starts_with('!')) {
            match self.0.get(tag) {
                Some(known) => who.add(known),
                None => drop(who.others.insert(tag.clone())),
            }
        }
        who
    }
}

/// The tag a line sets and what it stands for.
pub(super) fn set_by(line: &Line) -> Option<(String, Who)> {
    let is_setter = matches!(
        line.option.as_str(),
        "dhcp-match"
            | "dhcp-vendorclass"
            | "dhcp-userclass"
            | "dhcp-mac"
            | "dhcp-circuitid"
            | "dhcp-remoteid"
            | "dhcp-subscrid"
            | "dhcp-name-match"
            | "dhcp-host"
            | "dhcp-range"
    );
    let first = line.fields.first()?;
    let named = line.fields.iter().find_map(|field| field.strip_prefix("set:").or_else(|| field.strip_prefix("net:")));
    let tag = match named {
        Some(tag) => tag,
        // Before version 2.60 the first field was the tag.
        None if is_setter && !matches!(line.option.as_str(), "dhcp-host" | "dhcp-range") => first,
        None => return None,
    };
    let value = line.fields.iter().skip(1).cloned().collect::<Vec<_>>();
    let mut who = match line.option.as_str() {
        "dhcp-match" => matched(&value),
        "dhcp-userclass" if value.iter().any(|class| class.contains("iPXE") || class.contains("gPXE")) => ipxe(),
        "dhcp-vendorclass" => firmware(&value.join(",")),
        _ if is_setter => Who::default(),
        _ => return None,
    };
    if who == Who::default() {
        who.others.insert(tag.to_owned());
    }
    Some((tag.to_owned(), who))
}

fn ipxe() -> Who {
    Who { ipxe: true, ..Who::default() }
}

/// `option:client-arch,7` or `93,7`; `175` is what only iPXE sends.
fn matched(value: &[String]) -> Who {
    let option = value.first().map(String::as_str).unwrap_or_default();
    let option = option.strip_prefix("option:").unwrap_or(option);
    match option {
        "client-arch" | "93" => {
            let code = value.get(1).and_then(|code| code.parse::<u16>().ok());
            let class = code.and_then(Architecture::from_code).map(|(architecture, _)| architecture.name());
            Who { classes: class.into_iter().collect(), ..Who::default() }
        }
        "175" | "encap:175" => ipxe(),
        "user-class" | "77" if value.iter().any(|class| class.contains("iPXE")) => ipxe(),
        "vendor-class" | "60" => firmware(&value[1..].join(",")),
        _ => Who::default(),
    }
}

/// `PXEClient:Arch:00007`, as firmware calls itself.
fn firmware(class: &str) -> Who {
    let code = class.split("Arch:").nth(1).and_then(|rest| rest.get(..5)).and_then(|code| code.parse::<u16>().ok());
    let class = code.and_then(Architecture::from_code).map(|(architecture, _)| architecture.name());
    Who { classes: class.into_iter().collect(), ..Who::default() }
}

#[cfg(test)]
mod tests {
    use super::super::line::lines;
    use super::*;

    #[test]
    fn tags_are_followed_to_firmware_and_ipxe() {
        let text = "dhcp-match=set:efi64,option:client-arch,7\ndhcp-match=set:bc,93,9\ndhcp-match=set:ipxe,175\n\
            dhcp-userclass=set:ipxe2,iPXE\ndhcp-vendorclass=set:bios,PXEClient:Arch:00000\ndhcp-match=set:http,option:client-arch,16\n\
            dhcp-host=52:54:00:00:00:01,set:rack1,10.0.0.9\ntag-if=set:all,tag:efi64\ntag-if=set:all,tag:bios\n\
            tag-if=set:chain,tag:boot\ntag-if=set:boot,tag:ipxe,tag:!rack1\ntag-if=set:odd,tag:word\nold-style=x\ndhcp-userclass=old,iPXE\n";
        let tags = Tags::of(&lines(text, "f"));
        let shown = |names: &str| {
            let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
            let Who { ipxe, classes, others } = tags.who(&names);
            format!("{ipxe} {classes:?} {others:?}")
        };
        for (names, want) in [
            ("efi64", r#"false {"uefi-x64"} {}"#),
            ("bc", r#"false {"uefi-x64"} {}"#),
            ("http", r#"false {"uefi-x64"} {}"#),
            ("bios", r#"false {"bios"} {}"#),
            ("ipxe", "true {} {}"),
            ("ipxe2", "true {} {}"),
            ("old", "true {} {}"),
            ("all", r#"false {"bios", "uefi-x64"} {}"#),
            ("chain", "true {} {}"),
            ("!ipxe efi64", r#"false {"uefi-x64"} {}"#),
            ("rack1", r#"false {} {"rack1"}"#),
            ("odd", r#"false {} {"word"}"#),
            ("nobody", r#"false {} {"nobody"}"#),
        ] {
            assert_eq!(shown(names), want, "{names}");
        }
    }
}
