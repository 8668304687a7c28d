//! What an object must satisfy to be stored at all, checked before a command is proposed and again when it is applied.
//!
//! These rules are part of the replicated state machine: all nodes must decide alike, so a new rule needs a new
//! feature level. Rules of taste (a group needs a profile) belong to the admin API.

use super::certificates::{Certificate, SERIAL_DIGITS_MAX};
use super::check_group::check_group;
use super::members::{BLOBS_PER_COMMAND_MAX, ClusterSettings};
use super::objects::{Asset, Profile, Settings, Template};
use super::rules::Ruled;
use crate::command::{Command, Edit, Refusal, RefusalCode};

/// Length of a name or id, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Length of one kernel, initrd or argument line, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// How many initrds or arguments a profile has.
const LINES_MAX: usize = 1024;
/// Size of one template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many DNS names a cluster has.
const DNS_NAMES_MAX: usize = 32;
/// How many sightings one command reports.
pub const SIGHTINGS_MAX: usize = 1024;

pub(super) type Check = Result<(), Box<Refusal>>;

/// Checks what a command says besides its edits.
///
/// # Errors
/// When its author or its key is longer than anything sensible: both are stored.
pub(super) fn check_command(command: &Command) -> Check {
    for (field, text) in [("actor", &command.actor), ("idempotency_key", &command.idempotency_key)] {
        if text.len() > NAME_BYTES_MAX {
            let message = format!("{} bytes, at most {NAME_BYTES_MAX}", text.len());
            return refuse("", field, message, "use a shorter one");
        }
    }
    Ok(())
}

/// Checks the content of an edit by itself, without looking at the state.
///
/// # Errors
/// The first thing wrong with it; `edit` is left 0 for the caller to fill in.
pub fn check_edit(edit: &Edit) -> Check {
    match edit {
        Edit::PutProfile(profile) => check_profile(profile),
        Edit::PutGroup(group) if !group.rules.is_empty() => {
            let message = "this edit has no room for rules".to_owned();
            refuse(&format!("group/{}", group.id), "match", message, "put the group with `PutRuledGroup`")
        }
        Edit::PutGroup(group) | Edit::PutRuledGroup(Ruled(group)) => check_group(group),
        Edit::PutTemplate(template) => check_template(template),
        Edit::PutAsset(asset) => check_asset(asset),
        Edit::PutSettings(settings) => check_settings(settings),
        Edit::PutToken(token) => check_id(&format!("token/{}", token.id), "id", &token.id),
        Edit::Sightings(list) if list.len() > SIGHTINGS_MAX => {
            let message = format!("{} sightings in one command, at most {SIGHTINGS_MAX}", list.len());
            refuse("machine", "", message, "send them in smaller commands")
        }
        Edit::SetMachinePolicy(mac, change) => change
            .loader
            .as_ref()
            .map_or(Ok(()), |loader| check_loader(&format!("machine/{mac}"), "policy.loader", loader)),
        Edit::AnnounceMember(said) => check_node(&said.name, &said.peer, &said.boot),
        Edit::AddMember(new) => check_node(&new.name, &new.peer, &new.boot),
        Edit::PutCluster(settings) => check_cluster(settings),
        Edit::ReportBlobs(_, held) => check_blobs(held.len()),
        Edit::WithdrawBlobs(_, digests) | Edit::CondemnBlobs(digests) => check_blobs(digests.len()),
        Edit::PutJoinToken(token) => check_id(&format!("join-token/{}", token.id), "id", &token.id),
        Edit::PutCertificate(certificate) => check_certificate(certificate),
        Edit::RemoveMember(_)
        | Edit::DeleteCertificate(_)
        | Edit::StepCa(..)
        | Edit::ReportCa(..)
        | Edit::RotateToken(_)
        | Edit::ClaimVip(_)
        | Edit::ReleaseVip(..)
        | Edit::DeleteJoinToken(_)
        | Edit::Sightings(_)
        | Edit::DeleteProfile(_)
        | Edit::DeleteGroup(_)
        | Edit::DeleteTemplate(..)
        | Edit::DeleteAsset(_)
        | Edit::DeleteToken(_)
        | Edit::DeleteMachine(_) => Ok(()),
    }
}

fn check_profile(profile: &Profile) -> Check {
    let object = format!("profile/{}", profile.id);
    check_id(&object, "id", &profile.id)?;
    let Some(boot) = &profile.boot else { return Ok(()) };
    check_line(&object, "boot.kernel", &boot.kernel)?;
    for (field, lines) in [("boot.initrd", &boot.initrd), ("boot.args", &boot.args)] {
        if lines.len() > LINES_MAX {
            let message = format!("{} entries, at most {LINES_MAX}", lines.len());
            return refuse(&object, field, message, "put fewer entries there");
        }
        for (at, line) in lines.iter().enumerate() {
            check_line(&object, &format!("{field}[{at}]"), line)?;
        }
    }
    Ok(())
}

fn check_template(template: &Template) -> Check {
    let object = format!("template/{}/{}", template.kind.name(), template.name);
    check_path(&object, "name", &template.name)?;
    if template.content.len() > TEMPLATE_BYTES_MAX {
        let message = format!("{} bytes, at most {TEMPLATE_BYTES_MAX}", template.content.len());
        return refuse(&object, "content", message, "serve large files as assets");
    }
    Ok(())
}

fn check_asset(asset: &Asset) -> Check {
    let object = format!("asset/{}", asset.name);
    check_path(&object, "name", &asset.name)?;
    let media_type = &asset.media_type;
    if media_type.len() > NAME_BYTES_MAX || !media_type.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return refuse(
            &object,
            "media_type",
            "not a header value".into(),
            "write it as `type/subtype`, or leave it out",
        );
    }
    Ok(())
}

fn check_settings(settings: &Settings) -> Check {
    for (at, arg) in settings.extra_kernel_args.iter().enumerate() {
        check_line("settings", &format!("extra_kernel_args[{at}]"), arg)?;
    }
    if settings.extra_kernel_args.len() > LINES_MAX {
        return refuse("settings", "extra_kernel_args", format!("more than {LINES_MAX}"), "put fewer arguments there");
    }
    settings
        .loaders
        .iter()
        .try_for_each(|(class, loader)| check_loader("settings", &format!("loaders.{class}"), loader))
}

fn check_node(name: &str, peer: &str, boot: &str) -> Check {
    let object = format!("member/{name}");
    check_id(&object, "name", name)?;
    if name.len() > 63 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
        let message = format!("`{name}` is not a node's name");
        return refuse(&object, "name", message, "use letters, digits, `.`, `-` and `_`, at most 63 of them");
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("`{name}` could be mistaken for a node's id");
        return refuse(&object, "name", message, "put a letter into it");
    }
    for (field, text) in [("peer", peer), ("boot", boot)] {
        if text.len() > NAME_BYTES_MAX || text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            return refuse(&object, field, "not an address".into(), "write it as ADDRESS:PORT");
        }
    }
    Ok(())
}

fn check_certificate(certificate: &Certificate) -> Check {
    let object = format!("certificate/{}", certificate.serial);
    let Certificate { serial, name, reason, .. } = certificate;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !(2..=SERIAL_DIGITS_MAX).contains(&serial.len()) || serial.len() % 2 != 0 || !serial.bytes().all(is_hex) {
        let message = format!("`{}` is not a serial number", serial.escape_debug());
        return refuse(&object, "serial", message, "write it as hexadecimal digits, two to a byte");
    }
    for (field, text) in [("name", name), ("reason", reason)] {
        if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
            let message = format!("longer than {NAME_BYTES_MAX} bytes, or with a control character in it");
            return refuse(&object, field, message, "use a short text of printable characters");
        }
    }
    Ok(())
}

fn check_cluster(settings: &ClusterSettings) -> Check {
    if let Some(vip) = settings.vip
        && (vip.is_unspecified() || vip.is_multicast() || vip.is_broadcast() || vip.is_loopback())
    {
        let message = format!("{vip} cannot be an address of a machine");
        return refuse("cluster", "vip", message, "name a free address of the machine network");
    }
    if settings.dns_names.len() > DNS_NAMES_MAX {
        return refuse("cluster", "dns_names", format!("more than {DNS_NAMES_MAX}"), "name fewer");
    }
    settings
        .dns_names
        .iter()
        .enumerate()
        .try_for_each(|(at, name)| check_id("cluster", &format!("dns_names[{at}]"), name))
}

fn check_blobs(count: usize) -> Check {
    if count > BLOBS_PER_COMMAND_MAX {
        let message = format!("{count} blobs in one command, at most {BLOBS_PER_COMMAND_MAX}");
        return refuse("blob", "", message, "send them in smaller commands");
    }
    Ok(())
}

fn check_loader(object: &str, field: &str, name: &str) -> Check {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain && name.len() <= 120 && !name.starts_with('.') {
        return Ok(());
    }
    let message = format!("`{}` is not a boot loader's file name", name.escape_debug());
    refuse(object, field, message, "use letters, digits, `.`, `_` and `-`, at most 120 of them (BOOTP's file field)")
}

pub(super) fn check_id(object: &str, field: &str, id: &str) -> Check {
    if id.is_empty() {
        return refuse(object, field, "empty".into(), "give it a name");
    }
    if id.len() > NAME_BYTES_MAX || id.chars().any(char::is_control) {
        let message = format!("longer than {NAME_BYTES_MAX} bytes, or with a control character in it");
        return refuse(object, field, message, "use a short name of printable characters");
    }
    Ok(())
}

fn check_path(object: &str, field: &str, path: &str) -> Check {
    check_id(object, field, path)?;
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        let message = format!("`{path}` is not a plain relative path");
        return refuse(
            object,
            field,
            message,
            "write it without leading, trailing or doubled slashes and without `.` or `..`",
        );
    }
    Ok(())
}

/// A line of an iPXE script or a kernel command line: a line break in it would be a command of its own.
fn check_line(object: &str, field: &str, line: &str) -> Check {
    if line.len() > LINE_BYTES_MAX || line.contains(['\n', '\r', '\0']) {
        let message = format!("longer than {LINE_BYTES_MAX} bytes, or with a line break or NUL in it");
        return refuse(object, field, message, "write it on one line: iPXE would take the next line as a command");
    }
    Ok(())
}

pub(super) fn refuse(object: &str, field: &str, message: String, hint: &str) -> Check {
    Err(Box::new(Refusal::new(RefusalCode::Invalid, object, field, &message, hint)))
}
