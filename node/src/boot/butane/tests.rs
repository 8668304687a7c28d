//! Butane in, Ignition out; the recorded answers in `tests/vectors` hold more.

use serde_json::{Value, json};

use super::*;

/// What is served for a config of this variant and version.
fn served(variant: &str, version: &str, body: &str) -> Result<Value, String> {
    let text = format!("variant: {variant}\nversion: {version}\n{body}");
    let json = translate(text.as_bytes())?;
    assert_eq!(ignition::reserialise(&json).as_deref(), Ok(json.as_slice()), "a second pass changes nothing: {text}");
    Ok(serde_json::from_slice(&json).expect("what is served is JSON"))
}

fn fcos(version: &str, body: &str) -> Value {
    served("fcos", version, body).unwrap_or_else(|problem| panic!("{version} {body}: {problem}"))
}

#[test]
fn every_version_gives_its_spec() {
    for (variant, version, want) in [
        ("fcos", "1.0.0", "3.4.0"),
        ("fcos", "1.1.0", "3.4.0"),
        ("fcos", "1.2.0", "3.4.0"),
        ("fcos", "1.3.0", "3.4.0"),
        ("fcos", "1.4.0", "3.4.0"),
        ("fcos", "1.5.0", "3.4.0"),
        ("fcos", "1.6.0", "3.5.0"),
        ("fcos", "1.7.0", "3.6.0"),
        ("fcos", "'01.04.0'", "3.4.0"),
        ("flatcar", "1.0.0", "3.4.0"),
        ("flatcar", "1.1.0", "3.4.0"),
        ("r4e", "1.0.0", "3.4.0"),
        ("r4e", "1.1.0", "3.4.0"),
        ("fiot", "1.0.0", "3.4.0"),
    ] {
        let got = served(variant, version, "").unwrap();
        assert_eq!(got["ignition"]["version"], want, "{variant} {version}");
    }
}

#[test]
fn what_asks_for_no_known_translation_is_refused() {
    for (text, want) in [
        ("", "variant: missing; known are fcos, flatcar, r4e and fiot"),
        ("version: 1.4.0", "variant: missing; known are fcos, flatcar, r4e and fiot"),
        ("Variant: fcos", "variant: missing; known are fcos, flatcar, r4e and fiot"),
        ("variant: rhcos\nversion: 0.1.0", "variant: `rhcos` is unknown; known are fcos, flatcar, r4e and fiot"),
        ("variant: flatcar", "version: missing; of flatcar known are 1.0.0, 1.1.0"),
        ("variant: flatcar\nversion: 1.4", "version: `1.4` is unknown; of flatcar known are 1.0.0, 1.1.0"),
        (
            "variant: flatcar\nversion: 1.2.0-experimental",
            "version: `1.2.0-experimental` is unknown; of flatcar known are 1.0.0, 1.1.0",
        ),
        ("#!/bin/sh\necho hi", "must be a map of fields (line 2)"),
        ("variant: [fcos]", "variant: must be a single value (line 1)"),
        (
            "variant: fcos\nversion: 1.4.0\nx: a: b",
            "it is not YAML: line 3: mapping values are not allowed in this context",
        ),
    ] {
        assert_eq!(translate(text.as_bytes()), Err(want.to_owned()), "{text}");
    }
    let openshift = translate(b"variant: openshift\nversion: 4.14.0").unwrap_err();
    assert!(openshift.starts_with("variant: `openshift` gives what a cluster applies"), "{openshift}");
    assert_eq!(translate(b"variant: fcos\n\xff"), Err("it is not UTF-8 on line 2".to_owned()));
}

/// Variant, version, config, and how the refusal begins.
const REFUSALS: &str = r#"
fcos 1.4.0 | storage: {trees: [{local: a}]} | storage.trees[0]: there is no folder of files
fcos 1.4.0 | storage: {files: [{path: /a, contents: {local: a}}]} | storage.files[0].contents.local: there is no folder
fcos 1.4.0 | storage: {files: [{contents: {inline: a, source: b}}]} | storage.files[0].contents.source: there is `inline`
fcos 1.5.0 | passwd: {users: [{ssh_authorized_keys_local: [a]}]} | passwd.users[0].ssh_authorized_keys_local: there is no
fcos 1.5.0 | systemd: {units: [{name: a.service, contents_local: a}]} | systemd.units[0].contents_local: there is no folder
fcos 1.5.0 | systemd: {units: [{dropins: [{}, {contents: a, contents_local: ''}]}]} | systemd.units[0].dropins[1].contents_local: there is `contents`
fcos 1.4.0 | storage: {files: [{path: a}]} | storage.files[0].path: `a` is no absolute path
fcos 1.6.0 | storage: {files: [{path: /a}, {path: b}]} | storage.files[1].path: `b` is no absolute path
fcos 1.4.0 | storage: {disks: [{device: /d, partitions: [{number: 1, start_mib: 1, size_mib: 9}, {number: 2, start_mib: 5, size_mib: 1}]}]} | storage.disks[0].partitions[1].start_mib: it overlaps
fcos 1.4.0 | passwd: {users: [{name: a, ssh_authorized_keys: [k, k]}]} | passwd.users[0].ssh_authorized_keys[1]: `k` is there twice
fcos 1.4.0 | storage: {filesystems: [{device: /d, path: /a, with_mount_unit: true}]} | storage.filesystems[0].format: missing
fcos 1.3.0 | storage: {filesystems: [{device: /d, format: swap, with_mount_unit: true}]} | storage.filesystems[0].path: missing
fcos 1.6.0 | storage: {filesystems: [{device: /d, format: xfs, path: /varx, with_mount_unit: true}]} | storage.filesystems[0].path: only /etc, /var
fcos 1.2.0 | storage: {filesystems: [{device: /d, format: none}]} | storage.filesystems[0].format: `none` needs
fcos 1.0.0 | storage: {files: [{path: /a, contents: {inline: a, verification: {hash: sha256-a}}}]} | storage.files[0].contents.verification.hash: sha256 needs
fcos 1.4.0 | storage: {files: [{path: /a, contents: {source: 'arn:aws:s3:::b/k'}}]} | storage.files[0].contents.source: addresses that begin with `arn:`
fcos 1.5.0 | grub: {users: [{name: a}]} | grub.users[0].password_hash: missing
fcos 1.5.0 | boot_device: {layout: s390x-virt} | boot_device.layout: `s390x-virt` is none of x86_64, aarch64, ppc64le
fcos 1.5.0 | boot_device: {mirror: {devices: [/a]}} | boot_device.mirror.devices: a mirror needs two disks
fcos 1.6.0 | boot_device: {layout: s390x-eckd, luks: {tpm2: true, device: /dev/dasda1}} | boot_device.luks.device: must be a whole disk such as /dev/dasda
fcos 1.6.0 | boot_device: {layout: s390x-virt, mirror: {devices: [/a, /b]}} | boot_device.mirror: s390x has no mirrored
fcos 1.6.0 | boot_device: {luks: {cex: {enabled: true}}} | boot_device.luks.cex: only s390x has it
fcos 1.7.0 | boot_device: {mirror: {devices: [/a, /b]}} | boot_device.layout: missing
fcos 1.7.0 | boot_device: {luks: {device: /a}} | boot_device.luks: neither tang, tpm2 nor cex
fcos 1.6.0 | storage: {luks: [{name: a, device: /a, cex: {enabled: true}, clevis: {tpm2: true}}]} | storage.luks[0].cex: not together with clevis
fcos 1.5.0 | storage: {luks: [{name: a, device: /a, clevis: {tang: [{url: 'http://t', thumbprint: a, advertisement: x}]}}]} | storage.luks[0].clevis.tang[0].advertisement: it is not JSON
fcos 1.4.0 | ignition: {config: {merge: [{inline: x}]}} | ignition.config.merge[0].inline: it is not JSON
fcos 1.4.0 | ignition: {config: {merge: [{inline: '{}'}]}} | ignition.config.merge[0].inline: it has no `ignition.version`
fcos 1.5.0 | ignition: {config: {replace: {inline: '{"ignition":{"version":"3.4.0"},"storage":{"files":[{}]}}'}}} | ignition.config.replace.inline: storage.files[0].path: missing
fcos 1.6.0 | ignition: {config: {replace: {inline: '{"ignition":{"version":"3.5.0"},"storage":{"files":[{}]}}'}}} | ignition.config.replace.inline: storage.files[0].path: missing
flatcar 1.1.0 | storage: {luks: [{}, {clevis: {tpm2: false}}]} | storage.luks[1].clevis: variant `flatcar` of this version
fiot 1.0.0 | kernel_arguments: {should_exist: [a]} | kernel_arguments: variant `fiot` of this version
r4e 1.1.0 | storage: {disks: [{}]} | storage.disks: variant `r4e` of this version
"#;

#[test]
fn refusals_name_the_field() {
    for line in REFUSALS.trim().lines() {
        let [spec, body, want] = line.split(" | ").collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (variant, version) = spec.split_once(' ').unwrap();
        let problem = served(variant, version, body).expect_err(line);
        assert!(problem.starts_with(want), "{line}: {problem}");
    }
}

#[test]
fn elements_are_numbered_as_the_config_has_them() {
    let mounted = "storage: {filesystems: [{device: /d, format: xfs, path: /var/a, with_mount_unit: true}]}\n";
    for (units, want) in [
        ("{name: a}", "systemd.units[0].name: "),
        ("{name: a.service}, {name: a.service}", "systemd.units[1]: `a.service` is there twice"),
    ] {
        let problem = served("fcos", "1.5.0", &format!("{mounted}systemd: {{units: [{units}]}}")).unwrap_err();
        assert!(problem.starts_with(want), "{problem}");
    }
}

#[test]
fn unknown_fields_are_served_without_and_named() {
    let text = "variant: fcos\nversion: 1.4.0\ngrub: {users: []}\nstorage:\n  files:\n  - path: /a\n    contnets: {inline: x}\n";
    let unknown = ["grub: unknown field (line 3)", "storage.files[0].contnets: unknown field (line 7)"];
    assert_eq!(check(text.as_bytes()).unwrap(), unknown);
    assert_eq!(check(b"variant: fcos\nversion: 1.4.0").unwrap(), [""; 0]);
    assert!(check(b"variant: fcos\nversion: 1.4.0\nstorage: {files: [{path: a}]}").is_err());
    let got: Value = serde_json::from_slice(&translate(text.as_bytes()).unwrap()).unwrap();
    assert_eq!(got["storage"]["files"][0]["contents"], json!({"verification": {}}));
}

#[test]
fn mount_units_fit_what_they_mount() {
    let body = "storage: {luks: [{name: d, device: /b, clevis: {tang: [{url: 'http://t', thumbprint: x}]}}], \
        filesystems: [{device: /dev/mapper/d, format: ext4, path: /var/a-b, mount_options: [ro], with_mount_unit: on}, \
        {device: /dev/s, format: swap, path: /var/s, with_mount_unit: on}, {device: /dev/n, format: xfs, path: /n}]}";
    let check = |device: &str| {
        format!("[Unit]\nRequires=systemd-fsck@{device}.service\nAfter=systemd-fsck@{device}.service\n\n")
    };
    let remote = format!(
        "# Generated by Butane\n{}[Mount]\nWhere=/var/a-b\nWhat=/dev/mapper/d\nType=ext4\nOptions=ro,_netdev\n\n[Install]\nRequiredBy=remote-fs.target",
        check("dev-mapper-d")
    );
    let swap = "# Generated by Butane\n[Swap]\nWhat=/dev/s\n\n[Install]\nRequiredBy=swap.target";
    let mounted_swap = format!(
        "# Generated by Butane\n{}[Mount]\nWhere=/var/s\nWhat=/dev/s\nType=swap\n\n[Install]\nRequiredBy=local-fs.target",
        check("dev-s")
    );
    let unit = |name: &str, contents: &str| json!({"name": name, "enabled": true, "contents": contents});
    for (version, second) in [("1.5.0", unit("dev-s.swap", swap)), ("1.3.0", unit("var-s.mount", &mounted_swap))] {
        let want = json!([unit("var-a\\x2db.mount", &remote), second]);
        assert_eq!(fcos(version, body)["systemd"]["units"], want, "{version}");
    }
}

#[test]
fn a_unit_of_the_config_is_merged_into_the_generated_one() {
    let got = fcos(
        "1.4.0",
        "storage: {filesystems: [{device: /d, format: xfs, path: /var/a, with_mount_unit: true}]}\n\
         systemd: {units: [{name: b.service}, {name: var-a.mount, enabled: false, mask: true}]}",
    );
    let units = got["systemd"]["units"].as_array().unwrap();
    let names: Vec<&str> = units.iter().filter_map(|unit| unit["name"].as_str()).collect();
    assert_eq!(names, ["var-a.mount", "b.service"]);
    assert_eq!((&units[0]["enabled"], &units[0]["mask"]), (&json!(false), &json!(true)));
    assert!(units[0]["contents"].as_str().unwrap().contains("Where=/var/a\n"));
}

#[test]
fn boot_device_is_disks_arrays_and_encryption() {
    let got =
        fcos("1.5.0", "boot_device: {layout: ppc64le, mirror: {devices: [/a, /b]}, luks: {tpm2: true, discard: true}}");
    let storage = &got["storage"];
    assert_eq!(
        storage["disks"][1],
        json!({"device": "/b", "wipeTable": true, "partitions": [
            {"label": "prep-2", "sizeMiB": 4, "typeGuid": "9E1A2D38-C612-4316-AA26-8B49521E5A8B"},
            {"label": "reserved-2", "sizeMiB": 1, "typeGuid": "8DA63339-0007-60C0-C436-083AC8230908"},
            {"label": "boot-2", "sizeMiB": 384},
            {"label": "root-2"},
        ]})
    );
    let devices: Vec<&str> =
        storage["filesystems"].as_array().unwrap().iter().filter_map(|entry| entry["device"].as_str()).collect();
    assert_eq!(devices, ["/dev/md/md-boot", "/dev/mapper/root"]);
    assert_eq!(
        storage["luks"][0],
        json!({"clevis": {"custom": {}, "tpm2": true}, "device": "/dev/md/md-root", "discard": true,
            "keyFile": {"verification": {}}, "label": "luks-root", "name": "root", "wipeVolume": true})
    );
    assert_eq!(storage["raid"][0]["options"], json!(["--metadata=1.0"]));

    let got = fcos("1.6.0", "boot_device: {layout: s390x-zfcp, luks: {device: /dev/sda, cex: {enabled: true}}}");
    let luks = &got["storage"]["luks"][0];
    assert_eq!((&luks["device"], &luks["cex"]), (&json!("/dev/sda4"), &json!({"enabled": true})));
    assert_eq!(fcos("1.5.0", "boot_device: {layout: x86_64, luks: {tpm2: false}}")["storage"], json!({}));
}

#[test]
fn what_the_config_says_of_generated_parts_wins() {
    let got = fcos(
        "1.4.0",
        "boot_device: {mirror: {devices: [/a, /b]}}\n\
         storage: {disks: [{device: /b, wipe_table: false, partitions: [{label: root-2, size_mib: 9}, {label: var-2}]}, {device: /c}], \
         raid: [{name: md-root, options: [-x], devices: [/q]}, {name: o, level: raid1, devices: [/q]}], \
         filesystems: [{device: /dev/md/md-root, format: btrfs}]}",
    );
    let storage = &got["storage"];
    let disks = storage["disks"].as_array().unwrap();
    assert_eq!(disks.iter().map(|disk| &disk["device"]).collect::<Vec<_>>(), ["/a", "/b", "/c"]);
    assert_eq!(disks[1]["wipeTable"], json!(false));
    let partitions = disks[1]["partitions"].as_array().unwrap();
    assert_eq!(partitions[3..], [json!({"label": "root-2", "sizeMiB": 9}), json!({"label": "var-2"})]);
    let raid = &storage["raid"];
    assert_eq!(raid[1]["devices"], json!(["/dev/disk/by-partlabel/root-1", "/dev/disk/by-partlabel/root-2", "/q"]));
    assert_eq!((&raid[1]["options"], &raid[2]["name"]), (&json!(["-x"]), &json!("o")));
    let root = storage["filesystems"].as_array().unwrap().last().unwrap();
    assert_eq!((&root["format"], &root["label"]), (&json!("btrfs"), &json!("root")));

    // A level that is not optional, as before 1.4.0, is empty where the config has the array.
    let array = "boot_device: {mirror: {devices: [/a, /b]}}\nstorage: {raid: [{name: md-root, options: [-x]}]}";
    let problem = served("fcos", "1.3.0", array).unwrap_err();
    assert_eq!(problem, "storage.raid[0].level: missing");
}

#[test]
fn grub_appends_to_a_file_of_the_boot_partition() {
    let users = "grub: {users: [{name: root, password_hash: grub.pbkdf2.sha512.10000.AA}]}\n";
    let menu = "data:,%23%20Generated%20by%20Butane%0A%0Aset%20superusers%3D%22root%22%0A\
        password_pbkdf2%20root%20grub.pbkdf2.sha512.10000.AA%0A";
    let generated = json!({"compression": "", "source": menu, "verification": {}});
    let got = fcos("1.5.0", users);
    assert_eq!(got["storage"]["files"][0]["append"], json!([generated]));
    let boot = json!([{"device": "/dev/disk/by-label/boot", "format": "ext4", "path": "/boot"}]);
    assert_eq!(got["storage"]["filesystems"], boot);
    let more =
        "storage: {files: [{path: /b}, {path: /boot/grub2/user.cfg, append: [{source: 'data:,z'}], mode: 0600}]}";
    let file = &fcos("1.5.0", &format!("{users}{more}"))["storage"]["files"][0];
    assert_eq!(file["append"], json!([generated, {"source": "data:,z", "verification": {}}]));
    assert_eq!(file["mode"], 384);
    let two = "grub: {users: [{name: a, password_hash: x}, {name: b, password_hash: y}]}";
    let menu = "data:;base64,IyBHZW5lcmF0ZWQgYnkgQnV0YW5lCgpzZXQgc3VwZXJ1c2Vycz0iYSBiIgpwYXNzd29yZF9wYmtkZjIgYSB4CnBhc3N3b3JkX3Bia2RmMiBiIHkK";
    assert_eq!(fcos("1.5.0", two)["storage"]["files"][0]["append"][0]["source"], menu);
    let directory = "storage: {directories: [{path: /boot/grub2/user.cfg}]}";
    assert!(fcos("1.5.0", &format!("{users}{directory}"))["storage"].get("files").is_none());
}

#[test]
fn newer_specs_are_written_without_what_is_absent() {
    let body = "storage: {files: [{path: /a, mode: 0644, contents: {inline: '<x>'}, user: {}}], trees: [], \
        filesystems: [{device: /d, with_mount_unit: false}]}\nsystemd: {units: []}\npasswd: ~";
    let text = format!("variant: fcos\nversion: 1.6.0\n{body}");
    let want = r#"{"ignition":{"version":"3.5.0"},"storage":{"files":[{"path":"/a","contents":{"compression":"","source":"data:,%3Cx%3E"},"mode":420}],"filesystems":[{"device":"/d"}]}}"#;
    assert_eq!(String::from_utf8(translate(text.as_bytes()).unwrap()).unwrap(), want);
    let pin = "storage: {luks: [{name: a, device: /a, clevis: {custom: {pin: mine, config: '{}'}}}]}";
    assert!(served("fcos", "1.7.0", pin).is_ok() && served("fcos", "1.6.0", pin).is_err());
}

#[test]
fn random_yaml_never_panics() {
    use proptest::prelude::*;
    let words = prop::sample::select(vec![
        "variant: fcos",
        "version: 1.6.0",
        "storage:",
        "  filesystems:",
        "  files: [{path: /a}]",
        "  - device: /d",
        "    with_mount_unit: true",
        "    format: swap",
        "    path: /é",
        "boot_device: {mirror: {devices: [/a, /b]}}",
        "grub: &g {users: [{name: a, password_hash: b}]}",
        "<<: *g",
        "- |\n  a",
        "x: \"a\nb'",
        "'",
        "[",
        "}",
        "? !!int 5",
        "luks:",
    ]);
    let text = prop::collection::vec((words, prop_oneof![Just("\n"), Just(" "), Just("")]), 0..12)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, gap)| [word, gap]).collect::<String>());
    proptest!(|(text in text)| {
        let _ = translate(text.as_bytes());
        let _ = translate(format!("variant: fcos\nversion: 1.7.0\n{text}").as_bytes());
    });
}
