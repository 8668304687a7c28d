//! The shape of Ignition configs 3.0 to 3.4: every field, in the order Ignition writes them.
//!
//! Source: the configuration specifications at <https://coreos.github.io/ignition/specs/>.

/// What a field holds, and when it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Text that is always written.
    Text,
    /// Text that is left out when absent.
    OptionalText,
    /// Text that must be there before the given minor version, and may be left out from it on.
    TextBefore(u8),
    /// Text that is left out when empty.
    TextUnlessEmpty,
    /// An integer that is left out when absent.
    OptionalInt,
    /// An integer that is left out when zero.
    IntUnlessZero,
    /// A boolean that is left out when absent.
    OptionalBool,
    /// A list of texts, left out when empty.
    Texts,
    /// A list of objects, left out when empty.
    Objects(&'static [Field]),
    /// An object that is always written, if only as `{}`.
    Object(&'static [Field]),
}

/// One field of an object.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
    /// The minor version of spec 3 that brought it; a config of an older version loses it.
    pub(super) since: u8,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, since: 0 }
}

const fn since(since: u8, name: &'static str, kind: Kind) -> Field {
    Field { name, kind, since }
}

use Kind::{
    IntUnlessZero, Object, Objects, OptionalBool, OptionalInt, OptionalText, Text, TextBefore, TextUnlessEmpty, Texts,
};

/// A whole config.
pub(super) const CONFIG: &[Field] = &[
    field("ignition", Object(IGNITION)),
    since(3, "kernelArguments", Object(KERNEL_ARGUMENTS)),
    field("passwd", Object(PASSWD)),
    field("storage", Object(STORAGE)),
    field("systemd", Object(SYSTEMD)),
];

const IGNITION: &[Field] = &[
    field("config", Object(&[field("merge", Objects(REFERENCE)), field("replace", Object(REFERENCE))])),
    since(
        1,
        "proxy",
        Object(&[field("httpProxy", OptionalText), field("httpsProxy", OptionalText), field("noProxy", Texts)]),
    ),
    field("security", Object(&[field("tls", Object(&[field("certificateAuthorities", Objects(REFERENCE))]))])),
    field("timeouts", Object(&[field("httpResponseHeaders", OptionalInt), field("httpTotal", OptionalInt)])),
    field("version", Text),
];

/// A resource where 3.0 knew only a source and its verification.
const REFERENCE: &[Field] = &[
    since(1, "compression", OptionalText),
    since(1, "httpHeaders", Objects(HEADER)),
    field("source", OptionalText),
    field("verification", Object(VERIFICATION)),
];

/// The contents of a file, which could be compressed from the start.
const CONTENTS: &[Field] = &[
    field("compression", OptionalText),
    since(1, "httpHeaders", Objects(HEADER)),
    field("source", OptionalText),
    field("verification", Object(VERIFICATION)),
];

const HEADER: &[Field] = &[field("name", Text), field("value", OptionalText)];
const VERIFICATION: &[Field] = &[field("hash", OptionalText)];
const KERNEL_ARGUMENTS: &[Field] = &[field("shouldExist", Texts), field("shouldNotExist", Texts)];

const PASSWD: &[Field] = &[
    field(
        "groups",
        Objects(&[
            field("gid", OptionalInt),
            field("name", Text),
            field("passwordHash", OptionalText),
            since(2, "shouldExist", OptionalBool),
            field("system", OptionalBool),
        ]),
    ),
    field(
        "users",
        Objects(&[
            field("gecos", OptionalText),
            field("groups", Texts),
            field("homeDir", OptionalText),
            field("name", Text),
            field("noCreateHome", OptionalBool),
            field("noLogInit", OptionalBool),
            field("noUserGroup", OptionalBool),
            field("passwordHash", OptionalText),
            field("primaryGroup", OptionalText),
            field("sshAuthorizedKeys", Texts),
            field("shell", OptionalText),
            since(2, "shouldExist", OptionalBool),
            field("system", OptionalBool),
            field("uid", OptionalInt),
        ]),
    ),
];

const STORAGE: &[Field] = &[
    field("directories", Objects(DIRECTORY)),
    field("disks", Objects(DISK)),
    field("files", Objects(FILE)),
    field("filesystems", Objects(FILESYSTEM)),
    field("links", Objects(LINK)),
    since(2, "luks", Objects(LUKS)),
    field("raid", Objects(RAID)),
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
    field("target", TextBefore(3)),
];

const DISK: &[Field] = &[
    field("device", Text),
    field(
        "partitions",
        Objects(&[
            field("guid", OptionalText),
            field("label", OptionalText),
            field("number", IntUnlessZero),
            since(2, "resize", OptionalBool),
            field("shouldExist", OptionalBool),
            field("sizeMiB", OptionalInt),
            field("startMiB", OptionalInt),
            field("typeGuid", OptionalText),
            field("wipePartitionEntry", OptionalBool),
        ]),
    ),
    field("wipeTable", OptionalBool),
];

const FILESYSTEM: &[Field] = &[
    field("device", Text),
    field("format", OptionalText),
    field("label", OptionalText),
    since(1, "mountOptions", Texts),
    field("options", Texts),
    field("path", OptionalText),
    field("uuid", OptionalText),
    field("wipeFilesystem", OptionalBool),
];

const LUKS: &[Field] = &[
    field(
        "clevis",
        Object(&[
            field(
                "custom",
                Object(&[
                    field("config", OptionalText),
                    field("needsNetwork", OptionalBool),
                    field("pin", OptionalText),
                ]),
            ),
            field(
                "tang",
                Objects(&[
                    since(4, "advertisement", OptionalText),
                    field("thumbprint", OptionalText),
                    field("url", TextUnlessEmpty),
                ]),
            ),
            field("threshold", OptionalInt),
            field("tpm2", OptionalBool),
        ]),
    ),
    field("device", OptionalText),
    since(4, "discard", OptionalBool),
    field("keyFile", Object(REFERENCE)),
    field("label", OptionalText),
    field("name", Text),
    since(4, "openOptions", Texts),
    field("options", Texts),
    field("uuid", OptionalText),
    field("wipeVolume", OptionalBool),
];

const RAID: &[Field] = &[
    field("devices", Texts),
    field("level", TextBefore(3)),
    field("name", Text),
    field("options", Texts),
    field("spares", OptionalInt),
];

const SYSTEMD: &[Field] = &[field(
    "units",
    Objects(&[
        field("contents", OptionalText),
        field("dropins", Objects(&[field("contents", OptionalText), field("name", Text)])),
        field("enabled", OptionalBool),
        field("mask", OptionalBool),
        field("name", Text),
    ]),
)];
