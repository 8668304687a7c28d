//! Behaviour of the engine, as text cases in `cases/` and as tests of the data map and its bounds.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Numbers, SOURCE_BYTES_MAX, Template, Value, data, env_file, format_number};

fn render(source: &[u8], data: &Value) -> Result<Vec<u8>, String> {
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    template.render(data).map_err(|error| error.to_string())
}

/// Plays a file of cases: `=== name`, the template, `---`, the output or `! ` and a part of the error.
fn check(cases: &str) {
    let json: serde_json::Value = serde_json::from_str(include_str!("cases/data.json")).unwrap();
    let data = Value::read(&json, Numbers::Floats);
    let mut played = 0;
    let mut wrong = Vec::new();
    for case in cases.split("=== ").skip(1) {
        let (name, case) = case.split_once('\n').unwrap();
        let (source, wanted) = case.split_once("\n---\n").unwrap();
        let wanted = wanted.strip_suffix('\n').unwrap();
        let got = match render(source.as_bytes(), &data) {
            Ok(out) => String::from_utf8(out).unwrap(),
            Err(error) => format!("! {error}"),
        };
        let good = match wanted.strip_prefix("! ") {
            Some(part) => got.starts_with("! ") && got.contains(part),
            None => got == wanted,
        };
        if !good {
            wrong.push(format!("{name}\n  wanted {wanted}\n  got    {got}"));
        }
        played += 1;
    }
    assert!(played > 10, "the file of cases was read");
    assert!(wrong.is_empty(), "{} of {played} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn blocks_variables_and_definitions_run_as_in_go() {
    check(include_str!("cases/blocks.txt"));
}

#[test]
fn values_and_functions_answer_as_in_go() {
    check(include_str!("cases/values.txt"));
}

#[test]
fn printf_prints_as_in_go() {
    check(include_str!("cases/printf.txt"));
}

#[test]
fn mistakes_are_named_with_a_remedy() {
    check(include_str!("cases/mistakes.txt"));
}

#[test]
fn bytes_that_are_not_utf8_pass_through_text_and_raw_quotes() {
    let out = render(b"\xff{{`\xfe`}}{{\"\xfd\"}}\x00", &Value::Nil).unwrap();
    assert_eq!(out, b"\xff\xfe\xef\xbf\xbd\x00");
}

#[test]
fn a_parsed_template_is_shared_between_threads() {
    fn assert_shareable<T: Send + Sync + 'static>() {}
    assert_shareable::<Template>();
    assert_shareable::<Value>();
}

#[test]
fn a_source_beyond_the_limit_is_refused() {
    let error = Template::parse(&vec![b'x'; SOURCE_BYTES_MAX + 1]).unwrap_err();
    assert!(error.problem().contains("longer than 4194304 bytes"));
    assert!(Template::parse(&vec![b'x'; SOURCE_BYTES_MAX]).is_ok());
}

#[test]
fn a_source_with_too_many_pieces_is_refused() {
    let nodes = Template::parse(&b"{{1}}".repeat(200_001)).unwrap_err();
    assert!(nodes.problem().contains("more than 200000 texts and actions"), "{nodes}");
    let words = format!("{{{{print {}}}}}", "1 ".repeat(400_001));
    let words = Template::parse(words.as_bytes()).unwrap_err();
    assert!(words.problem().contains("more than 400000 words"), "{words}");
}

#[test]
fn nesting_beyond_the_limits_is_refused() {
    let nested = |depth| [b"{{if 1}}".repeat(depth), b"{{end}}".repeat(depth)].concat();
    assert!(Template::parse(&nested(100)).unwrap().render(&Value::Nil).is_ok());
    assert!(Template::parse(&nested(101)).unwrap_err().problem().contains("more than 100 deep"));
    let parens = |depth| format!("{{{{{}1{}}}}}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(render(parens(50).as_bytes(), &Value::Nil).unwrap(), b"1");
    assert!(render(parens(51).as_bytes(), &Value::Nil).unwrap_err().contains("more than 50 deep"));
}

#[test]
fn a_long_chain_of_else_if_is_no_nesting() {
    let chain = format!("{{{{if 0}}}}{}{{{{else}}}}last{{{{end}}}}", "{{else if 0}}x".repeat(5_000));
    assert_eq!(render(chain.as_bytes(), &Value::Nil).unwrap(), b"last");
}

#[test]
fn the_deepest_template_fits_half_the_stack_of_a_worker_thread() {
    let parens = format!("{}1{}", "(print ".repeat(50), ")".repeat(50));
    let body = format!(
        "{{{{with 1}}}}{{{{range 1}}}}{{{{if {parens}}}}}{{{{template \"t\" .}}}}{{{{end}}}}{{{{end}}}}{{{{end}}}}"
    );
    let recursion = format!("{{{{define \"t\"}}}}{body}{{{{end}}}}{{{{template \"t\"}}}}");
    let nesting = format!("{}{{{{{parens}}}}}{}", "{{if 1}}".repeat(100), "{{end}}".repeat(100));
    let run = move || (render(recursion.as_bytes(), &Value::Nil), render(nesting.as_bytes(), &Value::Nil));
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    let (recursion, nesting) = thread.join().unwrap();
    assert!(recursion.unwrap_err().contains("more than 250 deep"));
    assert_eq!(nesting, Ok(b"1".to_vec()));
}

fn selector(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn selectors_override_metadata_and_the_request_overrides_both() {
    let metadata = json!({"region": "meta", "Region": "kept", "request": {"x": 1}});
    let labels = [("Region", "north"), ("x", "1"), ("x", "2")];
    let data = data(
        metadata.as_object(),
        Numbers::Floats,
        &selector(&[("REGION", "north"), ("request", "no")]),
        labels,
        "Region=north&x=1&x=2",
    );
    let source = b"{{.region}} {{.Region}} {{.request.query.Region}} {{.request.query.x}} {{.request.raw_query}} [{{index .request.query \"y\"}}] {{.request.query | printf \"%T\"}}";
    let out = String::from_utf8(render(source, &data).unwrap()).unwrap();
    assert_eq!(out, "north kept north 1 Region=north&x=1&x=2 [] map[string]string");
    let absent = render(b"{{.request.query.y}}", &data).unwrap_err();
    assert!(absent.contains("write index .request.query \"y\""), "{absent}");
}

#[test]
fn the_data_of_a_group_without_metadata_is_the_request_and_its_selectors() {
    let data =
        data(None, Numbers::Floats, &selector(&[("mac", "0a:00:27:00:00:0f")]), Vec::<(Vec<u8>, Vec<u8>)>::new(), "");
    assert_eq!(env_file(&data), b"MAC=0a:00:27:00:00:0f\nREQUEST_RAW_QUERY=\n");
}

#[test]
fn env_lines_are_sorted_and_leave_out_lists_and_nulls() {
    let metadata = json!({
        "name": "spruce", "ok": true, "port": 6443, "big": 12345678, "nil": null, "list": [1], "empty": "", "e": {},
        "obj": {"in-ner": {"deep": 0.5, "l": []}, "": "x"}, "a_b": "flat", "A": {"b": "nested"}, "straße": "ß"
    });
    let data = data(metadata.as_object(), Numbers::Floats, &BTreeMap::new(), [("k", "v")], "k=v");
    let wanted = "A_B=flat\nA_B=nested\nBIG=1.2345678e+07\nEMPTY=\nNAME=spruce\nOBJ_=x\nOBJ_IN-NER_DEEP=0.5\nOK=true\n\
                  PORT=6443\nREQUEST_QUERY_K=v\nREQUEST_RAW_QUERY=k=v\nSTRAßE=ß\n";
    assert_eq!(String::from_utf8(env_file(&data)).unwrap(), wanted);
}

#[test]
fn whole_numbers_stay_what_they_are_and_are_floats_too_where_a_template_wants_one() {
    let metadata = json!({"port": 6443, "mtu": 1_000_000, "id": 9_007_199_254_740_993_u64, "load": 0.5, "l": ["a", "b"], "one": 1});
    let data = data(metadata.as_object(), Numbers::Whole, &BTreeMap::new(), [("k", "v")], "");
    for (source, wanted) in [
        ("{{.mtu}} {{.id}} {{.load}}", "1000000 9007199254740993 0.5"),
        ("{{printf \"%d %v %.0f %g %x\" .mtu .mtu .mtu .mtu .port}}", "1000000 1000000 1000000 1e+06 192b"),
        (
            "{{if eq .port 6443}}a{{end}}{{if eq .port 6443.0}}b{{end}}{{if lt .port 7000}}c{{end}}{{if gt .port .load}}d{{end}}",
            "abcd",
        ),
        ("{{if eq .id 9007199254740992}}same{{else}}another{{end}}", "another"),
        ("{{index .l .one}} {{range .one}}x{{end}}", "b x"),
    ] {
        assert_eq!(String::from_utf8(render(source.as_bytes(), &data).unwrap()).unwrap(), wanted, "{source}");
    }
    let lines = String::from_utf8(env_file(&data)).unwrap();
    assert!(lines.contains("MTU=1000000\n") && lines.contains("ID=9007199254740993\n"), "{lines}");
}

#[test]
fn env_keys_change_case_one_character_at_a_time() {
    let metadata = json!({"ŉ": 1, "ﬁ": 2, "ı": 3, "ǆ": 4, "σς": 5, "ᾳ": 6, "ΐ": 7});
    let data = data(metadata.as_object(), Numbers::Floats, &BTreeMap::new(), [(b"\xff\xc3", b"\xfe")], "");
    let out = env_file(&data);
    let wanted = ["I=3\n", "REQUEST_QUERY_\u{fffd}\u{fffd}=", "ŉ=1\n", "Ǆ=4\n", "ΐ=7\n", "ΣΣ=5\n", "ᾼ=6\n", "ﬁ=2\n"];
    for part in wanted {
        assert!(out.windows(part.len()).any(|window| window == part.as_bytes()), "{part}");
    }
    assert!(out.windows(3).any(|window| window == b"=\xfe\n"), "values pass unchanged");
}

#[test]
fn selector_keys_are_lowered_one_character_at_a_time() {
    let data = data(None, Numbers::Floats, &selector(&[("İX", "1")]), Vec::<(Vec<u8>, Vec<u8>)>::new(), "");
    assert_eq!(env_file(&data), b"IX=1\nREQUEST_RAW_QUERY=\n");
}

#[test]
fn numbers_print_in_the_shortest_form() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0"),
        (42.0, "42"),
        (999_999.0, "999999"),
        (1e6, "1e+06"),
        (1_000_001.0, "1.000001e+06"),
        (12_345_678.0, "1.2345678e+07"),
        (9_007_199_254_740_992.0, "9.007199254740992e+15"),
        (1e21, "1e+21"),
        (123_456.789, "123456.789"),
        (0.000_1, "0.0001"),
        (0.000_01, "1e-05"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "+Inf"),
        (f64::NAN, "NaN"),
    ];
    for (number, wanted) in cases {
        assert_eq!(format_number(number), wanted);
    }
}
