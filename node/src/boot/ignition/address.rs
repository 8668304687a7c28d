//! Whether Ignition could fetch from an address: its scheme, and what of it can be seen to be broken.

use crate::boot::path::percent_decode;

/// Checks the source of a resource.
pub(super) fn check_source(address: &str) -> Result<(), String> {
    match scheme(address)?.as_str() {
        "http" | "https" | "tftp" | "gs" | "s3" => Ok(()),
        "arn" if address.starts_with("arn:") && address.split(':').nth(2) == Some("s3") => Ok(()),
        "arn" => Err(format!("`{address}` names no S3 object")),
        "data" => check_data(address),
        other => Err(format!("`{other}` is no scheme that Ignition can fetch from")),
    }
}

/// Checks the address of a proxy or a Tang server.
pub(super) fn check_http(address: &str) -> Result<(), String> {
    match scheme(address)?.as_str() {
        "http" | "https" => Ok(()),
        _ => Err(format!("`{address}` is not an http or https address")),
    }
}

/// The scheme in lower case, of an address that a URL parser accepts.
pub(super) fn scheme(address: &str) -> Result<String, String> {
    let broken = |why: &str| Err(format!("`{}` is not a URL: {why}", address.escape_debug()));
    if address.chars().any(|letter| letter.is_ascii_control()) {
        return broken("it holds a control character");
    }
    let Some((scheme, rest)) = address.split_once(':') else { return broken("it has no scheme") };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    if !scheme.starts_with(|letter: char| letter.is_ascii_alphabetic()) || !scheme.chars().all(plain) {
        return broken("it has no scheme");
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    if let Some(rest) = rest.strip_prefix("//") {
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !is_host(host.rsplit('@').next().unwrap_or_default()) {
            return broken("its host is malformed");
        }
        if percent_decode(path.as_bytes()).is_none() {
            return broken("it holds a percent sign without two hexadecimal digits");
        }
    }
    Ok(scheme.to_ascii_lowercase())
}

fn is_host(host: &str) -> bool {
    let port = if let Some(literal) = host.strip_prefix('[') {
        let Some((_, port)) = literal.split_once(']') else { return false };
        port.strip_prefix(':').or(Some(port).filter(|port| port.is_empty()))
    } else {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        if name.contains([' ', '<', '>', '"', '^', '`', '{', '}', '|', '\\', '[', ']', ':']) {
            return false;
        }
        Some(port)
    };
    port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_data(address: &str) -> Result<(), String> {
    let Some((head, data)) = address["data:".len()..].split_once(',') else {
        return Err("a data URL needs a comma before the data".into());
    };
    let Some(data) = percent_decode(data.as_bytes()) else {
        return Err("a data URL holds a percent sign without two hexadecimal digits".into());
    };
    if head.ends_with(";base64") && !is_base64(&data) {
        return Err("a data URL holds broken base64".into());
    }
    Ok(())
}

fn is_base64(data: &[u8]) -> bool {
    let padding = data.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = &data[..data.len() - padding];
    let plain = digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte));
    plain && padding <= 2 && data.len().is_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_ignition_cannot_fetch_from_are_refused() {
        for (address, want) in [
            ("http://h/x?a=%zz", true),
            ("HTTPS://user:pw@h.test:8443/a%20b", true),
            ("http://[::1]:80/x", true),
            ("data:,hello%20world", true),
            ("data:;base64,aGk=", true),
            ("data:text/plain;charset=utf-8;base64,aGk=", true),
            ("s3://bucket/key", true),
            ("arn:aws:s3:::bucket/key", true),
            ("tftp://10.0.0.1/x", true),
            ("http://[::1", false),
            ("http://h:port/", false),
            ("http://h/%zz", false),
            ("http://a b/", false),
            ("gopher://x/y", false),
            ("/just/a/path", false),
            ("data:nocomma", false),
            ("data:;base64,a", false),
            ("data:,%z", false),
            ("http://h/\n", false),
            ("arn:aws:ec2:::x", false),
            ("", false),
        ] {
            assert_eq!(check_source(address).is_ok(), want, "{address}: {:?}", check_source(address));
        }
    }
}
