//! The Debian package under test, and the same one as a later version.

use super::repository;
use crate::node::binary;
use crate::process::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a package that is made already; without it, `node/packaging/build` makes one of the binary under test.
pub const PACKAGE_VARIABLE: &str = "RAFTBOOT_DEB";

/// The package of the binary under test.
///
/// # Errors
/// When it cannot be made.
pub fn package() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(PACKAGE_VARIABLE) {
        let path = PathBuf::from(path);
        return path.canonicalize().with_context(|| format!("{PACKAGE_VARIABLE} names {}", path.display()));
    }
    let binary = binary()?;
    // <target>/<profile>/raftboot
    let target = binary.ancestors().nth(2).context("the binary is in a target directory")?;
    let profile = binary.ancestors().nth(1).and_then(Path::file_name).context("the binary's profile")?;
    let mut build = Command::new(repository().join("node/packaging/build"));
    build.env("CARGO_TARGET_DIR", target).arg("--no-build").arg("--profile").arg(profile);
    let printed = run(build).context("make the Debian package")?;
    let line = printed.lines().find(|line| line.starts_with("package ")).context("the package's path")?;
    Ok(PathBuf::from(line.split_whitespace().last().context("the package's path")?))
}

/// The same package under a later version, in `directory`.
///
/// # Errors
/// When dpkg-deb cannot take it apart or put it together.
pub fn later(package: &Path, directory: &Path) -> Result<PathBuf> {
    let tree = directory.join("later");
    let mut apart = Command::new("dpkg-deb");
    apart.arg("--raw-extract").arg(package).arg(&tree);
    run(apart)?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("read the package's control file")?;
    let text: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with("Version: ") { format!("{line}.later1") } else { line.to_owned() })
        .collect();
    fs::write(&control, text.join("\n") + "\n").context("write the package's control file")?;
    let later = directory.join("raftboot_later_amd64.deb");
    let mut together = Command::new("dpkg-deb");
    // Speed matters here, size does not.
    together.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(&tree).arg(&later);
    run(together)?;
    fs::remove_dir_all(&tree).context("remove the package's parts")?;
    Ok(later)
}
