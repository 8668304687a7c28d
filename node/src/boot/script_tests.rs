//! Golden scripts, and what must never be in one.

use super::*;

fn profile(kernel: &str, initrd: &[&str], args: &[&str]) -> NetBoot {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    NetBoot { kernel: kernel.into(), initrd: owned(initrd), args: owned(args) }
}

fn lines<'a>(script: &'a str, word: &str) -> Vec<&'a str> {
    script.lines().filter(|line| line.split(' ').next() == Some(word)).collect()
}

#[test]
fn matchbox_style_is_matchbox_text_to_the_byte() {
    let boot_script = "#!ipxe\nchain ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain}&hostname=${hostname}\
                       &serial=${serial}&arch=${buildarch:uristring}\n";
    assert_eq!(boot(ScriptStyle::Matchbox, &[]), boot_script);
    let full = profile("/k", &["/i1", "--name main /i2"], &["a=b", "c"]);
    let text = ipxe(ScriptStyle::Matchbox, &full, Extras::default());
    assert_eq!(text, "#!ipxe\nkernel /k a=b c\ninitrd /i1\ninitrd --name main /i2\nboot\n");
    let empty = ipxe(ScriptStyle::Matchbox, &NetBoot::default(), Extras::default());
    assert_eq!(empty, "#!ipxe\nkernel \nboot\n");
}

#[test]
fn the_robust_script_tries_each_download_again_by_itself() {
    let full = profile("/assets/vmlinuz", &["/assets/a.img", "/assets/b.img"], &["quiet"]);
    let want = "#!ipxe
set pause:int32 1
set tries:int32 0
set asks:int32 0
set renew:int32 0
isset ${restarts} || set restarts:int32 0
:begin
imgfree
:step0
set step step0
kernel --timeout 10000 /assets/vmlinuz quiet initrd=a.img initrd=b.img || goto failed
:step1
set step step1
initrd --timeout 10000 /assets/a.img || goto failed
:step2
set step step2
initrd --timeout 10000 /assets/b.img || goto failed
set step begin
boot || goto failed
:failed
inc tries
iseq ${tries} 8 && goto restart ||
echo Raftboot: that failed; trying again in ${pause} s
sleep ${pause}
iseq ${pause} 32 || inc pause ${pause}
goto ${step}
:restart
inc restarts
iseq ${restarts} 8 && goto leave ||
:again
echo Raftboot: that keeps failing; asking again what to boot in 30 s
sleep 30
imgfree
chain --timeout 5000 --autofree --replace boot.ipxe ||
inc asks
iseq ${asks} 32 && goto leave ||
inc renew
iseq ${renew} 4 || goto again
set renew:int32 0
dhcp netX || dhcp ||
isset ${filename} && chain --timeout 5000 --autofree --replace ${filename} ||
goto again
:leave
set asks:int32 0
set restarts:int32 0
echo Raftboot: giving up on this network boot; going on to the next boot device
sleep 5
exit 1
";
    assert_eq!(ipxe(ScriptStyle::Robust, &full, Extras::default()), want);
}

fn three() -> [String; 3] {
    ["http://10.0.0.3:8080", "http://10.0.0.2:8080", "http://10.0.0.10:8080"].map(str::to_owned)
}

#[test]
fn with_several_nodes_a_download_goes_on_at_the_next_one() {
    let full = profile("/assets/vmlinuz", &["--name main ${base_url}/assets/a.img"], &["url=${base_url}/generic"]);
    let extras = Extras { base_url: "http://10.0.0.10:8080", nodes: &three(), ..Extras::default() };
    let want = "#!ipxe
set pause:int32 1
set tries:int32 0
set asks:int32 0
set renew:int32 0
isset ${restarts} || set restarts:int32 0
set node0 http://10.0.0.3:8080
set node1 http://10.0.0.2:8080
set node2 http://10.0.0.10:8080
set at:int32 0
:begin
imgfree
:step0
set step step0
kernel --timeout 10000 ${node${at}}/assets/vmlinuz url=http://10.0.0.10:8080/generic initrd=main || goto failed
:step1
set step step1
initrd --timeout 10000 --name main ${node${at}}/assets/a.img || goto failed
set step begin
boot || goto failed
:failed
inc at
iseq ${at} 3 || goto ${step}
set at:int32 0
inc tries
iseq ${tries} 8 && goto restart ||
echo Raftboot: that failed; trying again in ${pause} s
sleep ${pause}
iseq ${pause} 32 || inc pause ${pause}
goto ${step}
:restart
inc restarts
iseq ${restarts} 8 && goto leave ||
:again
echo Raftboot: that keeps failing; asking again what to boot in 30 s
sleep 30
imgfree
:ask
chain --timeout 5000 --autofree --replace ${node${at}}/boot.ipxe ||
inc at
iseq ${at} 3 || goto ask
set at:int32 0
inc asks
iseq ${asks} 32 && goto leave ||
inc renew
iseq ${renew} 4 || goto again
set renew:int32 0
dhcp netX || dhcp ||
isset ${filename} && chain --timeout 5000 --autofree --replace ${filename} ||
goto again
:leave
set asks:int32 0
set restarts:int32 0
echo Raftboot: giving up on this network boot; going on to the next boot device
sleep 5
exit 1
";
    let script = ipxe(ScriptStyle::Robust, &full, extras);
    assert_eq!(script, want);
    assert!(script.len() < 2048, "{} bytes", script.len());
}

#[test]
fn with_several_nodes_a_question_goes_on_at_the_next_one() {
    let want = "#!ipxe
set pause:int32 1
set renew:int32 0
isset ${asks} || set asks:int32 0
set node0 http://10.0.0.3:8080
set node1 http://10.0.0.2:8080
set node2 http://10.0.0.10:8080
set at:int32 0
:ask
chain --timeout 5000 --autofree --replace ${node${at}}/ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain:uristring}\
&hostname=${hostname:uristring}&serial=${serial:uristring}&arch=${buildarch:uristring}\
&manufacturer=${manufacturer:uristring}&product=${product:uristring}&asset=${asset:uristring} ||
inc at
iseq ${at} 3 || goto ask
set at:int32 0
inc asks
iseq ${asks} 32 && goto leave ||
echo Raftboot: no answer yet for ${mac} (${uuid}); asking again in ${pause} s
sleep ${pause}
iseq ${pause} 32 || inc pause ${pause}
inc renew
iseq ${renew} 4 || goto ask
set renew:int32 0
dhcp netX || dhcp ||
isset ${filename} && chain --timeout 5000 --autofree --replace ${filename} ||
goto ask
:leave
set asks:int32 0
set restarts:int32 0
echo Raftboot: giving up on this network boot; going on to the next boot device
sleep 5
exit 1
";
    assert_eq!(boot(ScriptStyle::Robust, &three()), want);
    assert_eq!(boot(ScriptStyle::Matchbox, &three()), boot(ScriptStyle::Matchbox, &[]));
}

#[test]
fn with_several_nodes_the_first_script_goes_on_at_the_next_one() {
    let want = "#!ipxe
set pause:int32 1
set asks:int32 0
set node0 http://10.0.0.3:8080
set node1 http://10.0.0.2:8080
set node2 http://10.0.0.10:8080
set at:int32 0
:ask
dhcp || goto failed
chain --timeout 5000 --autofree --replace ${node${at}}/boot.ipxe ||
:failed
inc at
iseq ${at} 3 || goto ask
set at:int32 0
inc asks
iseq ${asks} 32 && goto leave ||
echo Raftboot: no answer yet from http://10.0.0.3:8080; trying again in ${pause} s
sleep ${pause}
iseq ${pause} 32 || inc pause ${pause}
goto ask
:leave
set asks:int32 0
set restarts:int32 0
echo Raftboot: giving up on this network boot; going on to the next boot device
sleep 5
exit 1
";
    assert_eq!(autoexec("http://10.0.0.3:8080", &three()), want);
}

#[test]
fn addresses_written_out_and_times_written_out_stay_as_they_are() {
    for (line, want) in [
        ("http://mirror.test/k", "kernel --timeout 10000 http://mirror.test/k || goto failed"),
        ("--timeout 99 /k", "kernel --timeout 99 ${node${at}}/k || goto failed"),
        ("-t 99 http://mirror.test/k x", "kernel -t 99 http://mirror.test/k x || goto failed"),
        (
            "assets/k x=${base_url}",
            "kernel --timeout 10000 ${node${at}}/assets/k x=http://10.0.0.10:8080 || goto failed",
        ),
        ("${mirror}/assets/k", "kernel --timeout 10000 ${mirror}/assets/k || goto failed"),
        ("//mirror.test/k", "kernel --timeout 10000 //mirror.test/k || goto failed"),
    ] {
        let extras = Extras { base_url: "http://10.0.0.10:8080", nodes: &three(), ..Extras::default() };
        let script = ipxe(ScriptStyle::Robust, &profile(line, &[], &[]), extras);
        assert_eq!(lines(&script, "kernel"), [want]);
    }
}

#[test]
fn every_goto_has_its_label() {
    let full = profile("/k", &["/a", "/b"], &[]);
    let three = three();
    let scripts = [
        boot(ScriptStyle::Robust, &three),
        autoexec("http://192.0.2.1:8080", &three),
        ipxe(ScriptStyle::Robust, &full, Extras { nodes: &three, ..Extras::default() }),
        held(&three),
        boot(ScriptStyle::Robust, &[]),
        autoexec("http://192.0.2.1:8080", &[]),
        ipxe(ScriptStyle::Robust, &full, Extras::default()),
        held(&[]),
        unknown(),
        nothing_to_boot("p"),
    ];
    for script in scripts {
        assert!(
            script.ends_with("\nexit 1\n") && !script.contains("exit 0"),
            "a firmware's boot order goes on: {script}"
        );
        assert!(script.starts_with("#!ipxe\n") && script.ends_with('\n'), "{script}");
        let labels: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix(':')).collect();
        let steps = lines(&script, "set").into_iter().filter_map(|line| line.strip_prefix("set step "));
        let gotos = script.lines().filter_map(|line| line.split("goto ").nth(1)?.split(' ').next());
        for target in gotos.chain(steps).filter(|target| *target != "${step}") {
            assert!(labels.contains(&target), "no label {target} in\n{script}");
        }
    }
}

#[test]
fn a_held_machine_never_loads_a_kernel_and_asks_again() {
    assert!(
        lines(&held(&[]), "kernel").is_empty()
            && held(&[]).contains("\nchain --timeout 5000 --autofree --replace boot.ipxe ||\n")
    );
}

#[test]
fn an_unknown_machine_and_one_without_a_boot_ask_nothing_more() {
    for script in [unknown(), nothing_to_boot("p || shell\n${x}")] {
        let words: Vec<&str> = script.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(words, ["#!ipxe", "echo", "sleep", "exit"], "{script}");
    }
    assert!(nothing_to_boot("p || shell\n${x}").contains("for profile p????shell???x?;"));
}

/// What a script did that asked and was never answered.
#[derive(Default)]
struct Played {
    slept: u32,
    renewed: u32,
    /// The lines that would have fetched something, with their settings filled in.
    fetched: Vec<String>,
}

fn play_unanswered(script: &str) -> (u32, u32) {
    let played = play(script);
    (played.slept, played.renewed)
}

/// Fills in settings as iPXE does: the innermost first, the unknown ones with nothing.
fn fill_in(line: &str, values: &std::collections::HashMap<String, String>) -> String {
    let mut line = line.to_owned();
    while let Some(end) = line.find('}') {
        let start = line[..end].rfind("${").expect("a brace that belongs to a setting");
        let value = values.get(&line[start + 2..end]).cloned().unwrap_or_default();
        line.replace_range(start..=end, &value);
    }
    line
}

/// Plays a script whose downloads all fail, until it gives up.
fn play(script: &str) -> Played {
    let lines: Vec<&str> = script.lines().collect();
    let mut values = std::collections::HashMap::<String, String>::new();
    let (mut at, mut played) = (0, Played::default());
    let number = |text: &str| text.parse::<u32>().expect("a number");
    for _ in 0..10_000 {
        let line = if lines[at].starts_with("isset") { lines[at].to_owned() } else { fill_in(lines[at], &values) };
        at += 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        let jump = |to: &str| lines.iter().position(|line| *line == format!(":{to}")).expect("a label");
        if matches!(words[0], "chain" | "kernel" | "initrd") {
            played.fetched.push(line.clone());
        }
        match words[..] {
            ["isset", known, "||", "set", name, value] => {
                let known = known.trim_start_matches("${").trim_end_matches('}');
                if !values.contains_key(known) {
                    values.insert(name.trim_end_matches(":int32").into(), value.into());
                }
            }
            ["set", name, value] => drop(values.insert(name.trim_end_matches(":int32").into(), value.into())),
            ["inc", name] => drop(values.insert(name.into(), (number(&values[name]) + 1).to_string())),
            ["iseq", one, two, "&&", "goto", to, "||"] if one == two => at = jump(to),
            ["iseq", one, two, "||", "goto", to] if one != two => at = jump(to),
            ["iseq", one, two, "||", "inc", name, by] if one != two => {
                values.insert(name.into(), (number(&values[name]) + number(by)).to_string());
            }
            ["sleep", seconds] => played.slept += number(seconds),
            ["goto", to] | ["chain" | "kernel" | "initrd", .., "||", "goto", to] => at = jump(to),
            ["dhcp", ..] => played.renewed += 1,
            ["exit", status] => {
                assert_eq!(status, "1");
                return played;
            }
            _ => {}
        }
    }
    panic!("it never ends:\n{script}");
}

#[test]
fn a_machine_that_gets_no_answer_renews_its_address_and_goes_on_after_a_quarter_of_an_hour() {
    let three = three();
    let alone = [boot(ScriptStyle::Robust, &[]), autoexec("http://192.0.2.1:8080", &[]), held(&[])];
    let several = [boot(ScriptStyle::Robust, &three), autoexec("http://192.0.2.1:8080", &three), held(&three)];
    for script in alone.into_iter().chain(several) {
        let (slept, renewed) = play_unanswered(&script);
        assert!((780..1_080).contains(&slept) && renewed >= 7, "{slept} s, {renewed} renewals:\n{script}");
    }
    let script = ipxe(ScriptStyle::Robust, &profile("/k", &[], &[]), Extras::default());
    let resumed = script.replace("isset ${restarts} || set restarts:int32 0", "set restarts:int32 7");
    assert!(play_unanswered(&resumed).0 < 110, "the last round of downloads asks no more");
    assert!(play_unanswered(&script).1 >= 7, "one that cannot even ask again asks DHCP");
    let script = ipxe(ScriptStyle::Robust, &profile("/k", &[], &[]), Extras { nodes: &three, ..Extras::default() });
    let played = play(&script);
    let mut tried = played.fetched.iter().filter(|line| line.starts_with("kernel "));
    for node in three.iter().cycle().take(9) {
        let want = format!("{node}/k");
        assert!(
            tried.next().is_some_and(|line| line.contains(&want)),
            "each node is tried in turn: {:?}",
            played.fetched
        );
    }
}

#[test]
fn robust_scripts_escape_every_free_text_they_ask_with() {
    let script = boot(ScriptStyle::Robust, &[]);
    for name in ["domain", "hostname", "serial", "manufacturer", "product", "asset"] {
        let asked = format!("{name}=${{{name}:uristring}}");
        assert!(script.contains(&format!("&{asked}&")) || script.contains(&format!("&{asked} ")), "{script}");
    }
}

#[test]
fn initrds_are_named_on_the_command_line_unless_the_profile_does_it() {
    for (kernel, initrd, args, want) in [
        ("/k", &["/i.img"][..], &[][..], "kernel --timeout 10000 /k initrd=i.img || goto failed"),
        ("/k", &["/i.img"], &["initrd=other"], "kernel --timeout 10000 /k initrd=other || goto failed"),
        ("/k initrd=x", &["/i.img"], &[], "kernel --timeout 10000 /k initrd=x || goto failed"),
        ("/k", &["--name main /i.img"], &["a"], "kernel --timeout 10000 /k a initrd=main || goto failed"),
        ("/k", &["--name=main /i.img"], &[], "kernel --timeout 10000 /k initrd=main || goto failed"),
        ("/k", &["http://h/p/i.img?x=/y"], &[], "kernel --timeout 10000 /k initrd=i.img || goto failed"),
        (
            "/k",
            &["/i-${buildarch}.xz mode=755"],
            &[],
            "kernel --timeout 10000 /k initrd=i-${buildarch}.xz || goto failed",
        ),
        ("/k", &[], &["a"], "kernel --timeout 10000 /k a || goto failed"),
        ("/k", &["  "], &[], "kernel --timeout 10000 /k || goto failed"),
    ] {
        let script = ipxe(ScriptStyle::Robust, &profile(kernel, initrd, args), Extras::default());
        assert_eq!(lines(&script, "kernel"), [want]);
    }
}

#[test]
fn initrds_whose_names_collide_or_are_no_plain_word_get_one_that_works() {
    let boot = profile("/k", &["/a/initrd", "/b/initrd", "/c/two%20words", "/d/"], &[]);
    let script = ipxe(ScriptStyle::Robust, &boot, Extras::default());
    assert_eq!(
        lines(&script, "kernel"),
        ["kernel --timeout 10000 /k initrd=initrd initrd=initrd1 initrd=initrd2 initrd=initrd3 || goto failed"]
    );
    let want = [
        "initrd --timeout 10000 /a/initrd || goto failed",
        "initrd --timeout 10000 --name initrd1 /b/initrd || goto failed",
        "initrd --timeout 10000 --name initrd2 /c/two%20words || goto failed",
        "initrd --timeout 10000 --name initrd3 /d/ || goto failed",
    ];
    assert_eq!(lines(&script, "initrd"), want);
}

#[test]
fn extra_arguments_and_the_base_url_are_filled_in() {
    let boot = profile("${base_url}/k", &["${base_url}/i"], &["url=${base_url}/generic?mac=${mac:hexhyp}"]);
    let extra = ["console=ttyS0".to_owned()];
    let extras = Extras { args: &extra, base_url: "http://192.0.2.1:8080", nodes: &[] };
    let script = ipxe(ScriptStyle::Robust, &boot, extras);
    let want = "kernel --timeout 10000 http://192.0.2.1:8080/k url=http://192.0.2.1:8080/generic?mac=${mac:hexhyp} console=ttyS0 initrd=i || goto failed";
    assert_eq!(lines(&script, "kernel"), [want]);
    assert_eq!(lines(&script, "initrd"), ["initrd --timeout 10000 http://192.0.2.1:8080/i || goto failed"]);
    let grub = grub(&boot, extras);
    assert!(grub.contains(
        "linux \"http://192.0.2.1:8080/k\" url=http://192.0.2.1:8080/generic?mac=${mac:hexhyp} console=ttyS0\n"
    ));
    let plain = ipxe(ScriptStyle::Matchbox, &boot, Extras { args: &extra, base_url: "", nodes: &[] });
    assert!(plain.contains("kernel ${base_url}/k url=${base_url}/generic?mac=${mac:hexhyp} console=ttyS0\n"));
}

#[test]
fn autoexec_names_the_address_it_is_given() {
    let script = autoexec("http://[2001:db8::1]:8080", &[]);
    let lines: Vec<&str> = script.lines().collect();
    assert!(lines.contains(&"set node0 http://[2001:db8::1]:8080"), "{script}");
    let at = lines.iter().position(|line| *line == "dhcp || goto failed").unwrap();
    assert_eq!(lines[at + 1], "chain --timeout 5000 --autofree --replace ${node${at}}/boot.ipxe ||");
}

#[test]
fn grub_has_an_entry_for_each_firmware() {
    let want = "default=0
fallback=1
timeout=1
menuentry \"CoreOS (EFI)\" {
echo \"Loading kernel\"
linuxefi \"/k\" a=b c
echo \"Loading initrd\"
initrdefi  \"/a\" \"/b\"
}
menuentry \"CoreOS (BIOS)\" {
echo \"Loading kernel\"
linux \"/k\" a=b c
echo \"Loading initrd\"
initrd  \"/a\" \"/b\"
}
";
    assert_eq!(grub(&profile("/k", &["/a", "/b"], &["a=b", "c"]), Extras::default()), want);
}
