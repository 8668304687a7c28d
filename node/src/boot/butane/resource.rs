//! Inline contents become data URLs, in the shortest of three forms: escaped, base64, or compressed and base64.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};

use super::value::{Value, text};

/// How much longer the compressed form is where Butane runs: its compressor ends with an empty block. Counted, so that
/// the choice between forms of nearly the same length is Butane's.
const LAST_BLOCK_BYTES: usize = 5;

/// Replaces every `inline` below a value.
pub(super) fn embed(value: &mut Value, generation: u8) {
    match value {
        Value::List(list) => list.iter_mut().for_each(|value| embed(value, generation)),
        Value::Object(members) => {
            members.iter_mut().for_each(|(_, value)| embed(value, generation));
            if let Some(Value::Bytes(contents)) = value.take("inline") {
                embed_in(value, &contents, generation);
            }
        }
        Value::Text(_) | Value::Bytes(_) | Value::Int(_) | Value::Bool(_) => {}
    }
}

fn embed_in(resource: &mut Value, contents: &[u8], generation: u8) {
    // The first generation knew one form only.
    let (source, compression) = if generation == 1 {
        (format!("data:,{}", escape(contents)), None)
    } else {
        data_url(contents, resource.filled("compression").is_some())
    };
    let Value::Object(members) = resource else { return };
    let mut set = |name, member| {
        members.retain(|(key, _)| *key != name);
        members.push((name, member));
    };
    if let Some(compression) = compression {
        set("compression", text(compression));
    }
    set("source", text(source));
    const ORDER: [&str; 4] = ["compression", "http_headers", "source", "verification"];
    members.sort_by_key(|(name, _)| ORDER.iter().position(|ordered| ordered == name));
}

/// A resource that holds nothing but these contents.
pub(super) fn resource(contents: &[u8]) -> Value {
    let mut resource = Value::EMPTY;
    embed_in(&mut resource, contents, 2);
    resource
}

/// The URL, and the compression to name: none if the contents are compressed already, as the config then says itself.
/// Otherwise it is always named, so that a config that this one is merged into cannot add its own.
fn data_url(contents: &[u8], compressed: bool) -> (String, Option<&'static str>) {
    let escaped = format!(",{}", escape(contents));
    let encoded = format!(";base64,{}", STANDARD.encode(contents));
    let shortest = if encoded.len() < escaped.len() { encoded } else { escaped };
    if compressed {
        return (format!("data:{shortest}"), None);
    }
    let gzip = gzip(contents);
    let gzip_length = ";base64,".len() + (gzip.len() + LAST_BLOCK_BYTES).div_ceil(3) * 4;
    if gzip_length + "gzip".len() < shortest.len() {
        return (format!("data:;base64,{}", STANDARD.encode(gzip)), Some("gzip"));
    }
    (format!("data:{shortest}"), Some(""))
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    // No time and no system in the header: the same contents must always give the same config.
    let builder = GzBuilder::new().operating_system(255);
    let mut writer = builder.write(Vec::new(), Compression::best());
    let written = writer.write_all(contents).and_then(|()| writer.finish());
    written.expect("writing to memory cannot fail")
}

fn escape(contents: &[u8]) -> String {
    let mut out = String::with_capacity(contents.len());
    for byte in contents {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_shortest_form_is_taken() {
        for (contents, want, compression) in [
            ("", "data:,", ""),
            ("hello world", "data:,hello%20world", ""),
            ("it's \"q\"~*()!", "data:,it's%20%22q%22~*()!", ""),
            ("a&b=c d/e?f#g%h+i,j;k", "data:;base64,YSZiPWMgZC9lP2YjZyVoK2ksajtr", ""),
            ("žlutý 🌲", "data:;base64,xb5sdXTDvSDwn4yy", ""),
        ] {
            assert_eq!(data_url(contents.as_bytes(), false), (want.to_owned(), Some(compression)), "{contents}");
            assert_eq!(data_url(contents.as_bytes(), true), (want.to_owned(), None), "{contents}");
        }
    }

    #[test]
    fn what_repeats_is_compressed_the_same_way_every_time() {
        let contents = "key=value\n".repeat(30);
        let (url, compression) = data_url(contents.as_bytes(), false);
        assert_eq!(compression, Some("gzip"));
        assert!(url.starts_with("data:;base64,H4sIAAAAAAAC/"), "{url}");
        let packed = STANDARD.decode(url.split_once(',').unwrap().1).unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, contents);
        assert!(data_url(contents.as_bytes(), true).0.starts_with("data:;base64,a2V5"), "not once more");
    }

    #[test]
    fn a_resource_keeps_what_else_it_says() {
        let inline = ("inline", Value::Bytes(b"x".to_vec()));
        let verification = ("verification", Value::Object(vec![("hash", text("h"))]));
        let shown = |members: Vec<(&'static str, Value)>, generation| {
            let mut list = Value::List(vec![Value::Object(members)]);
            embed(&mut list, generation);
            let mut out = String::new();
            list.write(&mut out);
            out
        };
        let gzip = ("compression", text("gzip"));
        for (members, generation, want) in [
            (vec![inline.clone()], 1, r#"[{"source":"data:,x"}]"#),
            (vec![inline.clone()], 2, r#"[{"compression":"","source":"data:,x"}]"#),
            (vec![gzip, inline.clone()], 2, r#"[{"compression":"gzip","source":"data:,x"}]"#),
            (
                vec![("compression", text("")), verification, inline],
                5,
                r#"[{"compression":"","source":"data:,x","verification":{"hash":"h"}}]"#,
            ),
        ] {
            assert_eq!(shown(members, generation), want);
        }
    }
}
