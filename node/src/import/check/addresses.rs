//! Finds the addresses of boot services that are written out in kernel arguments, metadata and templates.

use std::fmt;

/// Whom a URL leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Whether it says https.
    pub tls: bool,
    /// The name or address.
    pub host: String,
    /// The port, written or implied.
    pub port: u16,
}

/// Where matchbox answers, and so do we.
const PATHS: [&str; 8] = ["/assets/", "/boot.ipxe", "/cloud", "/generic", "/grub", "/ignition", "/ipxe", "/metadata"];
/// Matchbox's port in its packages and documents, and ours.
const PORT: u16 = 8080;
/// How many addresses of one text are looked at.
const ADDRESSES_MAX: usize = 10_000;
/// How much of a path is shown, in characters.
const PATH_CHARS_MAX: usize = 80;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Address {
    /// What has to be so that it goes on working.
    pub(super) fn hint(&self) -> String {
        if self.tls {
            return "if that is this matchbox: boot HTTP has no TLS here, so write it as http:// or `${base_url}`"
                .into();
        }
        let port = if self.port == PORT {
            String::new()
        } else {
            format!(" and every node has `listen.boot_http = \"0.0.0.0:{}\"`", self.port)
        };
        format!("it goes on working if {} leads to the VIP{port}; `${{base_url}}` in its place always does", self.host)
    }
}

/// The addresses in a text whose path is one of a boot service's, each with that path.
#[must_use]
pub fn addresses(text: &str) -> Vec<(Address, String)> {
    let starts = text.match_indices("http").map(|(at, _)| &text[at..]);
    starts.filter_map(address).take(ADDRESSES_MAX).collect()
}

fn address(text: &str) -> Option<(Address, String)> {
    let (tls, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
    let ends = |letter: char| letter.is_whitespace() || letter.is_control() || "\"'`<>\\,;|)]".contains(letter);
    // Brackets around an IPv6 address belong to it.
    let host_end = rest.find('/').filter(|_| rest.starts_with('[')).or_else(|| rest.find(|c| c == '/' || ends(c)))?;
    let (place, path) = rest.split_at(host_end);
    let path = &path[..path.find(ends).unwrap_or(path.len())];
    if !PATHS.iter().any(|known| is_below(path, known)) {
        return None;
    }
    let place = place.rsplit('@').next().unwrap_or(place);
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (place, if tls { 443 } else { 80 }),
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_:[]".contains(letter);
    let fits = !host.is_empty() && host.len() <= 255 && host.chars().all(plain);
    fits.then(|| (Address { tls, host: host.to_ascii_lowercase(), port }, path.chars().take(PATH_CHARS_MAX).collect()))
}

/// Whether a path is this one, with anything behind it that does not make it another word.
fn is_below(path: &str, known: &str) -> bool {
    path.strip_prefix(known).is_some_and(|rest| known.ends_with('/') || rest.is_empty() || rest.starts_with(['?', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_boot_services_are_found_wherever_they_are_written() {
        for (text, want) in [
            (
                "talos.config=http://10.0.20.5:8080/assets/controlplane.yaml",
                "http://10.0.20.5:8080 /assets/controlplane.yaml",
            ),
            ("x=\"http://Matchbox.lab/ignition?mac=${mac:hexhyp}\"", "http://matchbox.lab /ignition?mac=${mac:hexhyp}"),
            ("http://[fd00::5]:8080/generic", "http://[fd00::5]:8080 /generic"),
            ("http://[fd00::5]/boot.ipxe.0 and more", "http://[fd00::5] /boot.ipxe.0"),
            ("https://boot.lab:8443/metadata?x=1", "https://boot.lab:8443 /metadata?x=1"),
            ("http://user:word@10.0.0.1:80/grub", "http://10.0.0.1 /grub"),
            ("{\"a\":\"http://a/ipxe\",\"b\":\"http://b/cloud\"}", "http://a /ipxe, http://b /cloud"),
            ("url=http://releases.ubuntu.com/24.04/x.iso", ""),
            ("http://a/ipxes http://a/genericx http://a", ""),
            ("http://${server}/assets/x http:///assets/x http://a:port/assets/", ""),
        ] {
            let found: Vec<String> =
                addresses(text).iter().map(|(address, path)| format!("{address} {path}")).collect();
            assert_eq!(found.join(", "), want, "{text}");
        }
    }

    #[test]
    fn the_hint_says_what_keeps_an_address_working() {
        let hint = |text: &str| addresses(text)[0].0.hint();
        assert!(hint("http://10.0.20.5:8080/ipxe").contains("10.0.20.5 leads to the VIP;"));
        assert!(hint("http://10.0.20.5/ipxe").contains("boot_http = \"0.0.0.0:80\""));
        assert!(hint("https://10.0.20.5/ipxe").contains("no TLS"));
    }
}
