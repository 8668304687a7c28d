//! Random sources and formats: whatever is written, the engine answers, and repeats itself.

use proptest::prelude::*;
use serde_json::json;

use super::{Numbers, OUTPUT_BYTES_MAX, Template, Value, format_number};

/// Pieces that make a source likely to get past the lexer and often past the parser.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    " -}}",
    " ",
    "\n",
    "(",
    ")",
    "|",
    ".",
    ".a",
    ".b.c",
    "$",
    "$x",
    "$x := ",
    "$x = ",
    ", ",
    "{{end}}",
    "{{else}}",
    "{{else if .a}}",
    "{{if .a}}",
    "{{with .b}}",
    "{{range $i, $x := .l}}",
    "{{range .}}",
    "{{range 3}}",
    "{{break}}",
    "{{continue}}",
    "{{define \"t\"}}",
    "{{template \"t\" .}}",
    "{{block \"u\" .l}}",
    "{{/*",
    "*/}}",
    "\"",
    "\"%v %d\"",
    "`",
    "'x'",
    "printf ",
    "index ",
    "slice ",
    "len ",
    "eq ",
    "lt ",
    "and ",
    "or ",
    "not ",
    "html ",
    "js ",
    "print ",
    "1",
    "0x1f",
    "1.5",
    "-",
    "nil ",
    "true ",
    "text",
    "é",
    "{{.a}}",
    "{{printf \"%*d\" 9 8}}",
];

fn data() -> Value {
    Value::read(&json!({"a": "é<", "b": {"c": 1.5, "n": null}, "l": [1, "x", [true], {"k": {}}]}), Numbers::Whole)
}

fn outcome(source: &[u8]) -> Result<Vec<u8>, String> {
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    template.render(&data()).map_err(|error| error.to_string())
}

/// Renders twice; both answers must agree and keep the limit.
fn check(source: &[u8]) -> Result<(), TestCaseError> {
    let first = outcome(source);
    prop_assert_eq!(&first, &outcome(source));
    match first {
        Ok(out) => prop_assert!(out.len() <= OUTPUT_BYTES_MAX),
        Err(error) => prop_assert!(error.starts_with("line "), "{}", error),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(source in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&source)?;
    }

    #[test]
    fn any_pieces_of_the_language_are_answered(source in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        check(source.concat().as_bytes())?;
    }

    #[test]
    fn any_words_of_an_action_are_answered(words in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
        check(format!("{{{{$x := .b}}}}{{{{{}}}}}", words.concat()).as_bytes())?;
    }

    #[test]
    fn any_format_is_answered(
        format in "(%[-+# 0]{0,2}(\\[[0-9x]?\\])?([0-9]{0,3}|\\*)(\\.([0-9]{0,3}|\\*))?[vTtbcdoOqxXUeEfFgGspwz%]?|[aé%]){0,5}",
        number in any::<i64>(),
        fraction in any::<f64>(),
    ) {
        let data = json!({"f": format, "x": fraction, "l": ["a", null, {"k": 1}]});
        let source = format!("{{{{printf .f {number} .x . .l \"é\" nil true}}}}");
        let out = Template::parse(source.as_bytes()).map(|template| template.render(&Value::read(&data, Numbers::Whole)));
        prop_assert!(matches!(out, Ok(Ok(_))), "{:?}", out);
    }

    #[test]
    fn text_without_braces_passes_unchanged(source in "[^{]*") {
        prop_assert_eq!(outcome(source.as_bytes()), Ok(source.into_bytes()));
    }

    #[test]
    fn a_printed_number_reads_back(number in any::<f64>()) {
        prop_assume!(number.is_finite());
        prop_assert_eq!(format_number(number).parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
    }

    #[test]
    fn a_quoted_text_reads_back(text in any::<String>()) {
        let data = Value::read(&json!({"t": text}), Numbers::Whole);
        let quoted = Template::parse(b"{{printf \"%q\" .t}}").unwrap().render(&data).unwrap();
        let source = [b"{{", quoted.as_slice(), b"}}"].concat();
        prop_assert_eq!(outcome(&source), Ok(text.into_bytes()));
    }
}
