//! `docs/benchmarks.md` in sections, each written by its own part of the bench and left alone by the others.

use anyhow::{Context, Result, bail};
use raftboot_ha_tests::process::run;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

const HEAD: &str = "# Benchmarks\n\nWritten by `ha-tests/bench`; each section says where and when its part was measured. The binary has debug \
                    assertions and overflow checks on (profile `ci`, see [decision 0008](decisions/0008-one-build-profile.md)).\n";

/// Puts `text` into the section called `part` of the page in the tree this program was started in.
pub(crate) fn write(part: &str, title: &str, text: &str) -> Result<()> {
    if !Path::new("docs").is_dir() {
        bail!("start the bench at the root of the tree: there is no docs/ here");
    }
    let file = env::current_dir().context("find the tree")?.join("docs/benchmarks.md");
    let page = fs::read_to_string(&file).unwrap_or_default();
    let body = format!("## {title}\n\n{}, {}.\n\n{}\n", host()?, today()?, text.trim());
    fs::write(&file, put(&page, part, &body)).with_context(|| format!("write {}", file.display()))
}

/// The computer in a few words.
fn host() -> Result<String> {
    let kernel = output("uname", &["-sr"])?;
    let cpus = fs::read_to_string("/proc/cpuinfo").context("read the CPU's name")?;
    let name = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{cores} × {}, {}", name.trim_start_matches([' ', '\t', ':']), kernel.trim()))
}

fn today() -> Result<String> {
    Ok(output("date", &["-u", "+%F"])?.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    run(command)
}

/// The page with the section's body replaced, or added at the end. A page without sections is one of an older bench and begins anew.
fn put(page: &str, part: &str, body: &str) -> String {
    let (begin, end) = (format!("<!-- bench {part}: begin -->\n"), format!("<!-- bench {part}: end -->\n"));
    let page = if page.contains("<!-- bench ") { page } else { HEAD };
    match (page.find(&begin), page.find(&end)) {
        (Some(from), Some(to)) if from < to => format!("{}{body}{}", &page[..from + begin.len()], &page[to..]),
        _ => format!("{page}\n{begin}{body}{end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_replaces_its_own_section_only() {
        let page = put("# Benchmarks\n\nas an older bench wrote it\n", "a", "one\n");
        assert!(
            page.starts_with(HEAD) && page.ends_with("<!-- bench a: begin -->\none\n<!-- bench a: end -->\n"),
            "{page}"
        );
        let page = put(&page, "b", "two\n");
        let page = put(&page, "a", "three\n");
        assert!(page.contains("a: begin -->\nthree\n<!-- bench a: end"), "{page}");
        assert!(page.contains("b: begin -->\ntwo\n<!-- bench b: end"), "{page}");
        assert!(!page.contains("one"), "{page}");
        assert_eq!(put(&page, "b", "two\n"), page);
    }
}
