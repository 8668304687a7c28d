//! What a machine says about itself: the query of a request, read into labels the way matchbox reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use raft::types::Mac;

/// The labels of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// First value of each key; a key that reads `mac` in any case has a MAC in lower-case colon form.
    pub map: BTreeMap<String, String>,
    /// The card the machine speaks through: the label `mac`, else one in another case.
    pub mac: Option<Mac>,
    /// Where the request came from, for groups that ask for it; never from the query.
    pub from: Option<IpAddr>,
    /// MAC labels that were dropped because they are none, for the log.
    pub bad_macs: Vec<String>,
}

/// How many pairs of a query are read; the rest is ignored. Go's limit on the number of labels is the size of the URL.
pub(super) const LABELS_MAX: usize = 256;

impl Labels {
    /// Reads a raw query (the part after `?`).
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut labels = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).take(LABELS_MAX) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (unescape(key), unescape(value)) else { continue };
            labels.map.entry(key.into_owned()).or_insert_with(|| value.into_owned());
        }
        labels.normalise_macs();
        labels
    }

    fn normalise_macs(&mut self) {
        let mut found: Vec<(bool, Mac)> = Vec::new();
        let bad_macs = &mut self.bad_macs;
        self.map.retain(|key, value| {
            if !key.eq_ignore_ascii_case("mac") {
                return true;
            }
            match value.parse::<Mac>() {
                Ok(mac) => {
                    *value = mac.to_string();
                    found.push((key == "mac", mac));
                    true
                }
                Err(_) => {
                    bad_macs.push(std::mem::take(value));
                    false
                }
            }
        });
        found.sort_by_key(|(exact, _)| !exact);
        self.mac = found.into_iter().next().map(|(_, mac)| mac);
    }

    /// A label, if it is fit to be recorded: short, printable and not empty.
    #[must_use]
    pub fn recordable(&self, key: &str) -> &str {
        self.map.get(key).map(String::as_str).filter(|value| is_recordable(value)).unwrap_or_default()
    }

    /// The SMBIOS UUID in lower case. All zeros or all ones is what boards without one say, so it names no machine.
    #[must_use]
    pub fn uuid(&self) -> Option<String> {
        let uuid = self.recordable("uuid").to_ascii_lowercase();
        let told = |blank: char| uuid.chars().any(|letter| letter != blank && letter != '-');
        (told('0') && told('f')).then_some(uuid)
    }
}

/// Length of a machine's own words that is worth keeping, in bytes.
pub(super) const RECORDED_BYTES_MAX: usize = 128;

fn is_recordable(value: &str) -> bool {
    value.len() <= RECORDED_BYTES_MAX && !value.chars().any(char::is_control)
}

/// Undoes form encoding; `None` where a percent sign is not followed by two hexadecimal digits. Bytes that are not
/// UTF-8 read as U+FFFD, so they equal no label an operator can write.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    let decoded = super::path::percent_decode(&bytes)?;
    Some(Cow::Owned(String::from_utf8_lossy(&decoded).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, want: &[(&str, &str)]) {
        let labels = Labels::parse(query);
        let got: Vec<(&str, &str)> = labels.map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(got, want, "{query}");
    }

    #[test]
    fn the_first_value_of_a_key_counts_and_broken_pairs_are_dropped() {
        check("c=red&c=blue", &[("c", "red")]);
        check("c&d=", &[("c", ""), ("d", "")]);
        check("c=%zz&c=red&b=%", &[("c", "red")]);
        check("c=red;x&c=blue", &[("c", "blue")]);
        check("&&a=1&&", &[("a", "1")]);
        check("my+key=a%20b%2Bc", &[("my key", "a b+c")]);
        check("=v", &[("", "v")]);
        check("a==b", &[("a", "=b")]);
    }

    #[test]
    fn a_mac_is_normalised_whatever_the_case_of_its_key_and_dropped_if_it_is_none() {
        check("MAC=52-54-00-12-AB-56", &[("MAC", "52:54:00:12:ab:56")]);
        check("mac=525400ab&x=1", &[("x", "1")]);
        let labels = Labels::parse("Mac=52-54-00-00-00-01&mac=52-54-00-00-00-02");
        assert_eq!(labels.mac.unwrap().to_string(), "52:54:00:00:00:02");
        assert_eq!(Labels::parse("mac=zz").bad_macs, ["zz"]);
    }

    #[test]
    fn control_characters_are_never_recorded() {
        let labels = Labels::parse("serial=a%0Aboot&uuid=b");
        assert_eq!((labels.recordable("serial"), labels.recordable("uuid")), ("", "b"));
    }

    #[test]
    fn a_blank_uuid_names_no_machine() {
        for (query, want) in [
            ("uuid=00000000-0000-0000-0000-000000000000", None),
            ("uuid=FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", None),
            ("uuid=", None),
            ("uuid=4C4C4544-0000", Some("4c4c4544-0000")),
        ] {
            assert_eq!(Labels::parse(query).uuid().as_deref(), want, "{query}");
        }
    }

    #[test]
    fn the_number_of_labels_is_bounded() {
        let query: String = (0..2 * LABELS_MAX).map(|at| format!("k{at}=v&")).collect();
        assert_eq!(Labels::parse(&query).map.len(), LABELS_MAX);
    }
}
