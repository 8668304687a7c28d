//! Configs in, configs out; the recorded answers in `tests/vectors` hold many more.

use super::*;

fn check(stored: &str, want: &str) {
    let got = reserialise(stored.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
    match got {
        Ok(got) => assert_eq!(got, want, "{stored}"),
        Err(problem) => assert_eq!(format!("! {problem}"), want, "{stored}"),
    }
}

const EMPTY_HEAD: &str = r#"{"ignition":{"config":{"replace":{"verification":{}}},"proxy":{},"security":{"tls":{}},"timeouts":{},"version":"3.4.0"},"kernelArguments":{},"passwd":{}"#;

#[test]
fn a_config_is_written_anew_with_the_empty_objects_filled_in() {
    let file = r#"{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"/a","mode":420,"contents":{"source":"data:,h%20<"}}]},"x":1}"#;
    let want = r#","storage":{"files":[{"group":{},"path":"/a","user":{},"contents":{"source":"data:,h%20\u003c","verification":{}},"mode":420}]},"systemd":{}}"#;
    check(file, &format!("{EMPTY_HEAD}{want}"));
}

#[test]
fn fields_newer_than_the_version_are_dropped() {
    let minimal = format!("{EMPTY_HEAD},\"storage\":{{}},\"systemd\":{{}}}}");
    check(r#"{"ignition":{"version":"3.2.0"},"kernelArguments":{"shouldExist":["a"]}}"#, &minimal);
    check(r#"{"ignition":{"version":"3.1.0"},"storage":{"luks":[{"name":"a","device":"/dev/x"}]}}"#, &minimal);
    check(r#"{"Ignition":{"VERSION":"3.0.0"}}"#, &minimal);
}

#[test]
fn other_released_specs_are_served_as_stored_and_no_spec_is_refused() {
    for version in ["3.5.0", "3.10.0", "2.3.0"] {
        let stored = format!("{{ \"ignition\": {{\"version\": \"{version}\"}},\n \"new\": 1}}");
        check(&stored, &stored);
    }
    for version in ["3.4.1", "3.4", "v3.4.0", "3.5.0-experimental", "1.0.0", "", "3.5.0.0"] {
        let problem = reserialise(format!("{{\"ignition\":{{\"version\":\"{version}\"}}}}").as_bytes()).unwrap_err();
        assert!(problem.starts_with("ignition.version: "), "{problem}");
    }
    check("{}", "! ignition.version: missing; it says by which rules to read the config");
    check("hello", "! expected value at line 1 column 1");
}

#[test]
fn problems_are_told_with_the_way_to_them() {
    for (storage, want) in [
        (
            r#"{"files":[{"path":"etc/x"}]}"#,
            "storage.files[0].path: `etc/x` is no absolute path without `.`, `..` and doubled slashes",
        ),
        (r#"{"files":[{"path":"/a"},{"path":"/a"}]}"#, "storage.files[1].path: `/a` is there twice"),
        (
            r#"{"files":[{"path":"/a","mode":"0644"}]}"#,
            "storage.files[0].mode: invalid type: string \"0644\", expected i64 at line 1 column 6",
        ),
        (
            r#"{"files":[{"path":"/a","contents":{"source":"gopher://x"}}]}"#,
            "storage.files[0].contents.source: `gopher` is no scheme that Ignition can fetch from",
        ),
        (
            r#"{"links":[{"path":"/a","target":"/b"}],"files":[{"path":"/a/c"}]}"#,
            "storage.files[0].path: `/a/c` goes through the link `/a`",
        ),
        (
            r#"{"links":[{"path":"/a/b","target":"/x"},{"path":"/a-b","target":"/x"},{"path":"/a","target":"/x"}],"files":[{"path":"/a/b/c"}]}"#,
            "storage.files[0].path: `/a/b/c` goes through the link `/a/b`",
        ),
        (
            r#"{"links":[{"path":"/a","target":"/x"},{"path":"/a/b/c","target":"/x"}],"files":[{"path":"/a-b"},{"path":"/ab"},{"path":"/a/d"}]}"#,
            "storage.files[2].path: `/a/d` goes through the link `/a`",
        ),
        (
            r#"{"links":[{"path":"/l","target":"/d","hard":true}],"directories":[{"path":"/d"}]}"#,
            "storage.links[0].target: a hard link cannot lead to the directory `/d`",
        ),
        (r#"{"links":[{"path":"/a"}]}"#, "storage.links[0].target: missing"),
        (
            r#"{"raid":[{"name":"m","level":"raid9","devices":["/d"]}]}"#,
            "storage.raid[0].level: `raid9` is no RAID level",
        ),
        (
            r#"{"disks":[{"device":"/d","partitions":[{"number":1,"startMiB":1,"sizeMiB":9},{"number":2,"startMiB":5,"sizeMiB":1}]}]}"#,
            "storage.disks[0].partitions[1].startMiB: it overlaps another partition",
        ),
        (
            r#"{"filesystems":[{"device":"/d","format":"zfs"}]}"#,
            "storage.filesystems[0].format: `zfs` is none of ext4, btrfs, xfs, swap, vfat, none",
        ),
        (
            r#"{"luks":[{"name":"l","device":"/d","clevis":{"tang":[{"url":"http://t"}]}}]}"#,
            "storage.luks[0].clevis.tang[0].thumbprint: missing",
        ),
        (r#"{"files":"x"}"#, "storage.files: invalid type: string \"x\", expected a sequence at line 1 column 3"),
    ] {
        check(&format!(r#"{{"ignition":{{"version":"3.4.0"}},"storage":{storage}}}"#), &format!("! {want}"));
    }
    let unit = r#"{"ignition":{"version":"3.4.0"},"systemd":{"units":[{"name":"a.service","contents":"[Unit\nx"}]}}"#;
    check(unit, "! systemd.units[0].contents: line 1 is neither a section nor an option");
}

#[test]
fn random_json_never_panics() {
    use proptest::prelude::*;
    let leaves = vec!["null", "true", "-1", "3", "\"\"", "\"/a\"", "\"3.4.0\"", "{}", "[]"];
    let leaf = prop::sample::select(leaves).prop_map(str::to_owned);
    let keys = prop::sample::select(vec![
        "ignition",
        "version",
        "storage",
        "files",
        "path",
        "links",
        "disks",
        "partitions",
        "systemd",
        "units",
        "name",
    ]);
    let json = leaf.prop_recursive(6, 64, 6, move |inner| {
        let member = (keys.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|list| format!("{{{}}}", list.join(","))),
        ]
    });
    proptest!(|(json in json)| {
        let _ = reserialise(json.as_bytes());
        let _ = reserialise(format!("{{\"ignition\":{{\"version\":\"3.2.0\"}},\"storage\":{json},\"systemd\":{json}}}").as_bytes());
    });
}
