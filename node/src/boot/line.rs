//! A download as a profile writes it (options, an address, what follows), taken apart where the address is.

use super::script::BASE_URL;

/// The words of a `kernel` or `initrd` line, spaces between them as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The options.
    pub options: &'a str,
    /// Where the file is.
    pub address: &'a str,
    /// Arguments.
    pub rest: &'a str,
}

impl<'a> Line<'a> {
    /// Takes a line apart. Without an address the options are all there is.
    #[must_use]
    pub(super) fn read(text: &'a str) -> Self {
        let mut takes_value = false;
        for (start, word) in words(text) {
            let is_option = word.starts_with('-') || takes_value;
            if !is_option {
                let end = start + word.len();
                return Self { options: &text[..start], address: word, rest: &text[end..] };
            }
            takes_value = !takes_value && matches!(word, "--name" | "-n" | "--timeout" | "-t");
        }
        Self { options: text, address: "", rest: "" }
    }

    /// Whether the profile says itself how long to wait.
    #[must_use]
    pub(super) fn has_timeout(&self) -> bool {
        let options = self.options.split_whitespace();
        options.into_iter().any(|word| word.starts_with("--timeout") || word.starts_with("-t"))
    }

    /// The path on any of our nodes, with a slash at the start, if the address leads to one of them: it says nothing of a
    /// host, or names `${base_url}`. One that an operator wrote out is left alone.
    #[must_use]
    pub(super) fn own_path(&self) -> Option<String> {
        if let Some(path) = self.address.strip_prefix(BASE_URL) {
            return path.starts_with('/').then(|| path.to_owned());
        }
        let path = self.address;
        if path.starts_with('/') {
            return (!path.starts_with("//")).then(|| path.to_owned());
        }
        // Relative to `/ipxe`. Anything with a colon may have a scheme, and a setting may hold one.
        let first = path.split('/').next().unwrap_or_default();
        (first == "assets" && path.len() > first.len()).then(|| format!("/{path}"))
    }

    /// The name of the asset it leads to, unless the machine fills in a part of it.
    #[must_use]
    pub(super) fn asset(&self) -> Option<String> {
        let path = self.own_path()?;
        let name = path.split(['?', '#']).next()?.strip_prefix("/assets/")?;
        (!name.contains("${")).then(|| name.to_owned())
    }
}

/// Words and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, options: &str, address: &str, rest: &str) {
        assert_eq!(Line::read(text), Line { options, address, rest }, "{text}");
    }

    #[test]
    fn the_address_is_the_first_word_that_belongs_to_no_option() {
        check("/k", "", "/k", "");
        check("/k a=b  c", "", "/k", " a=b  c");
        check("--name main /i x", "--name main ", "/i", " x");
        check("-n -t /i", "-n -t ", "/i", "");
        check("--name=main --timeout 5 http://h/i", "--name=main --timeout 5 ", "http://h/i", "");
        check("--autofree /i", "--autofree ", "/i", "");
        check("--name main", "--name main", "", "");
        check("", "", "", "");
    }

    #[test]
    fn only_addresses_that_leave_the_host_open_are_ours() {
        for (address, want) in [
            ("/assets/k", Some("/assets/k")),
            ("/k?x=${mac}", Some("/k?x=${mac}")),
            ("assets/k", Some("/assets/k")),
            ("${base_url}/assets/k", Some("/assets/k")),
            ("${base_url}", None),
            ("${base_url}x/k", None),
            ("//mirror.test/k", None),
            ("http://mirror.test/assets/k", None),
            ("tftp://192.0.2.1/k", None),
            ("${mirror}/assets/k", None),
            ("vmlinuz", None),
            ("assets", None),
            ("", None),
        ] {
            assert_eq!(Line::read(address).own_path().as_deref(), want, "{address}");
        }
    }

    #[test]
    fn an_asset_is_known_by_its_plain_name() {
        for (address, want) in [
            ("/assets/talos/vmlinuz?v=1", Some("talos/vmlinuz")),
            ("${base_url}/assets/a#b", Some("a")),
            ("/assets/k-${buildarch}", None),
            ("/loaders/k", None),
            ("http://mirror.test/assets/k", None),
        ] {
            assert_eq!(Line::read(address).asset().as_deref(), want, "{address}");
        }
    }
}
