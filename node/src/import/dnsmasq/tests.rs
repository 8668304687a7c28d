//! Configurations in, verdicts out.

use super::*;

fn judged(text: &str) -> Report {
    judge(&lines(text, "f"))
}

/// The verdict on the last line, with what it says.
fn check(text: &str, verdict: Verdict, says: &str) {
    let report = judged(text);
    let last = report.findings.last().expect("the test's own set-up");
    let Finding { message, commands, config, .. } = last;
    let told = format!("{message} | {} | {}", commands.join("; "), config.join("; "));
    assert_eq!(last.verdict, verdict, "{text}: {told}");
    assert!(told.contains(says), "{text}: {told}");
}

/// What a pair of management nodes has beside a router that hands out addresses.
const PAIR: &str = "\
# /etc/dnsmasq.d/pxe-boot.conf
port=0
interface=eth0
bind-interfaces
log-dhcp

dhcp-range=10.0.20.0,proxy,255.255.255.0

enable-tftp
tftp-root=/srv/tftp

dhcp-match=set:bios,option:client-arch,0
dhcp-match=set:efi64,option:client-arch,7
dhcp-match=set:efi64,option:client-arch,9
dhcp-userclass=set:ipxe,iPXE

pxe-service=tag:!ipxe,x86PC,\"iPXE\",undionly.kpxe
pxe-service=tag:!ipxe,X86-64_EFI,\"iPXE\",ipxe.efi
pxe-service=tag:!ipxe,BC_EFI,\"iPXE\",ipxe.efi
dhcp-boot=tag:ipxe,http://10.0.20.5:8080/boot.ipxe
";

#[test]
fn a_pair_beside_a_router_needs_three_settings_at_most() {
    let report = judged(PAIR);
    assert_eq!(report.findings.len(), 15);
    let odd: Vec<&Finding> =
        report.findings.iter().filter(|finding| !matches!(finding.verdict, Verdict::Default | Verdict::Set)).collect();
    assert_eq!(odd, [] as [&Finding; 0]);
    assert_eq!(report.commands.into_iter().collect::<Vec<_>>(), ["raftboot settings set loaders.uefi-x64=ipxe.efi"]);
    assert_eq!(
        report.config.into_iter().collect::<Vec<_>>(),
        [
            "interface = \"eth0\"",
            "loader_dirs = [\"/srv/tftp\", \"/usr/lib/ipxe\", \"/boot\"]",
            "[log]",
            "level = \"info,raftboot::dhcp=debug\""
        ]
    );
    assert_eq!(report.summary.len(), 2);
    assert!(report.summary[0].contains("it can be stopped"));
    assert!(report.summary[1].contains("raftboot cluster set vip=10.0.20.5"));
}

#[test]
fn a_dnsmasq_that_hands_out_addresses_stays() {
    let report = judged(
        "domain=cluster.local\ndhcp-range=10.0.20.50,10.0.20.200,12h\ndhcp-option=option:router,10.0.20.1\n\
         dhcp-option=66,10.0.20.5\ndhcp-boot=undionly.kpxe,mgmt-01,10.0.20.5\naddress=/matchbox.lab/10.0.20.5\n\
         dhcp-boot=tag:ipxe,http://matchbox.lab:8080/boot.ipxe\n",
    );
    let verdicts: Vec<Verdict> = report.findings.iter().map(|finding| finding.verdict).collect();
    use Verdict::{Default, Dhcp, Remove, Set};
    assert_eq!(verdicts, [Dhcp, Dhcp, Dhcp, Remove, Default, Set, Default]);
    assert!(report.summary[0].contains("keep it for that") && report.summary[1].contains("answers DNS"));
    assert!(report.commands.contains("raftboot cluster set dns_names=matchbox.lab"));
}

#[test]
fn boot_files_become_loaders_or_nothing() {
    use Verdict::{Default, None, Set, Unknown};
    let efi = "dhcp-match=set:efi,option:client-arch,7\ndhcp-match=set:arm,option:client-arch,11\ndhcp-userclass=set:ipxe,iPXE\n\
        dhcp-host=52:54:00:00:00:01,set:one\n";
    for (line, verdict, says) in [
        ("dhcp-boot=undionly.kpxe", Default, "bios"),
        ("dhcp-boot=undionly.kpxe.0", Default, "bios"),
        ("dhcp-boot=tag:efi,snponly.efi", Default, "uefi-x64"),
        ("dhcp-boot=tag:efi,ipxe/ipxe.efi", Set, "raftboot settings set loaders.uefi-x64=ipxe.efi"),
        ("dhcp-boot=ipxe.efi", Set, "loaders.uefi-x64=ipxe.efi"),
        ("dhcp-boot=tag:arm,snponly-arm64.efi", Default, "uefi-arm64"),
        ("dhcp-boot=tag:arm,grubaa64.efi", Set, "raftboot asset put NAME FILE"),
        ("dhcp-boot=tag:efi,http://10.0.20.5:8080/assets/ipxe.efi", Set, "loaders.uefi-x64=ipxe.efi"),
        ("dhcp-boot=pxelinux.0", None, "PXELINUX"),
        ("dhcp-boot=tag:one,special.efi", None, "raftboot machine set MAC loader=special.efi"),
        ("dhcp-boot=tag:ipxe,http://10.0.20.5:8080/boot.ipxe", Default, "/boot.ipxe"),
        ("dhcp-boot=tag:ipxe,http://10.0.20.5/boot.ipxe.0", Set, "listen.boot_http = \"0.0.0.0:80\""),
        ("dhcp-boot=tag:ipxe,http://10.0.20.5:8080/menu.ipxe", None, "a script of your own"),
        ("dhcp-boot=http://10.0.20.5/menu.php?a=b", None, "a script of your own"),
        ("dhcp-boot=", Unknown, ""),
        ("pxe-service=x86PC,\"boot\",undionly.kpxe", Default, "bios"),
        ("pxe-service=x86PC,\"boot\",undionly", Set, "loaders.bios=undionly"),
        ("pxe-service=tag:ipxe,x86PC,\"go\",http://10.0.20.5:8080/boot.ipxe", Default, ""),
        ("pxe-service=7,\"boot\",snponly.efi", Default, "uefi-x64"),
        ("pxe-service=x86PC,\"local disk\",0", None, "hold=true"),
        ("pxe-service=x86PC,\"local disk\"", None, "hold=true"),
        ("pxe-service=PC98,\"x\",x", None, "no boot loaders for PC98"),
        ("pxe-service=Amiga,\"x\",x", Unknown, "Amiga"),
        ("pxe-service=x86PC", Unknown, ""),
        ("pxe-service=x86PC,\"a\",undionly.kpxe\npxe-service=x86PC,\"b\",memtest", None, "no PXE menu"),
        ("pxe-prompt=\"F8\",3", None, "no PXE menu"),
    ] {
        check(&format!("{efi}{line}"), verdict, says);
    }
}

#[test]
fn dhcp_options_stay_go_or_have_no_place() {
    use Verdict::{Default, Dhcp, None, Remove, Unknown};
    for (line, verdict, says) in [
        ("dhcp-option=3,10.0.20.1", Dhcp, ""),
        ("dhcp-option=option:dns-server,10.0.20.1", Dhcp, ""),
        ("dhcp-option=tag:efi,option:bootfile-name,ipxe.efi", Remove, "dhcp_mode=off"),
        ("--dhcp-option=66,10.0.20.5", Remove, "VIP"),
        ("dhcp-option-force=67,x", Remove, ""),
        ("dhcp-option=60,PXEClient", Remove, "4011"),
        ("dhcp-option=option:vendor-class,PXEClient", Remove, "4011"),
        ("dhcp-option=encap:175,176,1b", Remove, "no-pxedhcp"),
        ("dhcp-option=encap:175,190,user", None, "iPXE"),
        ("dhcp-option=175,8:1:1", None, "iPXE"),
        ("dhcp-option=vendor:PXEClient,6,2b", Default, "discovery_control=true"),
        ("dhcp-option-pxe=vendor:PXEClient,1,0.0.0.0", None, "menu"),
        ("dhcp-option=vendor:MSFT,2,1i", Dhcp, ""),
        ("dhcp-option=43,x", None, "menu"),
        ("dhcp-option=209,configs/common", None, "PXELINUX"),
        ("dhcp-option=option6:dns-server,[::]", Dhcp, ""),
        ("dhcp-option=", Unknown, ""),
    ] {
        check(line, verdict, says);
    }
}

#[test]
fn all_other_lines_have_a_place_too() {
    use Verdict::{Default, Dhcp, Dns, None, Set, Unknown};
    for (line, verdict, says) in [
        ("port=0", Default, "port 53"),
        ("port=5353", Dns, ""),
        ("dhcp-range=10.0.20.0,proxy", Default, "dhcp_mode=proxy"),
        ("dhcp-range=set:lab,10.0.20.0,proxy,255.255.255.0", Default, ""),
        ("dhcp-range=10.0.20.10,static", Dhcp, "hands out addresses"),
        ("dhcp-range=::1,constructor:eth0,ra-only", Dhcp, ""),
        ("dhcp-range=fd00::10,fd00::20", Dhcp, "IPv6"),
        ("interface=eth1", Set, "interface = \"eth1\""),
        ("interface=lo", Default, ""),
        ("interface=lo\ninterface=eth1", Set, "interface = \"eth1\""),
        ("interface=eth1\ninterface=eth2", None, "one interface"),
        ("interface=eth*", None, "one interface"),
        ("listen-address=127.0.0.1", Default, "loopback"),
        ("listen-address=::1,10.0.20.6", Default, "advertise = \"10.0.20.6\""),
        ("tftp-root=/srv/tftp", Set, "/srv/tftp/NAME"),
        ("enable-tftp", Default, "port 69"),
        ("dhcp-host=52:54:00:00:00:01,10.0.20.9,n1", Dhcp, "a group"),
        ("dhcp-host=52-54-00-00-00-01,ignore", Set, "raftboot machine set 52:54:00:00:00:01 hold=true"),
        ("dhcp-ignore=tag:!known", Dhcp, "next boot device"),
        ("dhcp-match=set:ipxe,175", Default, "175"),
        ("dhcp-match=set:efi,option:client-arch,7", Default, "uefi-x64"),
        ("dhcp-vendorclass=set:bios,PXEClient:Arch:00000", Default, "bios"),
        ("dhcp-mac=set:rack,52:54:*:*:*:*", None, "groups"),
        ("tag-if=set:a,tag:b", Default, ""),
        ("server=10.0.20.1", Dns, ""),
        ("address=/db.lab/10.0.20.9", Dns, ""),
        (
            "dhcp-boot=tag:ipxe,http://10.0.20.5:8080/boot.ipxe\nhost-record=matchbox.lab,10.0.20.5",
            Dns,
            "lead to the VIP",
        ),
        ("domain=lab", Dhcp, ""),
        ("log-queries", Dns, ""),
        ("log-dhcp", Set, "raftboot::dhcp=debug"),
        ("user=dnsmasq", Default, ""),
        ("conf-script=/bin/true", None, "not run"),
        ("frobnicate=1", Unknown, "no option"),
        ("=x", Unknown, ""),
    ] {
        check(line, verdict, says);
    }
}

#[test]
fn no_option_is_judged_in_two_places() {
    let text: String = judge::every_option().map(|option| format!("{option}=x\n")).collect();
    let report = judged(&text);
    let unknown = |finding: &&Finding| finding.message.contains("no option of dnsmasq");
    assert_eq!(report.findings.iter().find(unknown), None);
    let mut options: Vec<&str> = judge::every_option().collect();
    let count = options.len();
    options.sort_unstable();
    options.dedup();
    assert!(count > 150 && options.len() == count);
}

#[test]
fn lines_that_contradict_each_other_give_one_finding_and_no_command() {
    let efi = "dhcp-match=set:efi,option:client-arch,7\n";
    let report = judged(&format!(
        "{efi}dhcp-boot=tag:efi,ipxe.efi\ndhcp-boot=tag:efi,other.efi\ntftp-root=/a\ntftp-root=/b\ntftp-root=/a\n"
    ));
    assert_eq!((report.commands.len(), report.config.len(), report.findings.len()), (0, 0, 8));
    for (finding, want) in report.findings[6..].iter().zip([
        "`raftboot settings set loaders.uefi-x64` has one value: f:2 wants `ipxe.efi`, f:3 wants `other.efi`; set",
        "`loader_dirs` has one value: f:6 wants `[\"/a\", \"/usr/lib/ipxe\", \"/boot\"]`, f:5 wants",
    ]) {
        assert!(finding.message.starts_with(want), "{}", finding.message);
    }
    assert!(report.findings.iter().all(|finding| finding.commands.is_empty() && finding.config.is_empty()));
    let agreed = judged(&format!("{efi}dhcp-boot=tag:efi,ipxe.efi\ndhcp-boot=tag:efi,ipxe.efi\n"));
    assert_eq!((agreed.commands.len(), agreed.findings.len()), (1, 3));
    let named = judged(
        "dhcp-boot=tag:ipxe,http://b.lab:8080/boot.ipxe\ndhcp-boot=tag:ipxe,http://a.lab:8080/boot.ipxe\n\
         address=/b.lab/10.0.20.5\nhost-record=a.lab,10.0.20.5\naddress=/a.lab/b.lab/10.0.20.5\n",
    );
    assert_eq!(named.commands.into_iter().collect::<Vec<_>>(), ["raftboot cluster set dns_names=a.lab,b.lab"]);
}

#[test]
fn what_is_printed_for_the_configuration_can_be_read() {
    let report = judged(
        "log-dhcp\ninterface=eth1\ntftp-root=\"/srv/a \\\"b\\\\\"\ndhcp-boot=tag:ipxe,http://10.0.20.5:80/boot.ipxe\n",
    );
    let lines: Vec<&str> = report.config.iter().map(String::as_str).collect();
    assert_eq!(
        lines,
        [
            "interface = \"eth1\"",
            r#"loader_dirs = ["/srv/a \"b\\", "/usr/lib/ipxe", "/boot"]"#,
            "[listen]",
            "boot_http = \"0.0.0.0:80\"",
            "[log]",
            "level = \"info,raftboot::dhcp=debug\""
        ]
    );
}
