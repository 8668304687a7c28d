//! Reads the files given to `apply`: YAML with many documents, JSON, folders of both, or standard input.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::failure::Failure;

/// Size of all files together, in bytes; the server takes no more.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How many files of a folder are read.
const FILES_MAX: usize = 100_000;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 32;
/// What YAML may hold: sequences, mappings and scalars, with everything that aliases repeat.
const NODES_MAX: usize = 10_000_000;
/// The files a folder is searched for.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// One object as it is written somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// Where it is written: `groups.yaml:12`.
    pub place: String,
    /// The object.
    pub value: Value,
}

/// Reads a file, a folder or (`-`) standard input.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn read(path: &Path) -> Result<Vec<Document>, Failure> {
    let mut files = Vec::new();
    if path != Path::new("-") && path.is_dir() {
        walk(path, 0, &mut files)?;
        if files.is_empty() {
            let hint = format!("the names of files that are read end in .{}", EXTENSIONS.join(", ."));
            return Err(Failure::new(format!("{}: there is no such file in this folder", path.display()), hint));
        }
    } else {
        files.push(path.to_owned());
    }
    let mut left = INPUT_BYTES_MAX;
    let mut documents = Vec::new();
    for file in files {
        let bytes = read_at_most(&file, left)?;
        left -= bytes.len() as u64;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::new(format!("{}: not UTF-8 at byte {at}", name_of(&file)), "save it as UTF-8")
        })?;
        for mut document in parse(&text, &file)? {
            include(&mut document, &file)?;
            documents.push(document);
        }
    }
    Ok(documents)
}

/// The whole of a file or (`-`) of standard input.
///
/// # Errors
/// When it cannot be read or is too large.
pub(super) fn read_input(path: &Path) -> Result<Vec<u8>, Failure> {
    read_at_most(path, INPUT_BYTES_MAX)
}

fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::new(format!("{} cannot be read: {error}", name_of(path)), ""))?;
    if bytes.len() as u64 > most {
        let hint = "apply it in parts; large files belong into assets: `raftboot asset put`";
        return Err(Failure::new(format!("{}: more than {INPUT_BYTES_MAX} bytes in all", name_of(path)), hint));
    }
    Ok(bytes)
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

/// Files below a folder in the order of their names; hidden ones are left out.
fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::new(format!("{} cannot be read: {error}", dir.display()), "");
    if depth > DEPTH_MAX || files.len() > FILES_MAX {
        let message = format!("{}: more than {DEPTH_MAX} folders deep, or more than {FILES_MAX} files", dir.display());
        return Err(Failure::new(message, "name a smaller folder"));
    }
    let mut entries = fs::read_dir(dir).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if path.extension().and_then(|extension| extension.to_str()).is_some_and(|end| EXTENSIONS.contains(&end))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// The documents of one file. JSON is read as JSON: it keeps numbers that YAML would round, and its errors are clearer.
fn parse(text: &str, file: &Path) -> Result<Vec<Document>, Failure> {
    let name = name_of(file);
    let is_json =
        file.extension().is_some_and(|extension| extension == "json") || text.trim_start().starts_with(['{', '[']);
    let values: Vec<(u64, Value)> = if is_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        vec![(1, serde_json::from_str(text).map_err(|error| Failure::new(format!("{name}: {error}"), ""))?)]
    } else if file.extension().is_some_and(|extension| extension == "json") {
        let error = serde_json::from_str::<Value>(text).err().map(|error| error.to_string()).unwrap_or_default();
        return Err(Failure::new(format!("{name}: {error}"), "the file must hold one JSON object, or a list of them"));
    } else {
        yaml(text, &name)?
    };
    let mut documents = Vec::new();
    for (line, value) in values {
        let place = format!("{name}:{line}");
        match value {
            Value::Array(items) => documents.extend(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(at, value)| Document { place: format!("{place} (item {})", at + 1), value }),
            ),
            value => documents.push(Document { place, value }),
        }
    }
    match documents.iter().find(|document| !document.value.is_object()) {
        Some(odd) => {
            let hint = "write `kind: profile` (or group, template, settings) and its fields";
            Err(Failure::new(format!("{}: this is no object", odd.place), hint))
        }
        None => Ok(documents),
    }
}

fn yaml(text: &str, name: &str) -> Result<Vec<(u64, Value)>, Failure> {
    let options = serde_saphyr::options! {
        // `on`, `yes` and `no` are words, as in YAML 1.2.
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_documents: NODES_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
        },
    };
    let documents: Result<Vec<Spanned<Value>>, _> = serde_saphyr::from_multiple_with_options(text, options);
    documents
        .map(|documents| documents.into_iter().map(|document| (document.referenced.line(), document.value)).collect())
        .map_err(|error| {
            let whole = error.without_snippet().to_string();
            let message = whole.split(" at line ").next().unwrap_or(&whole);
            let place = error.location().map(|at| format!("{name}:{}:{}", at.line(), at.column()));
            let place = place.unwrap_or_else(|| name.to_owned());
            Failure::new(format!("{place}: {message}"), "nothing was changed")
        })
}

/// Puts the file that `content_file` names in its place; relative to the document it stands in.
fn include(document: &mut Document, file: &Path) -> Result<(), Failure> {
    let Value::Object(members) = &mut document.value else { return Ok(()) };
    let Some(named) = members.remove("content_file") else { return Ok(()) };
    let Value::String(named) = named else {
        return Err(Failure::new(
            format!("{}: content_file: not a file name", document.place),
            "write the name in quotes",
        ));
    };
    if members.contains_key("content") {
        let message = format!("{}: both `content` and `content_file` are there", document.place);
        return Err(Failure::new(message, "keep one of them"));
    }
    let base = if file == Path::new("-") { Path::new(".") } else { file.parent().unwrap_or(Path::new(".")) };
    let bytes = read_input(&base.join(named))?;
    match String::from_utf8(bytes) {
        Ok(text) => members.insert("content".into(), Value::String(text)),
        Err(error) => members.insert("content_base64".into(), Value::String(base64(error.as_bytes()))),
    };
    Ok(())
}

/// RFC 4648 §4.
#[must_use]
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(String, Value)> {
        parse(text, Path::new("a.yaml")).unwrap().into_iter().map(|document| (document.place, document.value)).collect()
    }

    fn mistake(text: &str, file: &str) -> String {
        parse(text, Path::new(file)).unwrap_err().problems()[0].message.clone()
    }

    #[test]
    fn documents_know_the_line_they_begin_on() {
        let text = "# head\nkind: profile\nid: p\n---\n---\n# another\nkind: group\nselector: {mac: 52:54:00:12:34:56, os: on}\n";
        let read = places(text);
        assert_eq!(read.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>(), ["a.yaml:2", "a.yaml:7"]);
        assert_eq!(read[1].1["selector"], serde_json::json!({"mac": "52:54:00:12:34:56", "os": "on"}));
    }

    #[test]
    fn json_is_one_object_or_a_list() {
        assert_eq!(places("{\"kind\": \"profile\", \"n\": 18446744073709551615}")[0].1["n"], u64::MAX);
        assert_eq!(places("[{\"a\": 1}, {\"b\": 2}]").len(), 2);
        assert_eq!(places("{kind: group, id: g}").len(), 1, "flow YAML looks like JSON and is not");
    }

    #[test]
    fn mistakes_are_found_by_file_line_and_column() {
        assert!(mistake("a: 1\na: 2\n", "g.yaml").starts_with("g.yaml:2:1: duplicate"));
        assert!(mistake("a:\n\t- b\n", "g.yaml").starts_with("g.yaml:2:2: tabs"));
        assert!(mistake("{\"a\": }", "g.json").contains("line 1 column 7"));
        assert!(mistake("just words", "g.yaml").contains("g.yaml:1: this is no object"));
        assert!(mistake("x: *gone", "g.yaml").contains("alias"));
    }

    #[test]
    fn aliases_cannot_blow_up() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(",")));
        }
        assert!(parse(&bomb, Path::new("bomb.yaml")).is_err());
    }

    #[test]
    fn base64_is_written_as_rfc_4648_says() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
