//! Judges a whole configuration: every line, and what they come to together.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::line::Line;
use super::tags::{Tags, set_by};
use super::{Finding, Report, Told, Verdict, boot, options, quoted, settings};

/// Options about names, which are no business of a boot service.
const DNS: &str = "add-cpe-id add-mac add-subnet addn-hosts address alias all-servers auth-peer auth-sec-servers auth-server auth-soa \
    auth-ttl auth-zone bogus-nxdomain bogus-priv caa-record cache-rr cache-size clear-on-reload cname connmark-allowlist \
    connmark-allowlist-enable conntrack dns-forward-max dns-loop-detect dns-rr dnssec dnssec-check-unsigned dnssec-debug dnssec-limits \
    dnssec-no-timecheck dnssec-timestamp domain-needed dynamic-host edns-packet-max enable-dbus enable-ubus expand-hosts fast-dns-retry \
    filter-A filter-AAAA filter-rr filterwin2k host-record hostsdir ignore-address interface-name ipset local local-service \
    local-ttl localise-queries localmx max-cache-ttl max-port max-tcp-connections max-ttl min-cache-ttl min-port mx-host mx-target naptr-record neg-ttl \
    nftset no-hosts no-ident no-negcache no-poll no-resolv no-round-robin port-limit proxy-dnssec ptr-record query-port \
    rebind-domain-ok rebind-localhost-ok resolv-file rev-server selfmx server servers-file srv-host stop-dns-rebind strict-order \
    strip-mac strip-subnet synth-domain trust-anchor txt-record umbrella use-stale-cache log-queries";
/// Options about giving out addresses.
const ADDRESSES: &str = "bootp-dynamic bridge-interface dhcp-authoritative dhcp-client-update dhcp-duid dhcp-fqdn dhcp-generate-names \
    dhcp-hostsdir dhcp-hostsfile dhcp-ignore-clid dhcp-ignore-names dhcp-lease-max dhcp-leasefile dhcp-luascript dhcp-optsdir dhcp-optsfile \
    dhcp-proxy dhcp-rapid-commit dhcp-relay dhcp-reply-delay dhcp-script dhcp-scriptuser dhcp-sequential-ip dhcp-ttl domain enable-ra \
    leasefile-ro no-dhcpv6-interface no-ping quiet-dhcp6 quiet-ra ra-param read-ethers script-arp script-on-renewal shared-network";
/// Options about dnsmasq as a program, and what takes their place.
const PROGRAM: &[(&str, &str)] = &[
    ("user", "the unit in docs/reference/config.md gives the service the capabilities it needs"),
    ("group", "the unit in docs/reference/config.md gives the service the capabilities it needs"),
    ("pid-file", "systemd knows the process"),
    ("keep-in-foreground", "`raftboot serve` always stays in the foreground"),
    ("no-daemon", "`raftboot serve` always stays in the foreground"),
    ("log-facility", "it logs to standard error, which systemd keeps"),
    ("log-async", "writing the log holds up no answer"),
    ("quiet-dhcp", "packets are not logged at the level `info`"),
    ("quiet-tftp", "a finished transfer is one line at the level `info`"),
    (
        "bind-interfaces",
        "DHCP listens on one interface only; TFTP and HTTP on every address, or on one: `listen.tftp`, `listen.boot_http`",
    ),
    (
        "bind-dynamic",
        "DHCP listens on one interface only; TFTP and HTTP on every address, or on one: `listen.tftp`, `listen.boot_http`",
    ),
    ("except-interface", "DHCP is served on one interface only"),
    ("no-dhcp-interface", "DHCP is served on one interface only"),
    ("no-dhcpv4-interface", "DHCP is served on one interface only"),
    ("enable-tftp", "TFTP is served on port 69 if it may be bound"),
    ("tftp-single-port", "all of TFTP goes through port 69"),
    ("tftp-no-fail", "a file that is missing ends nothing but its transfer"),
    ("tftp-secure", "TFTP knows no paths: a name leads to a boot loader or an asset, or to nothing"),
    ("tftp-lowercase", "boot loaders are found whatever the case of their names"),
    ("tftp-max", "the number of transfers is bounded, and no setting"),
    ("tftp-mtu", "blocks are as large as the client asks and the network bears"),
    ("tftp-port-range", "all of TFTP goes through port 69: firewalls need no range"),
    ("dhcp-broadcast", "proxy answers always go to everybody"),
    ("dhcp-no-override", "the header's fields for name and file are never used for options"),
    ("dhcp-pxe-vendor", "PXEClient and HTTPClient are both answered"),
    ("conf-file", "its lines follow"),
    ("conf-dir", "its lines follow"),
];
/// Options that nothing here takes the place of.
const NOTHING: &[(&str, &str)] = &[
    ("conf-script", "it was not run: its output is not part of this report"),
    ("dhcp-alternate-port", "DHCP uses the ports that firmware knows"),
    ("tftp-unique-root", "a name leads every client to the same file"),
    ("tftp-no-blocksize", "a client that cannot use larger blocks does not ask for them"),
    ("pxe-prompt", "there is no PXE menu here: machines boot at once what their group says"),
    ("dumpfile", "use tcpdump"),
    ("dumpmask", "use tcpdump"),
    ("log-debug", "`log.level = \"debug\"` says much, of other things"),
];

/// What the lines of all files come to.
#[must_use]
pub fn judge(lines: &[Line]) -> Report {
    let tags = Tags::of(lines);
    let hosts: BTreeSet<String> = lines.iter().filter_map(boot::host).collect();
    let mut services = BTreeSet::new();
    let mut interfaces = 0;
    let mut report = Report::default();
    for line in lines {
        let told = match line.option.as_str() {
            "dhcp-boot" => boot::dhcp_boot(line, &tags),
            "pxe-service" => boot::pxe_service(line, &tags, &mut services),
            "interface" => interface(line, &mut interfaces),
            "address" | "host-record" | "cname" => name(line, &hosts),
            _ => by_itself(line),
        };
        let Told { verdict, message, commands, config } = told;
        let Line { file, number, text, .. } = line.clone();
        report.findings.push(Finding { file, line: number, text, verdict, message, commands, config });
    }
    settings::gather(&mut report);
    report.summary = summary(lines, &report, &hosts);
    report
}

/// Lines whose meaning does not hang on others.
fn by_itself(line: &Line) -> Told {
    let option = line.option.as_str();
    let row = |table: &[(&str, &str)]| table.iter().find(|(name, _)| *name == option).map(|(_, why)| (*why).to_owned());
    match option {
        "dhcp-range" => range(line),
        "dhcp-option" | "dhcp-option-force" | "dhcp-option-pxe" => options::option(line),
        "dhcp-host" => host(line),
        "dhcp-match" | "dhcp-vendorclass" | "dhcp-userclass" | "dhcp-mac" | "dhcp-circuitid" | "dhcp-remoteid"
        | "dhcp-subscrid" | "dhcp-name-match" | "tag-if" => tag(line),
        "port" if line.value() == "0" => {
            Told::new(Verdict::Default, "there is no DNS server here; nothing listens on port 53")
        }
        "port" => Told::new(Verdict::Dns, "there is no DNS server here"),
        "listen-address" => listen_address(line),
        "tftp-root" => tftp_root(line),
        "dhcp-ignore" => Told::new(
            Verdict::Dhcp,
            "who gets an address is for the other server to say. A machine that no group matches is answered here with a script that goes on to the next boot device",
        ),
        "log-dhcp" => {
            Told::new(Verdict::Set, "every packet, and why it was answered or not, is logged at the level `debug`")
                .config("log.level = \"info,raftboot::dhcp=debug\"")
        }
        _ if DNS.split_whitespace().any(|name| name == option) => {
            Told::new(Verdict::Dns, "there is no DNS server here: keep dnsmasq for it, or let another answer")
        }
        _ if ADDRESSES.split_whitespace().any(|name| name == option) => {
            Told::new(Verdict::Dhcp, "addresses and leases are for the server that hands them out")
        }
        _ => match (row(PROGRAM), row(NOTHING)) {
            (Some(why), _) => Told::new(Verdict::Default, why),
            (_, Some(why)) => Told::new(Verdict::None, why),
            _ => Told::new(Verdict::Unknown, "this is no option of dnsmasq 2.90: see its manual"),
        },
    }
}

fn range(line: &Line) -> Told {
    let fields: Vec<&str> = line.fields.iter().map(String::as_str).filter(|field| !field.contains(':')).collect();
    if fields.contains(&"proxy") {
        return Told::new(
            Verdict::Default,
            "`dhcp_mode=proxy` is the default: who asks on the interface is answered, whatever the network",
        );
    }
    if fields.is_empty() {
        return Told::new(Verdict::Dhcp, "there is no DHCP for IPv6 here: machines boot by IPv4");
    }
    Told::new(
        Verdict::Dhcp,
        "there is no mode here that hands out addresses: keep dnsmasq or your router for that, without its boot lines; the answers from here come beside it",
    )
}

fn host(line: &Line) -> Told {
    if !line.fields.iter().any(|field| field == "ignore") {
        return Told::new(
            Verdict::Dhcp,
            "reservations are for the server that hands out addresses; what a machine boots is said by a group",
        );
    }
    let macs = line.fields.iter().filter_map(|field| field.parse::<raft::types::Mac>().ok());
    let told = Told::new(
        Verdict::Set,
        "a machine that is held is not booted over the network; whether it gets an address is for the other server to say",
    );
    macs.fold(told, |told, mac| told.command(format!("raftboot machine set {mac} hold=true")))
}

/// A tag has no meaning of its own: kinds of firmware and iPXE are told apart here without.
fn tag(line: &Line) -> Told {
    let known = set_by(line).map(|(_, who)| who);
    if line.option == "tag-if" {
        return Told::new(
            Verdict::Default,
            "it only joins tags; the lines that use them are judged by what they stand for",
        );
    }
    match known {
        Some(who) if who.ipxe => {
            Told::new(Verdict::Default, "iPXE is told by its user class, and by option 175, on any firmware")
        }
        Some(who) if !who.classes.is_empty() => {
            let classes: Vec<&str> = who.classes.into_iter().collect();
            Told::new(
                Verdict::Default,
                format!("this firmware is told by option 93 and is called {} here", classes.join(", ")),
            )
        }
        Some(_) => Told::new(
            Verdict::None,
            "here only firmware and single machines are told apart by DHCP; groups choose by what iPXE says: mac, uuid, serial, hostname, domain, arch",
        ),
        None => Told::new(Verdict::Unknown, "it sets no tag"),
    }
}

fn interface(line: &Line, seen: &mut usize) -> Told {
    let named: Vec<String> = line.fields.iter().filter(|name| !name.is_empty() && *name != "lo").cloned().collect();
    *seen += named.len();
    match named.as_slice() {
        [] => Told::new(Verdict::Default, "TFTP and HTTP answer on every address of the host, loopback too"),
        [one] if *seen == 1 && !one.contains('*') => Told::new(
            Verdict::Set,
            "DHCP is served on the interface of the default route, unless the node's configuration names another",
        )
        .config(format!("interface = {}", quoted(one))),
        _ => Told::new(
            Verdict::None,
            "DHCP is served on one interface; machines of other networks reach it through a relay",
        ),
    }
}

fn listen_address(line: &Line) -> Told {
    let own: Vec<&String> = line.fields.iter().filter(|text| !is_loopback(text)).collect();
    match own.as_slice() {
        [] => Told::new(Verdict::Default, "TFTP and HTTP answer on every address of the host, loopback too"),
        [one] => Told::new(
            Verdict::Default,
            format!(
                "TFTP and HTTP answer on every address, and machines are told the VIP; without one, the interface's first address: `advertise = \"{one}\"` if that must be this one"
            ),
        ),
        _ => Told::new(Verdict::Default, "TFTP and HTTP answer on every address of the host"),
    }
}

fn is_loopback(text: &str) -> bool {
    text.is_empty() || text.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tftp_root(line: &Line) -> Told {
    let root = line.fields.first().map(String::as_str).unwrap_or_default();
    if root.is_empty() {
        return Told::new(Verdict::Unknown, "it names no folder");
    }
    let message = format!(
        "boot loaders are those of the package `ipxe`. To use the iPXE files in {root} instead, put it first; \
         any other file that machines ask for becomes an asset: `raftboot asset put NAME {root}/NAME`"
    );
    let dirs: Vec<String> = [root, "/usr/lib/ipxe", "/boot"].iter().map(|dir| quoted(dir)).collect();
    Told::new(Verdict::Set, message).config(format!("loader_dirs = [{}]", dirs.join(", ")))
}

/// A name in DNS: where the boot service is called by it, more than DNS has to know.
fn name(line: &Line, hosts: &BTreeSet<String>) -> Told {
    let parts: Vec<&str> =
        line.fields.iter().flat_map(|field| field.split('/')).filter(|part| !part.is_empty()).collect();
    let is_own = |part: &&str| hosts.contains(*part) && part.parse::<IpAddr>().is_err();
    let own: Vec<&str> = parts.iter().copied().filter(is_own).collect();
    if !own.is_empty() {
        let message = "the boot service is called so: keep the name in your DNS and let it lead to the VIP; this puts it into the certificates too";
        return Told::new(Verdict::Set, message).command(format!("raftboot cluster set dns_names={}", own.join(",")));
    }
    let leads_here = parts.iter().any(|part| hosts.contains(*part));
    let more = if leads_here { "; this one leads to the boot service: let it lead to the VIP" } else { "" };
    Told::new(Verdict::Dns, format!("there is no DNS server here: keep dnsmasq for it, or let another answer{more}"))
}

fn summary(lines: &[Line], report: &Report, hosts: &BTreeSet<String>) -> Vec<String> {
    let ranges = || lines.iter().filter(|line| line.option == "dhcp-range");
    let proxy = ranges().filter(|line| line.fields.iter().any(|field| field == "proxy")).count();
    let pool = ranges().count() > proxy;
    let dns = !lines.iter().any(|line| line.option == "port" && line.value() == "0");
    let mut summary = Vec::new();
    if pool {
        summary.push(
            "dnsmasq hands out addresses here: keep it for that, take its boot lines out, and run Raftboot on other hosts, because both need port 67".into(),
        );
    }
    if dns {
        summary.push(
            "dnsmasq answers DNS as well (there is no `port=0`): keep it for that, or move the names to another server"
                .into(),
        );
    }
    if !pool && !dns {
        summary
            .push("dnsmasq does nothing that is not done here: it can be stopped once machines boot from here".into());
    }
    if report.findings.iter().any(|finding| finding.verdict == Verdict::Remove) {
        summary.push(
            "wherever addresses come from, the options marked `remove` must not be sent beside the answers from here"
                .into(),
        );
    }
    for host in hosts {
        summary.push(match host.parse::<IpAddr>() {
            Ok(address) => format!("machines know the boot service as {address}: the last step of a move is `raftboot cluster set vip={address}`"),
            Err(_) => format!("machines know the boot service as {host}: the last step of a move is to let that name lead to the VIP"),
        });
    }
    summary
}

/// Every option that a table names, for the tests.
#[cfg(test)]
pub(super) fn every_option() -> impl Iterator<Item = &'static str> {
    let rows = PROGRAM.iter().chain(NOTHING).map(|(name, _)| *name);
    DNS.split_whitespace().chain(ADDRESSES.split_whitespace()).chain(rows)
}
