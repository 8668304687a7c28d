//! The product seen from outside: only its binary, its ports and what it puts on the wire.
//!
//! Read in this order: [`lab`] is the network, [`node`] a server in it, [`dnsmasq`] the foreign
//! DHCP server beside it, [`firmware`] a machine that boots from it, [`scenario`] all of them
//! together. [`wait`] is the only way to wait, [`evidence`] is what stays after a failure.
//!
//! Several nodes: [`cluster`] is them, [`observer`] sees who answers for their address, [`writers`] remember what they were
//! told, [`fault`] and [`mishap`] are what goes wrong, [`round`] measures one fault, [`trial`] demands that nothing was lost,
//! [`mid_boot`] boots through it, [`peers`] are the programs compared with.
//!
//! As people run it: [`deploy`] has whole Debian hosts with systemd, the package, and Ansible.

pub mod admin;
pub mod boots;
pub mod cluster;
pub mod deploy;
pub mod dnsmasq;
pub mod evidence;
pub mod fault;
pub mod firmware;
pub mod grpc;
pub mod guest;
pub mod initramfs;
pub mod lab;
pub mod lot;
pub mod mac;
pub mod mid_boot;
pub mod mishap;
pub mod netns;
pub mod node;
pub mod observer;
pub mod peers;
pub mod process;
pub mod round;
pub mod scenario;
pub mod trial;
pub mod wait;
pub mod writers;
