//! Commands in documentation pages: which are executed by a test, which cannot be, and that there is no third kind.

use super::repository;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Pages in these places follow the convention.
const PLACES: [&str; 2] = ["docs/operate", "docs/guides/ha-talos.md"];
/// Names pages, by words their paths contain, when not all of them are to be followed.
pub const PAGES_VARIABLE: &str = "RAFTBOOT_PAGES";
/// Where a block is executed unless it says so itself.
const FIRST_HOST: &str = "mgmt-01";
/// In place of a host: on each of them, one after the other.
pub const ALL_HOSTS: &str = "all";

/// What the comment above a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A test executes it.
    Tested {
        /// Unique in its page.
        name: String,
        /// The host of the lab it is executed on, or [`ALL_HOSTS`].
        host: String,
    },
    /// No test can, and why.
    NotRunHere(String),
    /// It says nothing.
    Missing,
}

/// One fenced block of shell commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of the fence, counted from 1.
    pub line: usize,
    /// What is said about it.
    pub mark: Mark,
    /// The commands.
    pub script: String,
}

/// A page and its blocks, in order.
#[derive(Clone, Debug)]
pub struct Page {
    /// From the root of the repository.
    pub path: String,
    /// All of them.
    pub blocks: Vec<Block>,
}

impl Page {
    /// The blocks that are executed, in order: name, host, script.
    pub fn tested(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.blocks.iter().filter_map(|block| match &block.mark {
            Mark::Tested { name, host } => Some((name.as_str(), host.as_str(), block.script.as_str())),
            _ => None,
        })
    }

    /// What breaks the convention: blocks without a mark, names given twice, reasons left out.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        let mut mistakes = Vec::new();
        for block in &self.blocks {
            let at = format!("{}:{}", self.path, block.line);
            match &block.mark {
                Mark::Missing => mistakes.push(format!(
                    "{at}: a sh block without `<!-- tested: NAME -->` or `<!-- not run here: REASON -->` directly above it"
                )),
                Mark::Tested { name, .. } if !names.insert(name.clone()) => {
                    mistakes.push(format!("{at}: the name {name} is given twice"));
                }
                Mark::NotRunHere(reason) if reason.is_empty() => mistakes.push(format!("{at}: no reason is given")),
                Mark::Tested { .. } | Mark::NotRunHere(_) => {}
            }
        }
        mistakes
    }
}

/// All pages that follow the convention.
///
/// # Errors
/// When one cannot be read.
pub fn pages() -> Result<Vec<Page>> {
    let root = repository();
    let mut files = Vec::new();
    for place in PLACES {
        let path = root.join(place);
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("list {place}"))? {
                files.push(entry.with_context(|| format!("list {place}"))?.path());
            }
        } else if path.exists() {
            files.push(path);
        }
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    files.into_iter().map(|file| read(&root, file)).collect()
}

/// Whether this page is to be followed: all are, unless [`PAGES_VARIABLE`] chooses.
#[must_use]
pub fn is_chosen(page: &Page) -> bool {
    let Ok(words) = std::env::var(PAGES_VARIABLE) else { return true };
    words.split(',').any(|word| page.path.contains(word))
}

fn read(root: &Path, file: PathBuf) -> Result<Page> {
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
    let blocks = blocks(&text).with_context(|| path.clone())?;
    Ok(Page { path, blocks })
}

/// The `sh` blocks of a Markdown text.
///
/// # Errors
/// When a block is not closed or a comment of this kind cannot be understood.
pub fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut above = "";
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(fence) = line.trim_start().strip_prefix("```") else {
            above = line.trim();
            continue;
        };
        // Blocks in lists are indented, and so is what is in them.
        let indent = line.len() - line.trim_start().len();
        let mut script = String::new();
        loop {
            let Some((_, inside)) = lines.next() else { bail!("line {}: this block is not closed", number + 1) };
            if inside.trim() == "```" {
                break;
            }
            script.push_str(inside.get(indent..).unwrap_or_default());
            script.push('\n');
        }
        if fence.trim() == "sh" {
            blocks.push(Block {
                line: number + 1,
                mark: mark(above).with_context(|| format!("line {number}"))?,
                script,
            });
        }
        above = "";
    }
    Ok(blocks)
}

fn mark(comment: &str) -> Result<Mark> {
    let Some(inside) = comment.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) else {
        return Ok(Mark::Missing);
    };
    if let Some(reason) = inside.trim().strip_prefix("not run here:") {
        return Ok(Mark::NotRunHere(reason.trim().to_owned()));
    }
    let Some(what) = inside.trim().strip_prefix("tested:") else {
        return Ok(Mark::Missing);
    };
    let (name, host) = what.trim().split_once(" on ").unwrap_or((what.trim(), FIRST_HOST));
    let (name, host) = (name.trim(), host.trim());
    ensure!(!name.is_empty() && !name.contains(' '), "a name is one word: {comment}");
    Ok(Mark::Tested { name: name.to_owned(), host: host.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let text = "# A page\n\n<!-- tested: first -->\n```sh\nraftboot status\n```\n\n```toml\nx = 1\n```\n\
            1. step\n   <!-- tested: second on mgmt-02 -->\n   ```sh\n   a\n     b\n   ```\n\
            <!-- not run here: needs a switch -->\n```sh\nc\n```\n\n```sh\nd\n```\n";
        let blocks = blocks(text).unwrap();
        let tested = |name: &str, host: &str| Mark::Tested { name: name.into(), host: host.into() };
        let expected = [
            (tested("first", "mgmt-01"), "raftboot status\n"),
            (tested("second", "mgmt-02"), "a\n  b\n"),
            (Mark::NotRunHere("needs a switch".into()), "c\n"),
            (Mark::Missing, "d\n"),
        ];
        let found: Vec<_> = blocks.iter().map(|block| (block.mark.clone(), block.script.as_str())).collect();
        assert_eq!(found, expected);
        let page = Page { path: "p.md".into(), blocks };
        assert_eq!(page.tested().map(|(name, ..)| name).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(page.mistakes().len(), 1, "{:?}", page.mistakes());
    }

    #[test]
    fn mistakes_are_told() {
        assert!(blocks("```sh\nnever closed\n").is_err());
        assert!(blocks("<!-- tested: two words -->\n```sh\n```\n").is_err());
        let twice =
            "<!-- tested: a -->\n```sh\n```\n<!-- tested: a -->\n```sh\n```\n<!-- not run here: -->\n```sh\n```\n";
        let page = Page { path: "p.md".into(), blocks: blocks(twice).unwrap() };
        assert_eq!(page.mistakes().len(), 2, "{:?}", page.mistakes());
    }
}
