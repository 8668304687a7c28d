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
    assert_eq!(boot(ScriptStyle::Matchbox), boot_script);
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
:begin
imgfree
:step0
set step step0
kernel /assets/vmlinuz quiet initrd=a.img initrd=b.img || goto failed
:step1
set step step1
initrd /assets/a.img || goto failed
:step2
set step step2
initrd /assets/b.img || goto failed
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
echo Raftboot: that keeps failing; asking again what to boot in 30 s
sleep 30
imgfree
chain --autofree --replace boot.ipxe || goto restart
";
    assert_eq!(ipxe(ScriptStyle::Robust, &full, Extras::default()), want);
}

#[test]
fn every_goto_has_its_label() {
    let full = profile("/k", &["/a", "/b"], &[]);
    let scripts = [
        boot(ScriptStyle::Robust),
        autoexec("http://192.0.2.1:8080"),
        ipxe(ScriptStyle::Robust, &full, Extras::default()),
        held(),
        unknown(),
    ];
    for script in scripts {
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
fn a_held_machine_never_loads_a_kernel_and_an_unknown_one_goes_on() {
    assert!(lines(&held(), "kernel").is_empty() && held().contains("boot.ipxe || goto restart"));
    assert!(unknown().ends_with("exit 0\n"));
}

#[test]
fn initrds_are_named_on_the_command_line_unless_the_profile_does_it() {
    for (kernel, initrd, args, want) in [
        ("/k", &["/i.img"][..], &[][..], "kernel /k initrd=i.img || goto failed"),
        ("/k", &["/i.img"], &["initrd=other"], "kernel /k initrd=other || goto failed"),
        ("/k initrd=x", &["/i.img"], &[], "kernel /k initrd=x || goto failed"),
        ("/k", &["--name main /i.img"], &["a"], "kernel /k a initrd=main || goto failed"),
        ("/k", &["--name=main /i.img"], &[], "kernel /k initrd=main || goto failed"),
        ("/k", &["http://h/p/i.img?x=/y"], &[], "kernel /k initrd=i.img || goto failed"),
        ("/k", &["/i-${buildarch}.xz mode=755"], &[], "kernel /k initrd=i-${buildarch}.xz || goto failed"),
        ("/k", &[], &["a"], "kernel /k a || goto failed"),
        ("/k", &["  "], &[], "kernel /k || goto failed"),
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
        ["kernel /k initrd=initrd initrd=initrd1 initrd=initrd2 initrd=initrd3 || goto failed"]
    );
    let want = [
        "initrd /a/initrd || goto failed",
        "initrd --name initrd1 /b/initrd || goto failed",
        "initrd --name initrd2 /c/two%20words || goto failed",
        "initrd --name initrd3 /d/ || goto failed",
    ];
    assert_eq!(lines(&script, "initrd"), want);
}

#[test]
fn extra_arguments_and_the_base_url_are_filled_in() {
    let boot = profile("${base_url}/k", &["${base_url}/i"], &["url=${base_url}/generic?mac=${mac:hexhyp}"]);
    let extra = ["console=ttyS0".to_owned()];
    let extras = Extras { args: &extra, base_url: "http://192.0.2.1:8080" };
    let script = ipxe(ScriptStyle::Robust, &boot, extras);
    let want = "kernel http://192.0.2.1:8080/k url=http://192.0.2.1:8080/generic?mac=${mac:hexhyp} console=ttyS0 initrd=i || goto failed";
    assert_eq!(lines(&script, "kernel"), [want]);
    assert_eq!(lines(&script, "initrd"), ["initrd http://192.0.2.1:8080/i || goto failed"]);
    let grub = grub(&boot, extras);
    assert!(grub.contains(
        "linux \"http://192.0.2.1:8080/k\" url=http://192.0.2.1:8080/generic?mac=${mac:hexhyp} console=ttyS0\n"
    ));
    let plain = ipxe(ScriptStyle::Matchbox, &boot, Extras { args: &extra, base_url: "" });
    assert!(plain.contains("kernel ${base_url}/k url=${base_url}/generic?mac=${mac:hexhyp} console=ttyS0\n"));
}

#[test]
fn autoexec_names_the_address_it_is_given() {
    let script = autoexec("http://[2001:db8::1]:8080");
    assert!(script.contains("\ndhcp || goto failed\nchain --autofree --replace http://[2001:db8::1]:8080/boot.ipxe"));
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
