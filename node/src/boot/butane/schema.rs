//! The shape of Butane configs: every field this translates, in the order Ignition writes them.
//!
//! Source: the configuration specifications at <https://coreos.github.io/butane/specs/>. Variants share generations of
//! fields: fcos 1.0.0 has the first, fcos 1.7.0 the seventh.

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Text that is always there, if only as an empty one.
    Text,
    /// Text that may be absent.
    OptionalText,
    /// Text that is always there before the given generation, and may be absent from it on.
    TextBefore(u8),
    /// Text that may be absent, or bytes written as base64.
    Bytes,
    /// An integer that is always there, if only as 0.
    Int,
    /// An integer that may be absent.
    OptionalInt,
    /// A boolean that may be absent.
    OptionalBool,
    /// A list of texts.
    Texts,
    /// A list of objects.
    Objects(&'static [Field]),
    /// An object.
    Object(&'static [Field]),
}

/// One field of an object.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name in Butane.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
    /// The generation that brought it; to older configs it is unknown.
    pub(super) since: u8,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, since: 1 }
}

const fn since(since: u8, name: &'static str, kind: Kind) -> Field {
    Field { name, kind, since }
}

use Kind::{Bytes, Int, Object, Objects, OptionalBool, OptionalInt, OptionalText, Text, TextBefore, Texts};

/// A config that is only what Ignition knows.
pub(super) const PLAIN: &[Field] = &[
    field("variant", Text),
    field("version", Text),
    field("ignition", Object(IGNITION)),
    since(4, "kernel_arguments", Object(KERNEL_ARGUMENTS)),
    field("passwd", Object(PASSWD)),
    field("storage", Object(STORAGE)),
    field("systemd", Object(SYSTEMD)),
];

/// A config of Fedora CoreOS, which knows its own boot disk.
pub(super) const COREOS: &[Field] = &[
    field("variant", Text),
    field("version", Text),
    field("ignition", Object(IGNITION)),
    since(4, "kernel_arguments", Object(KERNEL_ARGUMENTS)),
    field("passwd", Object(PASSWD)),
    field("storage", Object(STORAGE)),
    field("systemd", Object(SYSTEMD)),
    field("boot_device", Object(BOOT_DEVICE)),
    since(5, "grub", Object(&[field("users", Objects(&[field("name", Text), field("password_hash", OptionalText)]))])),
];

/// What says which translation a config wants.
pub(super) const HEADER: &[Field] = &[field("variant", Text), field("version", Text)];

const IGNITION: &[Field] = &[
    field("config", Object(&[field("merge", Objects(REFERENCE)), field("replace", Object(REFERENCE))])),
    since(
        2,
        "proxy",
        Object(&[field("http_proxy", OptionalText), field("https_proxy", OptionalText), field("no_proxy", Texts)]),
    ),
    field("security", Object(&[field("tls", Object(&[field("certificate_authorities", Objects(REFERENCE))]))])),
    field("timeouts", Object(&[field("http_response_headers", OptionalInt), field("http_total", OptionalInt)])),
];

/// A resource where the first generation knew only a source and its verification.
const REFERENCE: &[Field] = &[
    since(2, "compression", OptionalText),
    since(2, "http_headers", Objects(HTTP_HEADER)),
    field("source", OptionalText),
    field("verification", Object(VERIFICATION)),
    since(2, "inline", Bytes),
    since(2, "local", OptionalText),
];

/// The contents of a file.
const CONTENTS: &[Field] = &[
    field("compression", OptionalText),
    since(2, "http_headers", Objects(HTTP_HEADER)),
    field("source", OptionalText),
    field("verification", Object(VERIFICATION)),
    field("inline", Bytes),
    since(2, "local", OptionalText),
];

const HTTP_HEADER: &[Field] = &[field("name", Text), field("value", OptionalText)];
const VERIFICATION: &[Field] = &[field("hash", OptionalText)];
const KERNEL_ARGUMENTS: &[Field] = &[field("should_exist", Texts), field("should_not_exist", Texts)];

const PASSWD: &[Field] = &[
    field(
        "groups",
        Objects(&[
            field("gid", OptionalInt),
            field("name", Text),
            field("password_hash", OptionalText),
            since(3, "should_exist", OptionalBool),
            field("system", OptionalBool),
        ]),
    ),
    field(
        "users",
        Objects(&[
            field("gecos", OptionalText),
            field("groups", Texts),
            field("home_dir", OptionalText),
            field("name", Text),
            field("no_create_home", OptionalBool),
            field("no_log_init", OptionalBool),
            field("no_user_group", OptionalBool),
            field("password_hash", OptionalText),
            field("primary_group", OptionalText),
            since(3, "should_exist", OptionalBool),
            field("ssh_authorized_keys", Texts),
            since(5, "ssh_authorized_keys_local", Texts),
            field("shell", OptionalText),
            field("system", OptionalBool),
            field("uid", OptionalInt),
        ]),
    ),
];

/// What the parts of a config that are generated go into.
pub(super) const STORAGE: &[Field] = &[
    field("directories", Objects(DIRECTORY)),
    field("disks", Objects(DISK)),
    field("files", Objects(FILE)),
    field("filesystems", Objects(FILESYSTEM)),
    field("links", Objects(LINK)),
    since(3, "luks", Objects(LUKS)),
    field("raid", Objects(RAID)),
    since(2, "trees", Objects(TREE)),
];

const OWNER: &[Field] = &[field("id", OptionalInt), field("name", OptionalText)];

const DIRECTORY: &[Field] = &[
    field("group", Object(OWNER)),
    field("overwrite", OptionalBool),
    field("path", Text),
    field("user", Object(OWNER)),
    field("mode", OptionalInt),
];

const FILE: &[Field] = &[
    field("group", Object(OWNER)),
    field("overwrite", OptionalBool),
    field("path", Text),
    field("user", Object(OWNER)),
    field("append", Objects(CONTENTS)),
    field("contents", Object(CONTENTS)),
    field("mode", OptionalInt),
];

const LINK: &[Field] = &[
    field("group", Object(OWNER)),
    field("overwrite", OptionalBool),
    field("path", Text),
    field("user", Object(OWNER)),
    field("hard", OptionalBool),
    field("target", TextBefore(4)),
];

const DISK: &[Field] = &[
    field("device", Text),
    field(
        "partitions",
        Objects(&[
            field("guid", OptionalText),
            field("label", OptionalText),
            field("number", Int),
            since(3, "resize", OptionalBool),
            field("should_exist", OptionalBool),
            field("size_mib", OptionalInt),
            field("start_mib", OptionalInt),
            field("type_guid", OptionalText),
            field("wipe_partition_entry", OptionalBool),
        ]),
    ),
    field("wipe_table", OptionalBool),
];

const FILESYSTEM: &[Field] = &[
    field("device", Text),
    field("format", OptionalText),
    field("label", OptionalText),
    since(2, "mount_options", Texts),
    field("options", Texts),
    field("path", OptionalText),
    field("uuid", OptionalText),
    field("wipe_filesystem", OptionalBool),
    since(2, "with_mount_unit", OptionalBool),
];

const CEX: &[Field] = &[field("enabled", OptionalBool)];

const LUKS: &[Field] = &[
    since(6, "cex", Object(CEX)),
    field(
        "clevis",
        Object(&[
            field(
                "custom",
                Object(&[
                    field("config", OptionalText),
                    field("needs_network", OptionalBool),
                    field("pin", OptionalText),
                ]),
            ),
            field("tang", Objects(TANG)),
            field("threshold", OptionalInt),
            field("tpm2", OptionalBool),
        ]),
    ),
    field("device", OptionalText),
    since(5, "discard", OptionalBool),
    field("key_file", Object(REFERENCE)),
    field("label", OptionalText),
    field("name", Text),
    since(5, "open_options", Texts),
    field("options", Texts),
    field("uuid", OptionalText),
    field("wipe_volume", OptionalBool),
];

const TANG: &[Field] =
    &[since(5, "advertisement", OptionalText), field("thumbprint", OptionalText), field("url", Text)];

const RAID: &[Field] = &[
    field("devices", Texts),
    field("level", TextBefore(4)),
    field("name", Text),
    field("options", Texts),
    field("spares", OptionalInt),
];

const TREE: &[Field] = &[
    since(7, "group", Object(OWNER)),
    field("local", Text),
    field("path", OptionalText),
    since(7, "user", Object(OWNER)),
    since(7, "file_mode", OptionalInt),
    since(7, "dir_mode", OptionalInt),
];

/// What generated units go into.
pub(super) const SYSTEMD: &[Field] = &[field(
    "units",
    Objects(&[
        field("contents", OptionalText),
        since(5, "contents_local", OptionalText),
        field(
            "dropins",
            Objects(&[field("contents", OptionalText), since(5, "contents_local", OptionalText), field("name", Text)]),
        ),
        field("enabled", OptionalBool),
        field("mask", OptionalBool),
        field("name", Text),
    ]),
)];

const BOOT_DEVICE: &[Field] = &[
    field("layout", OptionalText),
    field(
        "luks",
        Object(&[
            since(6, "cex", Object(CEX)),
            since(6, "device", OptionalText),
            since(5, "discard", OptionalBool),
            field("tang", Objects(TANG)),
            field("threshold", OptionalInt),
            field("tpm2", OptionalBool),
        ]),
    ),
    field("mirror", Object(&[field("devices", Texts)])),
];
