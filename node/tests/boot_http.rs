//! Boot HTTP over real sockets: robust scripts, hostile requests, large and damaged assets, limits, the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

#[path = "boot_http/rig.rs"]
mod rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use raft::command::Edit;
use raft::state::{Alternative, Group, MachinePolicy, ScriptStyle, Settings, Test};
use raftboot::boot::Whereabouts;
use rig::{Rig, asset, group, node, profile, template};

const MAC: &str = "52:54:00:12:34:56";

fn settings(script_style: ScriptStyle) -> Edit {
    Edit::PutSettings(Settings { script_style, ..Settings::default() })
}

#[test]
fn a_known_machine_gets_a_script_that_names_this_node() {
    let rig = Rig::new(vec![
        profile("p", "/assets/vmlinuz", &["/assets/initrd.img"], &["url=${base_url}/generic?mac=${mac:hexhyp}"]),
        group("g", "p", &[("mac", MAC)], ""),
    ]);
    let answer = rig.get("/ipxe?mac=52-54-00-12-34-56&uuid=ABC&serial=S1&arch=x86_64");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    let want = format!(
        "kernel --timeout 10000 /assets/vmlinuz url=http://{}/generic?mac=${{mac:hexhyp}} initrd=initrd.img ||",
        rig.address
    );
    assert!(answer.text().contains(&want), "{}", answer.text());
    assert_eq!(rig.seen(), [format!("{MAC} abc S1 x86_64 127.0.0.1 Script {{ group: \"g\", profile: \"p\" }}")]);
}

#[test]
fn an_operator_who_looks_gets_the_same_answers_and_is_not_recorded() {
    let rig = Rig::new(vec![
        profile("p", "/assets/vmlinuz", &[], &[]),
        group("g", "p", &[("mac", MAC)], ""),
        template("generic", "c", "config"),
        asset("vmlinuz", b"kernel"),
    ]);
    rig.store(b"kernel");
    let mac = "mac=52-54-00-12-34-56";
    let paths = ["/ipxe", "/grub", "/generic", "/metadata", "/ignition", "/assets/vmlinuz", "/loaders/ipxe.efi"];
    let targets: Vec<String> = paths.iter().map(|path| format!("{path}?{mac}")).chain(["/ipxe".into()]).collect();
    let looked = targets.iter().map(|target| rig.get_with(target, "raftboot-preview: 1\r\n"));
    let looked: Vec<(u16, String)> = looked.map(|answer| (answer.status, answer.text())).collect();
    assert_eq!(rig.seen(), [] as [String; 0]);
    let asked = targets.iter().map(|target| rig.get(target)).map(|answer| (answer.status, answer.text()));
    assert_eq!(looked, asked.collect::<Vec<_>>());
    assert_eq!(rig.seen().len(), targets.len());
}

/// A group with one alternative, which asks one thing of one label.
fn ruled(id: &str, label: &str, test: Test) -> Edit {
    let rules = vec![Alternative::from([(label.to_owned(), vec![test])])];
    Edit::put_group(Group { id: id.into(), profile: id.into(), rules, ..Group::default() })
}

#[test]
fn a_machine_is_chosen_by_where_it_asks_from_and_cannot_say_otherwise() {
    let rig = Rig::new(vec![
        profile("here", "/here", &[], &[]),
        profile("there", "/there", &[], &[]),
        ruled("here", "address", Test::Subnet(vec!["127.0.0.0/8".into()])),
        ruled("there", "address", Test::In(vec!["192.0.2.7".into()])),
    ]);
    for query in ["mac=52-54-00-12-34-56", "address=192.0.2.7"] {
        let answer = rig.get(&format!("/ipxe?{query}")).text();
        assert!(answer.contains(" /here "), "{query}: {answer}");
    }
    // What templates and `/metadata` see is what the machine says, and no more.
    assert_eq!(rig.get("/metadata?a=b").text(), "REQUEST_QUERY_A=b\nREQUEST_RAW_QUERY=a=b\n");
}

#[test]
fn a_machine_is_chosen_by_what_robust_scripts_make_it_say() {
    let rig = Rig::new(vec![
        profile("dell", "/dell", &[], &[]),
        ruled("dell", "manufacturer", Test::Glob(vec!["Dell *".into()])),
    ]);
    let robust = rig.get("/boot.ipxe").text();
    for label in ["manufacturer", "product", "asset"] {
        assert!(robust.contains(&format!("&{label}=${{{label}:uristring}}")), "{robust}");
    }
    assert!(rig.get("/ipxe?manufacturer=Dell%20Inc.").text().contains(" /dell "));
    assert!(rig.get("/ipxe?manufacturer=HPE").text().contains("no group matches"));
    rig.apply(vec![settings(ScriptStyle::Matchbox)]);
    assert!(!rig.get("/boot.ipxe").text().contains("manufacturer"));
}

#[test]
fn the_host_header_never_reaches_an_answer() {
    let rig = Rig::new(vec![
        profile("p", "/k", &[], &["url=${base_url}/x"]),
        group("g", "p", &[], ""),
        template("generic", "c", "${base_url}"),
    ]);
    for path in ["/ipxe", "/grub", "/autoexec.ipxe", "/loaders/autoexec.ipxe", "/boot.ipxe"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: evil.test\r\n\r\n");
        let answer = rig.raw(request.as_bytes());
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("evil"), "{path}: {}", answer.text());
        let names_node = answer.text().contains(&format!("http://{}", rig.address));
        assert_eq!(names_node, path != "/boot.ipxe", "{path}: {}", answer.text());
    }
}

#[test]
fn in_a_cluster_scripts_name_every_node_and_what_is_used_late_the_floating_address() {
    let rig = Rig::new(vec![
        profile("p", "/assets/k", &["${base_url}/assets/i"], &["url=${base_url}/generic"]),
        group("g", "p", &[], ""),
        template("generic", "c", "from ${base_url}"),
        node("one", "http://192.0.2.1:8080"),
        node("two", "http://192.0.2.2:8080"),
    ]);
    let own = format!("http://{}", rig.address);
    let (floating, none) = ("http://192.0.2.10:8080", Whereabouts { node: 1, ..Whereabouts::default() });
    let known = Whereabouts { node: 1, floating: Some(floating.into()), holder_known: true };
    for (place, late) in [
        (none.clone(), &*own),
        (Whereabouts { holder_known: false, ..known.clone() }, &*own),
        (known.clone(), floating),
    ] {
        rig.place(place.clone());
        let script = rig.get("/ipxe?mac=52-54-00-12-34-56").text();
        let nodes =
            [Some("http://192.0.2.1:8080"), Some("http://192.0.2.2:8080"), place.floating.as_deref(), Some(&own)];
        for node in nodes.into_iter().flatten() {
            assert!(
                script.lines().any(|line| line.starts_with("set node") && line.ends_with(node)),
                "{node}: {script}"
            );
        }
        assert!(script.contains("\nkernel --timeout 10000 ${node${at}}/assets/k "), "{script}");
        assert!(script.contains("\ninitrd --timeout 10000 ${node${at}}/assets/i "), "{script}");
        assert!(script.contains(&format!(" url={late}/generic ")), "{script}");
        assert_eq!(rig.get("/generic").text(), format!("from {late}"));
        for path in ["/boot.ipxe", "/autoexec.ipxe", "/loaders/autoexec.ipxe"] {
            let script = rig.get(path).text();
            assert!(script.contains(&format!("set node0 {own}\n")), "first where it was answered: {script}");
            assert!(script.contains(" http://192.0.2.2:8080\n"), "{script}");
        }
    }
    rig.apply(vec![settings(ScriptStyle::Matchbox)]);
    let script = rig.get("/ipxe?mac=52-54-00-12-34-56").text();
    assert_eq!(script, "#!ipxe\nkernel /assets/k url=${base_url}/generic\ninitrd ${base_url}/assets/i\nboot\n");
}

#[test]
fn an_unknown_machine_goes_on_to_its_next_boot_device() {
    let rig = Rig::new(vec![profile("p", "/k", &[], &[]), group("g", "p", &[("mac", MAC)], "")]);
    let answer = rig.get("/ipxe?mac=52-54-00-00-00-01");
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with("exit 1\n") && !answer.text().contains("kernel"), "{}", answer.text());
    rig.apply(vec![settings(ScriptStyle::Matchbox)]);
    assert_eq!(rig.get("/ipxe?mac=52-54-00-00-00-01").status, 404, "matchbox style is matchbox's answer");
}

#[test]
fn a_held_machine_is_told_so_by_any_of_its_names() {
    let rig = Rig::new(vec![
        profile("p", "/k", &[], &[]),
        group("g", "p", &[], ""),
        Edit::SetMachinePolicy(MAC.parse().unwrap(), MachinePolicy { hold: true, ..MachinePolicy::default() }.into()),
    ]);
    for style in [ScriptStyle::Robust, ScriptStyle::Matchbox] {
        rig.apply(vec![settings(style)]);
        let held = rig.get("/ipxe?mac=52-54-00-12-34-56");
        assert!(held.text().contains("holds this machine") && !held.text().contains("kernel"), "{}", held.text());
        assert_eq!(rig.get("/grub?mac=52:54:00:12:34:56").status, 404);
        assert!(rig.get("/ipxe?mac=52-54-00-00-00-02").text().contains("\nkernel "));
    }
}

#[test]
fn request_values_never_become_commands() {
    let rig = Rig::new(vec![
        Edit::PutProfile(raft::state::Profile {
            id: "p".into(),
            boot: Some(raft::state::NetBoot { kernel: "/k".into(), ..Default::default() }),
            generic_id: "script".into(),
            cloud_id: "cloud".into(),
            ..Default::default()
        }),
        group("g", "p", &[], ""),
        template("generic", "script", "#!ipxe\necho {{.request.query.serial}}\nboot\n"),
        template("cloud", "cloud", "#!/bin/sh\necho '{{.request.raw_query}}'\n"),
    ]);
    let tricks = [
        "a%0Achain%20http://evil/",
        "||%20chain%20http://evil",
        "a%20%26%26%20boot",
        "a%20%23",
        "a%5C",
        "a%0d%0aX:%20y",
        "%22%20||%20shell",
        "$%7Bx%7D",
        "a%00b",
        "%E2%80%A8",
        "%2525",
        "'%3Bid",
    ];
    for style in [ScriptStyle::Robust, ScriptStyle::Matchbox] {
        rig.apply(vec![settings(style)]);
        let (clean, grub) = (rig.get("/ipxe?mac=1").body, rig.get("/grub?mac=1").body);
        for trick in tricks {
            for key in ["mac", "uuid", "serial", "hostname", "domain", "arch", "x%0Aboot"] {
                assert_eq!(rig.get(&format!("/ipxe?{key}={trick}")).body, clean, "{key}={trick}");
                assert_eq!(rig.get(&format!("/grub?{key}={trick}")).body, grub, "{key}={trick}");
            }
            let rendered = rig.get(&format!("/generic?serial={trick}"));
            let harmless = ["%E2%80%A8", "%2525"].contains(&trick);
            assert_eq!(rendered.status, if harmless { 200 } else { 404 }, "{trick}: {}", rendered.text());
            let aside = rig.get(&format!("/generic?serial=a&hostname={trick}"));
            assert_eq!(aside.text(), "#!ipxe\necho a\nboot\n", "{trick} is not used");
            assert!(rendered.header("x").is_none());
            assert_eq!(rig.get(&format!("/cloud?serial={trick}")).text().lines().count(), 2, "{trick}");
        }
    }
    assert_eq!(rig.get("/generic?serial=a%0Aboot").status, 404);
    assert_eq!(rig.get("/generic?serial=VMware-56%204d").text(), "#!ipxe\necho VMware-56 4d\nboot\n");
}

#[test]
fn a_line_break_never_enters_a_shell_script() {
    let rig = Rig::new(vec![
        Edit::PutProfile(raft::state::Profile { id: "p".into(), cloud_id: "s".into(), ..Default::default() }),
        group("g", "p", &[], ""),
        template("cloud", "s", "#!/bin/sh\necho '{{.request.query.name}}'\n"),
    ]);
    assert_eq!(rig.get("/cloud?name=a%0Aid").status, 404);
    assert_eq!(rig.get("/cloud?name=a%20||%20b").text(), "#!/bin/sh\necho 'a || b'\n", "quoting is the template's");
    assert_eq!(rig.get("/cloud?name=a&other=a%0Aid").status, 200);
}

#[test]
fn a_machine_whose_profile_boots_nothing_goes_on_and_one_whose_profile_is_missing_asks_again() {
    let rig = Rig::new(vec![
        Edit::PutProfile(raft::state::Profile { id: "configs".into(), ..Default::default() }),
        group("g", "configs", &[], ""),
        group("h", "missing", &[("mac", MAC)], ""),
    ]);
    let answer = rig.get("/ipxe?mac=52-54-00-00-00-01");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(
        text.contains("nothing to boot is configured for profile configs;") && text.ends_with("\nexit 1\n"),
        "{text}"
    );
    assert_eq!(rig.seen(), ["52:54:00:00:00:01    127.0.0.1 Refused { reason: \"profile `configs` has no `boot`\" }"]);
    assert_eq!(rig.get("/ipxe?mac=52-54-00-12-34-56").status, 404);
    rig.apply(vec![settings(ScriptStyle::Matchbox)]);
    assert_eq!(rig.get("/ipxe?mac=52-54-00-00-00-01").status, 404, "matchbox style is matchbox's answer");
}

#[test]
fn a_config_that_fails_is_a_404_and_the_next_request_is_served() {
    let rig = Rig::new(vec![
        Edit::PutProfile(raft::state::Profile {
            id: "p".into(),
            generic_id: "g".into(),
            ignition_id: "b.yaml".into(),
            ..Default::default()
        }),
        group("g", "p", &[], ""),
        template("generic", "g", "{{.missing}}"),
        template("ignition", "b.yaml", "variant: fcos\nversion: 99.0.0\n"),
    ]);
    for path in ["/generic", "/ignition", "/cloud", "/grub"] {
        let answer = rig.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (404, "404 page not found\n"), "{path}");
    }
    let seen = rig.seen();
    for (at, template) in ["generic template `g`: ", "ignition template `b.yaml`: "].into_iter().enumerate() {
        let want = format!("    127.0.0.1 Refused {{ reason: \"{template}");
        assert!(seen[at].starts_with(&want), "{seen:?}");
    }
    rig.apply(vec![template("generic", "g", "hostname: {{.request.query.h}} at ${base_url}\n")]);
    let want = format!("hostname: n1 at http://{}\n", rig.address);
    assert_eq!(rig.get("/generic?h=n1").text(), want, "the new revision is parsed, not the old one kept");
}

#[test]
fn large_assets_arrive_whole_in_ranges_and_by_digest() {
    let content: Vec<u8> = (0..3_000_001_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let rig = Rig::new(vec![asset("os/vmlinuz", &content)]);
    rig.store(&content);
    let whole = rig.get("/assets/os/vmlinuz");
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("3000001")));
    assert!(whole.body == content && whole.header("accept-ranges") == Some("bytes"));
    let etag = whole.header("etag").unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", raft::types::Digest::of(&content)));
    let (date, path) = (whole.header("last-modified").unwrap().to_owned(), "/assets/os/vmlinuz");
    let tail =
        rig.get_with(path, &format!("Range: bytes=1000000-\r\nIf-Match: {etag}\r\nIf-Unmodified-Since: {date}\r\n"));
    assert_eq!((tail.status, tail.header("content-range")), (206, Some("bytes 1000000-3000000/3000001")));
    assert!(tail.body == content[1_000_000..]);
    let parts = rig.get_with(path, "Range: bytes=0-9,2999990-\r\n");
    assert_eq!(parts.status, 206);
    assert!(parts.header("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    assert!(parts.body.windows(10).any(|window| window == &content[..10]));
    assert!(parts.body.windows(11).any(|window| window == &content[2_999_990..]));
    assert_eq!(rig.get_with(path, &format!("If-None-Match: {etag}\r\n")).status, 304);
    let head = rig.raw(b"HEAD /assets/os/vmlinuz HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("3000001"), 0));
}

#[test]
fn an_asset_that_cannot_be_served_whole_is_not_served_at_all() {
    let rig = Rig::new(vec![asset("missing", b"missing"), asset("cut", &[7; 300_000])]);
    rig.store_as(&[7; 300_000], &[7; 299_999]);
    for name in ["missing", "cut"] {
        let answer = rig.get(&format!("/assets/{name}"));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")), "{name}");
        let seen = rig.seen();
        let want = [
            format!("    127.0.0.1 Asset(\"{name}\")"),
            format!("    127.0.0.1 Refused {{ reason: \"asset `{name}` cannot be served right now\" }}"),
        ];
        assert_eq!(seen[seen.len() - 2..], want);
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let content = vec![9; 64 * 1024 * 1024];
    let rig = Rig::new(vec![asset("big", &content)]);
    let path = rig.store(&content);
    let mut stream = TcpStream::connect(rig.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /assets/big HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut start = [0; 4096];
    stream.read_exact(&mut start).unwrap();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1024).unwrap();
    let mut rest = Vec::new();
    // An error or an early end; never the full length.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() + start.len() < content.len(), "{} bytes came", rest.len());
}

#[test]
fn boot_loaders_are_served_to_firmware_that_boots_over_http() {
    let rig = Rig::new(vec![]);
    let head = rig.raw(b"HEAD /loaders/ipxe.efi HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    let whole = rig.get("/loaders/ipxe.efi");
    assert_eq!((whole.text().as_str(), whole.header("content-type")), ("loader-efi", Some("application/octet-stream")));
    let rest = rig
        .get_with("/loaders/ipxe.efi", &format!("Range: bytes=7-\r\nIf-Match: {}\r\n", whole.header("etag").unwrap()));
    assert_eq!((rest.status, rest.text().as_str()), (206, "efi"));
    assert_eq!(rig.get("/loaders/none.efi").status, 404);
    assert_eq!(rig.get("/loaders/../etc/passwd").status, 301);
}

#[test]
fn nonsense_on_the_wire_costs_a_connection_and_nothing_else() {
    let rig = Rig::new(vec![profile("p", "/k", &[], &[]), group("g", "p", &[], "")]);
    let long_header = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(200_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5_000));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(100_000));
    let cases: [&[u8]; 9] = [
        b"\0\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_target.as_bytes(),
    ];
    for case in cases {
        let mut stream = TcpStream::connect(rig.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(case);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned);
        assert!(status.is_none_or(|status| status.starts_with('4')), "{:?}", String::from_utf8_lossy(&answer));
        assert_eq!(rig.get("/ipxe").status, 200, "still serving");
    }
}

#[test]
fn bodies_are_ignored_up_to_a_bound() {
    let rig = Rig::new(vec![]);
    let mut stream = TcpStream::connect(rig.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = [&b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"[..], &[b'x'; 100_000]].concat();
    for _ in 0..2 {
        stream.write_all(&request).unwrap();
        let answer = rig::read_answer(&mut stream, false);
        assert_eq!((answer.status, answer.text().as_str()), (200, "matchbox\n"), "the connection goes on");
    }
    let endless = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(endless).unwrap();
    let chunk = [&b"10000\r\n"[..], &[b'x'; 65_536], b"\r\n"].concat();
    let sent = (0..1_000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 1_000, "the server hangs up instead of reading for ever");
}

#[test]
fn a_client_that_dawdles_over_its_request_is_dropped() {
    let rig = Rig::new(vec![]);
    let mut stream = TcpStream::connect(rig.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let began = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(40), "dropped after {:?}", began.elapsed());
}

#[test]
fn one_client_cannot_take_all_connections() {
    let rig = Rig::new(vec![]);
    let mut open: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(rig.address).unwrap()).collect();
    let refused = open.iter_mut().rev().take(30).filter(|stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        !matches!((&mut &**stream).read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert_eq!(refused.take(1).count(), 1, "the last of 100 connections is closed");
    drop(open);
    rig::until(|| rig.try_get("/").is_some_and(|answer| answer.status == 200));
}

#[test]
fn a_taken_port_is_named_with_a_way_out() {
    let rig = Rig::new(vec![]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(async { raftboot::boot::bind(rig.address) }).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&rig.address.to_string()) && text.contains("ss -ltnp"), "{text}");
}

#[test]
fn stopping_lets_answers_under_way_come_to_their_end() {
    let content = vec![5; 8 * 1024 * 1024];
    let mut rig = Rig::new(vec![asset("big", &content)]);
    rig.store(&content);
    let mut stream = TcpStream::connect(rig.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /assets/big HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut start = [0; 1024];
    stream.read_exact(&mut start).unwrap();
    rig.begin_to_stop();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() + start.len() > content.len(), "all of it came");
    rig.stopped();
}
