//! The alerts and the dashboard name only what there is, and each alert says what to do and has a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use raftboot::metrics::{FAMILIES, Kind};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Names of our metrics in an expression.
fn names(expression: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let words = expression.split(|letter: char| !is_part(letter));
    words.filter(|word| word.starts_with("raftboot_") || word.starts_with("process_")).collect()
}

#[track_caller]
fn exists(name: &str) {
    let found = FAMILIES.iter().any(|family| {
        let histogram = family.kind == Kind::Histogram;
        let mut of_it = ["_bucket", "_sum", "_count"].iter().filter_map(|ending| name.strip_suffix(ending));
        (family.name == name && !histogram) || (histogram && of_it.any(|bare| bare == family.name))
    });
    assert!(found, "there is no metric {name}");
}

fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("docs/operate/alerts.yml")).expect("YAML");
    let groups = file["groups"].as_array().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("`{name}` is missing: {value}"))
}

#[test]
fn alerts_name_metrics_that_exist_and_say_what_to_do() {
    let rules = rules();
    assert!(rules.len() > 15, "{}", rules.len());
    let page = read("docs/reference/metrics.md");
    for rule in &rules {
        let alert = text(rule, "alert");
        for name in names(text(rule, "expr")) {
            exists(name);
        }
        let annotations = &rule["annotations"];
        for field in ["summary", "description"] {
            assert!(text(annotations, field).len() > 15, "{alert}: {field}");
        }
        assert!(["critical", "warning", "info"].contains(&text(&rule["labels"], "severity")), "{alert}");
        leads_somewhere(alert, text(annotations, "runbook_url"));
        assert!(page.contains(&format!("`{alert}`")), "the reference page does not explain {alert}");
    }
}

fn leads_somewhere(alert: &str, url: &str) {
    let (file, heading) = url.split_once('#').unwrap_or((url, ""));
    let text = read(file);
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|letter| letter.is_alphanumeric() || *letter == '-').collect::<String>()
    };
    let found = heading.is_empty() || text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
    assert!(found, "{alert}: {url} has no such heading");
}

#[test]
fn every_alert_has_a_state_in_which_it_fires() {
    let file: Value = serde_saphyr::from_str(&read("docs/operate/alerts_test.yml")).expect("YAML");
    let tests = file["tests"].as_array().expect("tests").clone();
    let mut fires: BTreeMap<String, usize> = BTreeMap::new();
    for test in &tests {
        for series in test["input_series"].as_array().expect("series") {
            for name in names(text(series, "series")) {
                exists(name);
            }
        }
        for asked in test["promql_expr_test"].as_array().expect("questions") {
            for sample in asked["exp_samples"].as_array().expect("samples") {
                *fires.entry(text(sample, "labels").to_owned()).or_default() += 1;
            }
        }
    }
    for rule in rules() {
        let labels = format!("{{alertname=\"{}\"}}", text(&rule, "alert"));
        assert!(fires.contains_key(&labels), "no test lets {labels} fire");
    }
    let quiet = tests.iter().filter(|test| test["promql_expr_test"][0]["exp_samples"] == Value::Array(Vec::new()));
    assert!(quiet.count() >= 4, "states that are no fault are tested too");
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    let board: Value = serde_json::from_str(&read("docs/operate/dashboard.json")).expect("JSON");
    let mut seen = 0;
    for panel in board["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = text(target, "expr");
            let named = names(expression);
            assert!(!named.is_empty(), "{expression}");
            named.into_iter().for_each(exists);
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
    for note in board["annotations"]["list"].as_array().expect("annotations") {
        names(text(note, "expr")).into_iter().for_each(exists);
    }
}
