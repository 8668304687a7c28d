//! Directories in, imports and complaints out.

use std::os::unix::fs::symlink;

use super::*;

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn problems(import: &Import, root: &Path) -> Vec<String> {
    let shown = |problem: &Problem| {
        let path = problem.path.strip_prefix(root).unwrap_or(&problem.path);
        format!("{}: {}", path.display(), problem.reason)
    };
    import.problems.iter().map(shown).collect()
}

#[test]
fn objects_are_named_by_their_files() {
    let dir = directory(&[
        ("groups/a.json", r#"{"id":"other","profile":"p"}"#),
        ("profiles/team/p.json", r#"{"id":"x","boot":{"kernel":"/k"}}"#),
        ("generic/sub/g.yaml", "{{.x}}"),
        ("assets/d/.hidden", "bytes"),
    ]);
    let import = read(dir.path()).unwrap();
    assert_eq!(import.problems, []);
    assert_eq!(import.groups[0].id, "a");
    assert_eq!(import.profiles[0].id, "team/p");
    assert_eq!(import.templates[0].name, "sub/g.yaml");
    assert_eq!(import.assets[0], ("d/.hidden".to_owned(), dir.path().join("assets/d/.hidden")));
}

#[test]
fn every_file_that_cannot_be_used_is_named_with_its_reason() {
    let dir = directory(&[
        ("groups/badmac.json", r#"{"selector":{"MAC":"nonsense"}}"#),
        ("groups/broken.json", "{"),
        ("groups/notes.txt", ""),
        ("groups/sub/x.json", "{}"),
        ("groups/.json", "{}"),
        ("profiles/noid.json", "{}"),
        ("profiles/lines.json", r#"{"id":"l","boot":{"args":["a\nboot"]}}"#),
        ("stray.txt", ""),
    ]);
    symlink("nowhere", dir.path().join("profiles/gone.json")).unwrap();
    let import = read(dir.path()).unwrap();
    assert!(import.groups.is_empty() && import.profiles.is_empty());
    let got = problems(&import, dir.path());
    for want in [
        "groups/.json: id: empty",
        "groups/badmac.json: selector.MAC: `nonsense` is not a MAC address",
        "groups/broken.json: not a group: EOF",
        "groups/notes.txt: its name does not end in `.json`",
        "groups/sub/x.json: in a sub-folder of `groups`",
        "profiles/gone.json: a link to a file that does not exist",
        "profiles/lines.json: boot.args[0]: ",
        "profiles/noid.json: it has no `id`",
        "stray.txt: not in a folder that matchbox reads",
    ] {
        assert!(got.iter().any(|line| line.starts_with(want)), "{want}\nin {got:#?}");
    }
    assert_eq!(got.len(), 9);
}

#[test]
fn links_are_followed_but_not_in_circles() {
    let dir = directory(&[("assets/v1/kernel", "k"), ("groups/g.json", "{}")]);
    symlink("v1", dir.path().join("assets/latest")).unwrap();
    symlink("..", dir.path().join("assets/v1/up")).unwrap();
    let import = read(dir.path()).unwrap();
    let names: Vec<&str> = import.assets.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["latest/kernel", "v1/kernel"]);
    assert_eq!(import.problems.len(), 2, "{:?}", import.problems);
}

#[test]
fn a_file_that_is_too_large_is_left_out() {
    let dir = directory(&[("generic/fits", ""), ("generic/large", "")]);
    let write = |name: &str, length| fs::write(dir.path().join(name), vec![b'x'; length]).unwrap();
    write("generic/fits", TEMPLATE_BYTES_MAX);
    write("generic/large", TEMPLATE_BYTES_MAX + 1);
    let import = read(dir.path()).unwrap();
    assert_eq!((import.templates.len(), import.problems.len()), (1, 1));
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let dir = directory(&[("etc/passwd", "")]);
    assert!(matches!(read(dir.path()), Err(ImportError::NotMatchbox { .. })));
    let missing = read(&dir.path().join("missing")).unwrap_err();
    assert!(missing.to_string().contains("/var/lib/matchbox"), "{missing}");
}
