//! Directories in, findings out.

use raft::state::Template;

use super::super::matchbox::{OtherId, Problem};
use super::*;

fn group(id: &str, profile: &str, selector: &[(&str, &str)]) -> Group {
    let selector = selector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Group { id: id.into(), profile: profile.into(), selector, ..Group::default() }
}

fn booting(id: &str, kernel: &str, args: &[&str]) -> Profile {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let boot = NetBoot { kernel: kernel.into(), initrd: Vec::new(), args };
    Profile { id: id.into(), boot: Some(boot), ..Profile::default() }
}

fn template(kind: TemplateKind, name: &str, content: &str) -> Template {
    Template { kind, name: name.into(), content: content.into() }
}

/// What is found beside what is said to everybody.
fn found(import: &Import) -> Vec<String> {
    let report = check(import, Path::new("/m"));
    let own = report.findings.iter().filter(|finding| !finding.object.is_empty());
    own.map(|Finding { verdict, object, field, message, hint }| {
        format!("{verdict:?} {object} {field}: {message}; {hint}")
    })
    .collect()
}

fn check_one(import: &Import, want: &[&str]) {
    let found = found(import);
    assert_eq!(found.len(), want.len(), "{found:#?}");
    for (found, want) in found.iter().zip(want) {
        let (start, rest) = want.split_once(" … ").unwrap_or((want, ""));
        assert!(found.starts_with(start) && found.contains(rest), "{found}\nwanted {want}");
    }
}

#[test]
fn a_directory_that_means_the_same_here_gives_nothing_to_do() {
    let import = Import {
        profiles: vec![Profile { generic_id: "g".into(), ..booting("p", "/assets/k", &["a"]) }],
        groups: vec![group("a", "p", &[("mac", "52:54:00:12:34:56")]), group("b", "./p", &[])],
        templates: vec![template(TemplateKind::Generic, "g", "{{.a}}")],
        assets: vec![("k".into(), "/m/assets/k".into())],
        ..Import::default()
    };
    check_one(&import, &[]);
    let report = check(&import, Path::new("/m"));
    assert_eq!(report.count(Verdict::LeftOut) + report.count(Verdict::Differs), 0);
    assert_eq!(report.count(Verdict::LookAt), 2, "what is said to everybody");
    assert_eq!(report.objects["groups"], 2);
}

#[test]
fn files_that_matchbox_uses_count_and_others_are_pointed_at() {
    let problem = |path: &str, used| Problem { path: path.into(), reason: "r".into(), hint: "h".into(), used };
    let import = Import {
        problems: vec![problem("/m/profiles/lines.json", true), problem("/m/groups/notes.txt", false)],
        groups: vec![group("g", "lines", &[])],
        ..Import::default()
    };
    check_one(
        &import,
        &[
            "LeftOut profiles/lines.json : r; h",
            "Differs group/g profile: its profile `lines` would be left out",
            "LookAt groups/notes.txt : used neither there nor here: r; h",
        ],
    );
}

#[test]
fn groups_that_only_chance_tells_apart_are_named() {
    let import = Import {
        profiles: vec![Profile { id: "p".into(), ..Profile::default() }],
        groups: vec![
            group("n2", "p", &[("mac", "52-54-00-12-34-56")]),
            group("n1", "p", &[("mac", "52:54:00:12:34:56")]),
            group("n3", "p", &[("mac", "52:54:00:12:34:57")]),
        ],
        ..Import::default()
    };
    check_one(&import, &["Differs group/n1 selector: its selector equals that of group/n2: which one wins is chance"]);
}

#[test]
fn names_that_lead_nowhere_or_out_of_their_folder_are_named() {
    let import = Import {
        profiles: vec![Profile {
            ignition_id: "../generic/g".into(),
            cloud_id: "gone".into(),
            ..booting("cp", "/assets/gone", &[])
        }],
        groups: vec![group("a", "talos-cp", &[("a", "1")]), group("b", "../x", &[("b", "1")]), group("c", "", &[])],
        templates: vec![template(TemplateKind::Generic, "g", "")],
        other_ids: vec![OtherId { folder: "profiles", name: "cp".into(), id: "talos-cp".into() }],
        ..Import::default()
    };
    check_one(
        &import,
        &[
            "Differs group/b profile: `../x.json` climbs out of its folder: matchbox reads x.json, here it is profiles/x.json",
            "Differs profile/cp ignition_id: `../generic/g` climbs out of its folder: matchbox reads generic/g",
            "LookAt group/a profile: there is no profile `talos-cp`, there as here; profiles/cp.json calls itself so",
            "LookAt group/c profile: it names no profile",
            "LookAt profile/cp boot.kernel: there is no asset `gone`",
            "LookAt profile/cp cloud_id: there is no cloud template `gone`",
            "LookAt profiles/cp.json id: it calls itself `talos-cp`",
            "LookAt template/generic/g name: no profile names it",
        ],
    );
}

#[test]
fn written_out_addresses_are_gathered() {
    let here = "talos.config=http://10.0.20.5:8080/assets/cp.yaml";
    let import = Import {
        profiles: vec![booting("p", "", &["quiet", here, "url=${base_url}/assets/x"])],
        groups: vec![Group { metadata: r#"{"url":"http://10.0.20.5:8080/generic"}"#.into(), ..group("g", "p", &[]) }],
        ..Import::default()
    };
    check_one(
        &import,
        &[
            "Differs profile/p boot.args[2]: `${base_url}` becomes the service's own address here",
            "LookAt group/g metadata: it names http://10.0.20.5:8080 (/generic)",
            "LookAt profile/p boot.args[1]: it names http://10.0.20.5:8080 (/assets/cp.yaml); … leads to the VIP",
        ],
    );
    assert_eq!(check(&import, Path::new("/m")).addresses, BTreeMap::from([("http://10.0.20.5:8080".into(), 2)]));
}

#[test]
fn templates_that_matchbox_served_otherwise_are_told() {
    use TemplateKind::{Cloud, Generic, Ignition};
    for (kind, name, content, want) in [
        (Ignition, "a.ign", r#"{"ignition":{"version":"3.3.0"}}"#, ""),
        (Ignition, "a.ign", r#"{"Ignition":{"Version":"3.5.0"}}"#, "Differs … Ignition 3.5.0 is served here"),
        (Ignition, "a.ignition", r#"{"ignition":{"version":"2.2.0"}}"#, "Differs … Ignition 2.2.0 is served here"),
        (Ignition, "a.ign", "{", "Differs … matchbox answers an empty config (200)"),
        (Ignition, "a.ign", r#"{"ignition":{"version":"3.3.0"},"storrage":{}}"#, "LookAt … storrage"),
        (Ignition, "a.yaml", "variant: fcos\nversion: 1.5.0\n", ""),
        (
            Ignition,
            "a.yaml",
            "variant: fcos\nversion: 1.5.0\nstorage: {fils: []}\n",
            "LookAt … storage.fils: unknown field (line 3); they are left out",
        ),
        (
            Ignition,
            "a.yaml",
            "variant: fcos\nversion: 1.5.0\nstorage: {files: [{path: a}]}\n",
            "LookAt … there most likely too",
        ),
        (Ignition, "a.yaml", "variant: {{if}}\n", "LookAt … there most likely too"),
        (
            Ignition,
            "a.yaml",
            "variant: fcos\nversion: 1.5.0\nstorage: {files: [{path: /a, contents: {local: a}}]}\n",
            "Differs … here machines get 404, because storage.files[0].contents.local",
        ),
        (
            Ignition,
            "a.yaml",
            "variant: fcos\nversion: 1.5.0\nstorage: {trees: [{local: a}]}\n",
            "Differs … storage.trees[0]",
        ),
        (Ignition, "a.yaml", "variant: openshift\nversion: 4.14.0\n", "Differs … variant: `openshift`"),
        (Ignition, "a.yaml", "variant: fcos\nversion: 1.5.0\n", ""),
        (Ignition, "a.yaml", "variant: fcos\nversion: 1.6.0\n", "Differs … Ignition 3.5.0 is served here"),
        (Ignition, "a.yaml", "variant: fcos\nversion: {{.version}}\n", ""),
        (Generic, "a", "{{if}}", "LookAt … it cannot be rendered"),
        (Generic, "a", "#!ipxe\necho {{.request.query.serial}}\n", "LookAt … a script that uses what the request says"),
        (Generic, "a", "name: {{.request.query.serial}}\n", ""),
        (Cloud, "a", "#!/bin/sh\ncurl http://10.0.0.1/metadata\n", "LookAt … it names http://10.0.0.1"),
        (Cloud, "a", "#!/bin/sh\ncurl ${base_url}\n", "Differs … `${base_url}` becomes"),
    ] {
        let named = |wanted: TemplateKind| if wanted == kind { name.to_owned() } else { String::new() };
        let profile = Profile {
            id: "p".into(),
            generic_id: named(Generic),
            ignition_id: named(Ignition),
            cloud_id: named(Cloud),
            boot: None,
            name: String::new(),
        };
        let import =
            Import { profiles: vec![profile], templates: vec![template(kind, name, content)], ..Import::default() };
        let told = found(&import);
        let (verdict, text) = want.split_once(" … ").unwrap_or(("", ""));
        assert_eq!(told.len(), usize::from(!want.is_empty()), "{content}: {told:?}");
        assert!(told.iter().all(|told| told.starts_with(verdict) && told.contains(text)), "{content}: {told:?}");
    }
}

#[test]
fn numbers_that_matchbox_prints_otherwise_are_told() {
    let check = |metadata: &str, want: &str| {
        let group = Group { metadata: metadata.into(), ..group("g", "p", &[]) };
        let profiles = vec![Profile { id: "p".into(), ..Profile::default() }];
        let told = found(&Import { profiles, groups: vec![group], ..Import::default() });
        assert_eq!(told.len(), usize::from(!want.is_empty()), "{metadata}: {told:?}");
        let start = "Differs group/g metadata: matchbox prints whole numbers otherwise: ";
        assert!(told.iter().all(|told| told.starts_with(start) && told.contains(want)), "{metadata}: {told:?}");
        assert!(told.iter().all(|told| told.contains("script_style=matchbox")), "{told:?}");
    };
    check("", "");
    check(r#"{"a":999999,"b":-5,"c":0,"d":1.0,"e":2.5,"f":1e30,"g":"1000000","h":12345678901234567890123}"#, "");
    check(r#"{"net":{"mtu":1000000}}"#, "otherwise: net.mtu is 1e+06 there, 1000000 here;");
    check(r#"{"a":[1,-12345678]}"#, "otherwise: a[1] is -1.2345678e+07 there, -12345678 here;");
    check(r#"{"a":9007199254740993,"b":18446744073709551615}"#, "b is 1.8446744073709552e+19 there");
    let many: Vec<String> = (0..9).map(|at| format!("\"n{at}\":{}", 1_000_000 + at)).collect();
    check(&format!("{{{}}}", many.join(",")), " and 4 more;");
}
