//! What a group must satisfy to be stored: its selector, its alternatives and its metadata.

use std::collections::BTreeMap;

use super::condition::{Check as Checked, Label};
use super::objects::Group;
use super::rules::{Alternative, Condition, Test};
use super::validate::{Check, NAME_BYTES_MAX, check_id, refuse};
use super::ways::{WAYS_BYTES_MAX, WAYS_MAX, ways_bytes, ways_len};
use crate::types::Mac;

/// How many labels a selector, or one alternative, asks for.
const SELECTORS_MAX: usize = 64;
/// Size of a group's metadata, in bytes.
const METADATA_BYTES_MAX: usize = 1024 * 1024;
/// How many alternatives a group has.
const ALTERNATIVES_MAX: usize = 64;
/// How many values one test lists.
const VALUES_MAX: usize = 1024;
/// How many patterns or networks one test lists; they are compared one by one.
const PATTERNS_MAX: usize = 64;
/// Length of a pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 128;
/// Size of all labels and values of a group's alternatives together, in bytes.
const RULES_BYTES_MAX: usize = 256 * 1024;

/// Checks a group by itself.
///
/// # Errors
/// The first thing wrong with it.
pub(super) fn check_group(group: &Group) -> Check {
    let object = format!("group/{}", group.id);
    check_id(&object, "id", &group.id)?;
    check_selector(&object, &group.selector)?;
    check_rules(&object, group)?;
    check_metadata(&object, &group.metadata)
}

fn check_selector(object: &str, selector: &BTreeMap<String, String>) -> Check {
    if selector.len() > SELECTORS_MAX {
        let message = format!("{} labels, at most {SELECTORS_MAX}", selector.len());
        return refuse(object, "selector", message, "select by fewer labels");
    }
    for (key, value) in selector {
        let field = format!("selector.{key}");
        if key.len() + value.len() > NAME_BYTES_MAX {
            let message = format!("longer than {NAME_BYTES_MAX} bytes");
            return refuse(object, &field, message, "shorten the label");
        }
        if key.eq_ignore_ascii_case("mac")
            && let Err(error) = value.parse::<Mac>()
        {
            return refuse(object, &field, error.to_string(), "correct the address; no machine could ever match it");
        }
    }
    Ok(())
}

fn check_rules(object: &str, group: &Group) -> Check {
    if group.rules.len() > ALTERNATIVES_MAX {
        let message = format!("{} alternatives, at most {ALTERNATIVES_MAX}", group.rules.len());
        return refuse(
            object,
            "match",
            message,
            "list several values of a label in one alternative, or split the group",
        );
    }
    let mut bytes = 0_usize;
    for (at, alternative) in group.rules.iter().enumerate() {
        check_alternative(object, &format!("match[{at}]"), alternative)?;
        for (name, condition) in alternative {
            let values = condition.iter().flat_map(Test::values).map(String::len);
            bytes += name.len() + values.sum::<usize>();
        }
    }
    if bytes > RULES_BYTES_MAX {
        let message = format!("{bytes} bytes of labels and values, at most {RULES_BYTES_MAX}");
        return refuse(object, "match", message, "split the group");
    }
    let ways = ways_len(group);
    if ways > WAYS_MAX {
        let message = format!("{ways} combinations of exact values, at most {WAYS_MAX}");
        return refuse(object, "match", message, "list fewer values, or split the group");
    }
    let bytes = ways_bytes(group);
    if bytes > WAYS_BYTES_MAX {
        let message = format!(
            "its {ways} combinations of exact values have {bytes} bytes of labels and values, at most {WAYS_BYTES_MAX}"
        );
        let hint = "list fewer or shorter values in `match`, or split the group; labels of `selector` count once for \
                    each combination";
        return refuse(object, "match", message, hint);
    }
    Ok(())
}

fn check_alternative(object: &str, field: &str, alternative: &Alternative) -> Check {
    if alternative.is_empty() {
        return refuse(object, field, "it asks for nothing, so it would match every machine".into(), ASK);
    }
    if alternative.len() > SELECTORS_MAX {
        let message = format!("{} labels, at most {SELECTORS_MAX}", alternative.len());
        return refuse(object, field, message, "select by fewer labels");
    }
    alternative.iter().try_for_each(|(name, condition)| {
        check_condition(object, &format!("{field}.{name}"), &Label::of(name), condition)
    })
}

const ASK: &str = "name a label and what is asked of it, or leave this out";

fn check_condition(object: &str, field: &str, label: &Label, condition: &Condition) -> Check {
    if condition.is_empty() {
        return refuse(object, field, "nothing is asked of this label".into(), ASK);
    }
    for (at, test) in condition.iter().enumerate() {
        let field = format!("{field}.{}", test.name());
        if condition[..at].iter().any(|before| before.name() == test.name()) {
            return refuse(object, &field, "it is there twice".into(), "write one list");
        }
        check_values(object, &field, label, test)?;
        if let Err((at, problem)) = Checked::read(label, test) {
            let hint = "correct it; no machine could ever match it";
            return refuse(object, &format!("{field}[{at}]"), problem, hint);
        }
    }
    Ok(())
}

fn check_values(object: &str, field: &str, label: &Label, test: &Test) -> Check {
    let (count_max, bytes_max) = match test {
        Test::Present(_) => return Ok(()),
        Test::In(_) | Test::NotIn(_) => (VALUES_MAX, NAME_BYTES_MAX.saturating_sub(label.name().len())),
        Test::Glob(_) | Test::NotGlob(_) | Test::Subnet(_) | Test::NotSubnet(_) => (PATTERNS_MAX, PATTERN_BYTES_MAX),
    };
    let values = test.values();
    if values.is_empty() {
        return refuse(object, field, "the list is empty".into(), "write at least one value, or leave it out");
    }
    if values.len() > count_max {
        let message = format!("{} values, at most {count_max}", values.len());
        return refuse(object, field, message, "list fewer, or split the group");
    }
    if label.name().len() > NAME_BYTES_MAX {
        return refuse(object, field, format!("longer than {NAME_BYTES_MAX} bytes"), "shorten the label");
    }
    match values.iter().position(|value| value.len() > bytes_max) {
        Some(at) => {
            let message = format!("{} bytes, at most {bytes_max}", values[at].len());
            refuse(object, &format!("{field}[{at}]"), message, "shorten it")
        }
        None => Ok(()),
    }
}

fn check_metadata(object: &str, metadata: &str) -> Check {
    if metadata.is_empty() {
        return Ok(());
    }
    if metadata.len() > METADATA_BYTES_MAX {
        let message = format!("{} bytes, at most {METADATA_BYTES_MAX}", metadata.len());
        return refuse(object, "metadata", message, "move large values into a template");
    }
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(metadata) {
        Ok(_) => Ok(()),
        Err(error) => {
            refuse(object, "metadata", format!("not a JSON object: {error}"), "write it as {\"key\": value, …}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn rule(label: &str, tests: Vec<Test>) -> Alternative {
        BTreeMap::from([(label.to_owned(), tests)])
    }

    fn many(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    fn field(rules: Vec<Alternative>) -> Option<String> {
        let group = Group { id: "g".into(), rules, ..Group::default() };
        check_group(&group).err().map(|refusal| refusal.field)
    }

    #[test]
    fn a_mistake_is_named_by_its_path() {
        let good = || rule("os", vec![Test::In(texts(&["a"]))]);
        let long = "x".repeat(PATTERN_BYTES_MAX + 1);
        for (bad, want) in [
            (BTreeMap::new(), "match[1]"),
            (rule("os", vec![]), "match[1].os"),
            (rule("os", vec![Test::In(vec![])]), "match[1].os.in"),
            (rule("os", vec![Test::Glob(texts(&["a"])), Test::Glob(texts(&["b"]))]), "match[1].os.glob"),
            (rule("mac", vec![Test::In(texts(&["52:54:00:12:34:56", "zz"]))]), "match[1].mac.in[1]"),
            (rule("MAC", vec![Test::NotIn(texts(&["zz"]))]), "match[1].MAC.not_in[0]"),
            (rule("address", vec![Test::Subnet(texts(&["10.0.0.1/8"]))]), "match[1].address.subnet[0]"),
            (rule("address", vec![Test::In(texts(&["here"]))]), "match[1].address.in[0]"),
            (rule("serial", vec![Test::Glob(texts(&["a", &long]))]), "match[1].serial.glob[1]"),
            (rule("serial", vec![Test::NotGlob(many(PATTERNS_MAX + 1))]), "match[1].serial.not_glob"),
            (rule("serial", vec![Test::NotIn(many(VALUES_MAX + 1))]), "match[1].serial.not_in"),
            (rule(&"x".repeat(NAME_BYTES_MAX), vec![Test::In(texts(&["a"]))]), "in[0]"),
        ] {
            let found = field(vec![good(), bad.clone()]).unwrap_or_else(|| panic!("{bad:?} is taken"));
            assert!(found.ends_with(want) || found.ends_with('…'), "{bad:?}: {found}");
        }
        assert_eq!(field(vec![good()]), None);
        assert_eq!(field(vec![good(); ALTERNATIVES_MAX + 1]).as_deref(), Some("match"));
    }

    #[test]
    fn combinations_are_counted_before_they_are_made() {
        let rules = |labels: usize, values: usize| {
            let named = (0..labels).map(|label| (format!("l{label}"), vec![Test::In(many(values))]));
            vec![named.collect::<Alternative>()]
        };
        assert_eq!(field(rules(1, WAYS_MAX)), None);
        assert_eq!(field(rules(2, 32)), None);
        assert_eq!(field(rules(2, 33)).as_deref(), Some("match"));
        assert_eq!(field(rules(SELECTORS_MAX, 50)).as_deref(), Some("match"), "50^64 of them");
        let large = "v".repeat(NAME_BYTES_MAX - 2);
        let listed = (0..VALUES_MAX / 2).map(|at| format!("{}{at:06}", &large[6..])).collect::<Vec<_>>();
        assert_eq!(field(vec![rule("l", vec![Test::NotIn(listed)])]).as_deref(), Some("match"));
    }
}
