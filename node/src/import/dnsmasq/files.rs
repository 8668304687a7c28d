//! Follows a dnsmasq configuration through its includes, within bounds.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::line::{Line, lines};

/// How many files are read.
const FILES_MAX: usize = 1000;
/// Size of one file, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How many lines are kept.
const LINES_MAX: usize = 200_000;
/// How deep files may include each other.
const DEPTH_MAX: usize = 16;

/// A file that was named and cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, or may not be read.
    #[error("{path} cannot be read{by}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Where it is included; empty if it was named by the caller.
        by: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is more of it than can be meant.
    #[error(
        "more than {FILES_MAX} files, {LINES_MAX} lines or {DEPTH_MAX} includes in each other; do they include each other?"
    )]
    TooMuch,
    /// A file is too large to be a configuration.
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes: it is no configuration of dnsmasq")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}

/// The options of a file, or of the files of a folder, and of all that they include, in the order of reading.
///
/// # Errors
/// When a file cannot be read, or there are too many.
pub fn read(path: &Path) -> Result<Vec<Line>, ReadError> {
    let mut reading = Reading::default();
    if path.is_dir() {
        reading.folder(path, &[], String::new(), 0)?;
    } else {
        reading.file(path, String::new(), 0)?;
    }
    Ok(reading.lines)
}

#[derive(Default)]
struct Reading {
    lines: Vec<Line>,
    files: usize,
}

impl Reading {
    fn file(&mut self, path: &Path, by: String, depth: usize) -> Result<(), ReadError> {
        self.files += 1;
        if self.files > FILES_MAX || depth > DEPTH_MAX {
            return Err(ReadError::TooMuch);
        }
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|source| ReadError::Unreadable { path: path.into(), by, source })?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ReadError::TooLarge { path: path.into() });
        }
        for line in lines(&String::from_utf8_lossy(&bytes), &path.display().to_string()) {
            if self.lines.len() >= LINES_MAX {
                return Err(ReadError::TooMuch);
            }
            let by = format!(", which {}:{} includes", line.file, line.number);
            let (option, fields) = (line.option.clone(), line.fields.clone());
            self.lines.push(line);
            match (option.as_str(), fields.as_slice()) {
                // Standard input is of no use here.
                ("conf-file", [named, ..]) if !named.is_empty() && named != "-" => {
                    self.file(Path::new(named), by, depth + 1)?;
                }
                ("conf-dir", [named, ends @ ..]) if !named.is_empty() => {
                    self.folder(Path::new(named), ends, by, depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The files of a folder by name. `ends` are endings that are left out, or, written `*.conf`, the only ones that are read.
    fn folder(&mut self, path: &Path, ends: &[String], by: String, depth: usize) -> Result<(), ReadError> {
        let fail = |source| ReadError::Unreadable { path: path.into(), by: by.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(fail)? {
            names.push(entry.map_err(fail)?.file_name());
            if names.len() > FILES_MAX {
                return Err(ReadError::TooMuch);
            }
        }
        names.sort();
        for name in names {
            let file = path.join(&name);
            if is_read(&name.to_string_lossy(), ends) && file.is_file() {
                self.file(&file, by.clone(), depth)?;
            }
        }
        Ok(())
    }
}

/// Whether dnsmasq reads a file of this name in a folder.
fn is_read(name: &str, ends: &[String]) -> bool {
    let leftover = name.ends_with('~') || name.starts_with('.') || (name.starts_with('#') && name.ends_with('#'));
    let wanted: Vec<&str> = ends.iter().filter_map(|end| end.strip_prefix('*')).collect();
    let unwanted = ends.iter().any(|end| !end.starts_with('*') && !end.is_empty() && name.ends_with(end.as_str()));
    !leftover && !unwanted && (wanted.is_empty() || wanted.iter().any(|end| name.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_followed_in_order_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: String| fs::write(path(name), text).unwrap();
        fs::create_dir(path("d")).unwrap();
        write("main", format!("a\nconf-dir={},*.conf\nconf-file={}\nz\n", path("d").display(), path("more").display()));
        write("more", "m\n".into());
        for name in ["2.conf", "1.conf", "3.bak", ".hidden.conf", "4.conf~"] {
            write(&format!("d/{name}"), format!("option-{name}\n"));
        }
        let options = |lines: Vec<Line>| lines.into_iter().map(|line| line.option).collect::<Vec<_>>().join(" ");
        let read_it = |name: &str| read(&path(name)).map(options).map_err(|error| error.to_string());
        assert_eq!(read_it("main").unwrap(), "a conf-dir option-1.conf option-2.conf conf-file m z");
        assert_eq!(read_it("d").unwrap(), "option-1.conf option-2.conf option-3.bak");
        write("circle", format!("conf-file={}\n", path("circle").display()));
        assert!(read_it("circle").unwrap_err().contains("include each other"));
        write("gone", "x\nconf-file=/nonexistent/f\n".into());
        let error = read_it("gone").unwrap_err();
        assert!(error.contains("/nonexistent/f") && error.contains("gone:2 includes"), "{error}");
        assert!(read_it("nothing").unwrap_err().contains("nothing cannot be read"));
    }

    #[test]
    fn endings_choose_the_files_of_a_folder() {
        let ends = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for (name, list, want) in [
            ("a.conf", "", true),
            ("a.bak", ".bak,.old", false),
            ("a.conf", ".bak", true),
            ("a.conf", "*.conf", true),
            ("a.txt", "*.conf", false),
            ("#a#", "", false),
        ] {
            assert_eq!(is_read(name, &ends(list)), want, "{name} {list}");
        }
    }
}
