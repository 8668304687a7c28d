//! The fence as nftables messages: which rules it has, and how its lease is granted, renewed and withdrawn.
//!
//! As `nft` would print it, for a VIP 10.0.0.9 on eth0:
//! ```text
//! table ip raftboot_vip {
//!     set lease { type ipv4_addr; flags timeout }
//!     chain input  { type filter hook input priority 0;  ip daddr 10.0.0.9 ip daddr != @lease drop }
//!     chain output { type filter hook output priority 0; ip saddr 10.0.0.9 ip saddr != @lease drop }
//! }
//! table arp raftboot_vip {
//!     set lease { type ipv4_addr; flags timeout }
//!     chain input  { type filter hook input priority 0;
//!                    arp daddr ip 10.0.0.9 arp saddr ip != 10.0.0.9 arp daddr ip != @lease drop }
//!     chain output { type filter hook output priority 0; arp saddr ip 10.0.0.9 arp saddr ip != @lease drop }
//! }
//! table netdev raftboot_vip {
//!     set lease { type ipv4_addr; flags timeout }
//!     chain egress { type filter hook egress device "eth0" priority 0;
//!                    meta protocol arp arp saddr ip 10.0.0.9 arp saddr ip != @lease drop
//!                    meta protocol ip ip saddr 10.0.0.9 ip saddr != @lease drop }
//! }
//! ```
//! Sets belong to a table and a table to a family, so that the lease is an element of three sets, always changed in one
//! transaction. A follower must reach the VIP of another node: nothing is dropped towards it, and a gratuitous ARP
//! (sender = target = VIP) passes, for it is what moves the follower's own neighbour entry after a takeover.

use std::net::Ipv4Addr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, DevHookNumber, Expressions, Hook, HookNumber, Immediate,
    InetHookNumber, ListAttribute, Lookup, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute,
    RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage, SetFlags, SetMessage,
    TableAttribute, TableFlags, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};

/// The name of our table in each family.
pub(super) const TABLE: &str = "raftboot_vip";
/// The set that holds the VIP while its lease lives.
const SET: &str = "lease";
/// The set is known by number within the transaction that creates it (one per table).
const SET_ID: u32 = 1;
/// What `nft` calls the key: `ipv4_addr` (nftables' `TYPE_IPADDR`); the kernel only keeps it for listings.
const KEY_TYPE_IPV4_ADDRESS: u32 = 7;
/// An element added without a timeout of its own, by hand, still cannot open the fence for longer.
const LEASE_DEFAULT_TIMEOUT_MILLIS: u64 = 1000;

/// `NFT_PAYLOAD_NETWORK_HEADER`: offsets count from the IPv4 or ARP header.
const NETWORK_HEADER: u32 = 1;
/// `NFT_LOOKUP_F_INV`: the rule goes on when the key is *not* in the set.
const LOOKUP_INVERTED: u32 = 1;
/// `NF_DROP`.
const DROP: u32 = 0;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;
/// `NF_ARP_IN` and `NF_ARP_OUT`.
const ARP_INPUT: u32 = 0;
const ARP_OUTPUT: u32 = 1;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;

/// Offsets of the addresses (RFC 791 §3.1; RFC 826 for Ethernet and IPv4).
const IPV4_SOURCE: u32 = 12;
const IPV4_DESTINATION: u32 = 16;
const ARP_SENDER: u32 = 14;
const ARP_TARGET: u32 = 24;

/// The families that have a table of ours.
pub(super) const FAMILIES: [NetfilterProtoFamily; 3] =
    [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::ARP, NetfilterProtoFamily::NetDev];

/// One message of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What to do.
    pub(super) message: NetfilterMessage,
    /// Netlink flags beyond `NLM_F_REQUEST`.
    pub(super) flags: u16,
    /// What it is about, for error messages.
    pub(super) what: &'static str,
}

/// What the fence is built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruleset {
    /// The address it mutes.
    pub(super) address: Ipv4Addr,
    /// The interface whose outgoing frames it stops.
    pub(super) interface: String,
    /// Whether the tables belong to our socket (`owner`), and stay when it closes (`persist`).
    pub(super) owned: bool,
}

impl Ruleset {
    /// The fence of that address on that interface.
    pub(super) fn new(interface: &str, address: Ipv4Addr) -> Self {
        Self { address, interface: interface.to_owned(), owned: true }
    }

    /// The three tables with their sets, chains and rules; closed.
    pub(super) fn install(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for family in FAMILIES {
            steps.push(self.new_table(family));
            steps.push(new_set(family));
        }
        steps.extend([
            new_chain(NetfilterProtoFamily::IPv4, "input", inet_hook(InetHookNumber::LocalIn)),
            new_chain(NetfilterProtoFamily::IPv4, "output", inet_hook(InetHookNumber::LocalOut)),
            new_chain(NetfilterProtoFamily::ARP, "input", vec![Hook::Number(HookNumber::Other(ARP_INPUT))]),
            new_chain(NetfilterProtoFamily::ARP, "output", vec![Hook::Number(HookNumber::Other(ARP_OUTPUT))]),
            new_chain(NetfilterProtoFamily::NetDev, "egress", self.egress_hook()),
        ]);
        let vip = |offset| match_address(offset, Operator::Equal, self.address);
        let not_vip = |offset| match_address(offset, Operator::NotEqual, self.address);
        steps.extend([
            new_rule(NetfilterProtoFamily::IPv4, "input", [vip(IPV4_DESTINATION)].concat()),
            new_rule(NetfilterProtoFamily::IPv4, "output", [vip(IPV4_SOURCE)].concat()),
            new_rule(NetfilterProtoFamily::ARP, "input", [not_vip(ARP_SENDER), vip(ARP_TARGET)].concat()),
            new_rule(NetfilterProtoFamily::ARP, "output", [vip(ARP_SENDER)].concat()),
            new_rule(NetfilterProtoFamily::NetDev, "egress", [match_protocol(ETHERTYPE_ARP), vip(ARP_SENDER)].concat()),
            new_rule(
                NetfilterProtoFamily::NetDev,
                "egress",
                [match_protocol(ETHERTYPE_IPV4), vip(IPV4_SOURCE)].concat(),
            ),
        ]);
        steps
    }

    /// Grants the lease; refused (`EEXIST`) when it is live in any family.
    pub(super) fn grant(&self, timeout: Duration) -> Vec<Step> {
        FAMILIES.map(|family| self.add_element(family, timeout)).to_vec()
    }

    /// Renews a live lease; refused (`ENOENT`) when it has expired in any family. Never adds first: that would reopen a
    /// fence that has closed.
    pub(super) fn renew(&self, timeout: Duration) -> Vec<Step> {
        let delete = FAMILIES.map(|family| self.delete_element(family));
        let add = FAMILIES.map(|family| self.add_element(family, timeout));
        [delete, add].concat()
    }

    fn new_table(&self, family: NetfilterProtoFamily) -> Step {
        let flags = if self.owned { TableFlags::Owner | TableFlags::Persisent } else { TableFlags::empty() };
        let attributes = vec![TableAttribute::Name(TABLE.to_owned()), TableAttribute::Flags(flags)];
        let what = match family {
            NetfilterProtoFamily::IPv4 => "the table for IPv4",
            NetfilterProtoFamily::ARP => "the table for ARP",
            _ => "the table for network devices",
        };
        step(family, NfTablesMessage::NewTable(TableMessage { attributes }), NLM_F_CREATE | NLM_F_EXCL, what)
    }

    fn egress_hook(&self) -> Vec<Hook> {
        let number = Hook::Number(HookNumber::Dev(DevHookNumber::Egress));
        vec![number, Hook::NetDeviceName(self.interface.clone())]
    }

    fn add_element(&self, family: NetfilterProtoFamily, timeout: Duration) -> Step {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let attributes = elements(vec![self.key(), SetElementAttribute::Timeout(millis)]);
        let message = NfTablesMessage::NewSetElement(SetElementMessage { attributes });
        step(family, message, NLM_F_CREATE | NLM_F_EXCL, "the lease")
    }

    fn delete_element(&self, family: NetfilterProtoFamily) -> Step {
        let attributes = elements(vec![self.key()]);
        step(family, NfTablesMessage::DeleteSetElement(SetElementMessage { attributes }), 0, "the lease")
    }

    fn key(&self) -> SetElementAttribute {
        SetElementAttribute::Key(DataAttribute::Value(self.address.octets().to_vec()))
    }
}

/// Withdraws the lease in these families, whether it is live or not: deleting without naming elements empties the set.
pub(super) fn withdraw(families: &[NetfilterProtoFamily]) -> Vec<Step> {
    let attributes = || vec![SetElementList::Table(TABLE.to_owned()), SetElementList::Set(SET.to_owned())];
    families
        .iter()
        .map(|family| {
            let message = NfTablesMessage::DeleteSetElement(SetElementMessage { attributes: attributes() });
            step(*family, message, 0, "the lease")
        })
        .collect()
}

/// Deletes our tables of these families, with all that is in them.
pub(super) fn delete_tables(families: &[NetfilterProtoFamily]) -> Vec<Step> {
    families
        .iter()
        .map(|family| {
            step(*family, NfTablesMessage::DeleteTable(TableMessage { attributes: table_name() }), 0, "our table")
        })
        .collect()
}

/// Asks for our table of that family.
pub(super) fn get_table(family: NetfilterProtoFamily) -> NetfilterMessage {
    message(family, NfTablesMessage::GetTable(TableMessage { attributes: table_name() }))
}

/// Asks for all chains of that family; the kernel does not filter them by table.
pub(super) fn get_chains(family: NetfilterProtoFamily) -> NetfilterMessage {
    message(family, NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }))
}

/// Asks for the rules of our table of that family.
pub(super) fn get_rules(family: NetfilterProtoFamily) -> NetfilterMessage {
    let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
    message(family, NfTablesMessage::GetRule(RuleMessage { attributes }))
}

fn table_name() -> Vec<TableAttribute> {
    vec![TableAttribute::Name(TABLE.to_owned())]
}

fn new_set(family: NetfilterProtoFamily) -> Step {
    let attributes = vec![
        SetAttribute::Table(TABLE.to_owned()),
        SetAttribute::Name(SET.to_owned()),
        SetAttribute::Flags(SetFlags::Timeout),
        SetAttribute::KeyType(KEY_TYPE_IPV4_ADDRESS),
        SetAttribute::KeyLen(4),
        SetAttribute::Id(SET_ID),
        SetAttribute::Timeout(LEASE_DEFAULT_TIMEOUT_MILLIS),
    ];
    step(family, NfTablesMessage::NewSet(SetMessage { attributes }), NLM_F_CREATE, "a set with timeouts")
}

fn inet_hook(number: InetHookNumber) -> Vec<Hook> {
    vec![Hook::Number(HookNumber::Inet(number))]
}

fn new_chain(family: NetfilterProtoFamily, name: &str, mut hook: Vec<Hook>) -> Step {
    hook.push(Hook::Priority(0));
    let attributes = vec![
        ChainAttribute::Table(TABLE.to_owned()),
        ChainAttribute::Name(name.to_owned()),
        ChainAttribute::Hook(hook),
        ChainAttribute::Policy(ACCEPT),
        ChainAttribute::Type("filter".to_owned()),
    ];
    let what = match (family, name) {
        (NetfilterProtoFamily::IPv4, "input") => "the hook for IPv4 input",
        (NetfilterProtoFamily::IPv4, _) => "the hook for IPv4 output",
        (NetfilterProtoFamily::ARP, "input") => "the hook for ARP input",
        (NetfilterProtoFamily::ARP, _) => "the hook for ARP output",
        _ => "the egress hook of the interface (Linux 5.16 or newer)",
    };
    step(family, NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE, what)
}

/// A rule that drops what `matches`, which leaves the VIP in register 1, unless the lease lives.
fn new_rule(family: NetfilterProtoFamily, chain: &str, mut matches: Vec<Expressions>) -> Step {
    matches.push(Expressions::Lookup(vec![
        Lookup::Set(SET.to_owned()),
        Lookup::SourceRegister(Register::Reg1),
        Lookup::Flags(LOOKUP_INVERTED),
    ]));
    let drop = DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(DROP))]);
    matches
        .push(Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), Immediate::Data(drop)]));
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(matches.into_iter().map(ListAttribute::from).collect()),
    ];
    step(family, NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND, "a rule")
}

/// Loads the address at that offset into register 1 and compares it with the VIP.
fn match_address(offset: u32, operator: Operator, address: Ipv4Addr) -> Vec<Expressions> {
    vec![
        Expressions::Payload(vec![
            Payload::DestinationRegister(Register::Reg1),
            Payload::Base(NETWORK_HEADER),
            Payload::Offset(offset),
            Payload::Len(4),
        ]),
        compare(operator, &address.octets()),
    ]
}

fn match_protocol(ethertype: u16) -> Vec<Expressions> {
    vec![
        Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(MetaKey::EtherTypeProtocol)]),
        compare(Operator::Equal, &ethertype.to_be_bytes()),
    ]
}

fn compare(operator: Operator, value: &[u8]) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value.to_vec())),
    ])
}

fn elements(element: Vec<SetElementAttribute>) -> Vec<SetElementList> {
    vec![
        SetElementList::Table(TABLE.to_owned()),
        SetElementList::Set(SET.to_owned()),
        SetElementList::Elements(vec![ListAttribute::Element(element)]),
    ]
}

fn step(family: NetfilterProtoFamily, inner: NfTablesMessage, flags: u16, what: &'static str) -> Step {
    Step { message: message(family, inner), flags, what }
}

fn message(family: NetfilterProtoFamily, inner: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner)
}

#[cfg(test)]
mod tests;
