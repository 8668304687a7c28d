//! Whatever the network sends, the deciding parts answer; they never panic and never leave their bounds.

use http::{HeaderMap, HeaderValue, Method, header};
use proptest::prelude::*;
use raft::state::{NetBoot, ScriptStyle};

use super::content::{self, Meta, Part, Range};
use super::labels::{LABELS_MAX, Labels};
use super::path::{self, Cleaned};
use super::script::{self, Extras};
use super::{date, sniff};

fn within(range: Range, size: u64) -> bool {
    range.start.checked_add(range.length).is_some_and(|end| end <= size)
}

proptest! {
    #[test]
    fn any_query_reads_as_bounded_labels(query in "[a-cM%&=;+0-9:\\-\u{0}-\u{ff}]{0,200}") {
        let labels = Labels::parse(&query);
        prop_assert!(labels.map.len() <= LABELS_MAX);
        for key in ["uuid", "serial", "a"] {
            prop_assert!(!labels.recordable(key).chars().any(char::is_control));
        }
    }

    #[test]
    fn a_redirect_leads_to_a_path_that_is_clean(raw in "/[a%./2eEfF\\-]{0,40}") {
        if let Cleaned::Redirect(to) = path::clean(&raw) {
            prop_assert!(!to.starts_with("//"), "{to} would lead to another host");
            prop_assert!(matches!(path::clean(&to), Cleaned::Clean(_)), "{raw} -> {to}");
        }
        prop_assert!(!path::below(&raw).split('/').any(|part| part == ".."));
    }

    #[test]
    fn ranges_never_leave_the_content(range in "bytes=[0-9,\\- ]{0,30}", size in 0..2000_u64) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(&range).unwrap());
        match content::decide(&Method::GET, &headers, Meta { size, etag: "\"e\"", modified: Some(1) }) {
            Part::One(range) => prop_assert!(within(range, size)),
            Part::Many(ranges) => {
                prop_assert!(ranges.iter().all(|range| within(*range, size)));
                prop_assert!(ranges.iter().map(|range| range.length).sum::<u64>() <= size);
            }
            Part::Whole | Part::Status(_) | Part::Unsatisfiable { .. } => {}
        }
    }

    #[test]
    fn conditions_of_any_kind_are_answered(value in "[\"W/*, a-c\\-]{0,20}", name in 0..4_usize) {
        let names = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_RANGE, header::IF_MODIFIED_SINCE];
        let mut headers = HeaderMap::new();
        headers.insert(names[name].clone(), HeaderValue::from_str(&value).unwrap());
        let _ = content::decide(&Method::GET, &headers, Meta { size: 1, etag: "\"a\"", modified: Some(1) });
    }

    #[test]
    fn any_text_is_a_date_or_none(text in "[A-Za-z0-9:, \\-]{0,40}") {
        let _ = date::parse(&text);
    }

    #[test]
    fn any_bytes_have_a_type(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(sniff::sniff(&bytes).contains('/'));
    }

    #[test]
    fn a_script_has_as_many_lines_as_its_profile_asks_for(initrds in prop::collection::vec("[ a-z/=\\-]{0,12}", 0..4)) {
        let named = initrds.iter().filter(|line| !line.trim().is_empty()).count();
        let boot = NetBoot { kernel: "/k".into(), initrd: initrds, args: Vec::new() };
        let several = ["http://192.0.2.1:8080".to_owned(), "http://192.0.2.2:8080".to_owned()];
        let text = script::ipxe(ScriptStyle::Robust, &boot, Extras { nodes: &several, ..Extras::default() });
        prop_assert_eq!(text.lines().filter(|line| line.starts_with("initrd ")).count(), named);
        let kernel = text.lines().find(|line| line.starts_with("kernel ")).unwrap();
        prop_assert_eq!(kernel.matches(" initrd=").count(), named, "{}", text);
    }
}
