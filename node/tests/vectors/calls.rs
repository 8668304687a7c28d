//! Recorded gRPC calls in order, with HTTP requests between them, and what we answer differently on purpose.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::client::Client as Http;
use super::grpc::Client as Grpc;
use super::world::{Recorded, Report, Text};

/// Calls whose recorded answer we do not give, and why.
const DEVIATIONS: &[(Which, &[i32], &str)] = &[
    (
        Which::Tag("missing-object"),
        &[OK, NOT_FOUND],
        "what does not exist is NotFound, so that a program can tell it from a failure; deleting a config that is gone succeeds",
    ),
    (
        Which::Tag("missing-folder"),
        &[OK, NOT_FOUND],
        "there are no folders that could be missing: a list is empty then",
    ),
    (Which::Call("profiles-put-get-list-delete", "ProfileGet", "noboot"), &[OK], BOOT),
    (Which::Call("put-validation", "ProfileGet", "y"), &[OK], BOOT),
    (Which::Call("group-mac-selectors", "*", "m1"), &[OK], AS_WRITTEN),
    (Which::Call("group-mac-selectors", "*", "m2"), &[OK], AS_WRITTEN),
    (Which::Call("group-mac-selectors", "GroupList", ""), &[OK], AS_WRITTEN),
    (Which::Call("group-mac-selectors", "SelectGroup", ""), &[OK], AS_WRITTEN),
    (Which::Call("group-mac-selectors", "GroupPut", "junk"), &[INVALID_ARGUMENT], JUNK),
    (Which::Call("group-mac-selectors", "GroupGet", "bad"), &[NOT_FOUND], JUNK),
    (
        Which::Call("put-validation", "*", "\"name\":\"\""),
        &[INVALID_ARGUMENT],
        "a config without a name is refused; it could never be fetched",
    ),
    (Which::Call("existing-group-files", "GroupList", ""), &[OK], NAMED),
    (Which::Call("existing-group-files", "GroupGet", "\"hand\""), &[OK], NAMED),
    (Which::Call("existing-group-files", "GroupGet", "\"keys\""), &[OK], NAMED),
    (Which::Call("existing-group-files", "GroupGet", "\"other\""), &[OK], NAMED),
    (Which::Call("existing-group-files", "GroupGet", "\"b"), &[NOT_FOUND], NAMED),
];

const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const NAMED: &str = "a group that was a file is named by that file, and listed once";

const BOOT: &str = "a profile is always shown with its boot message, without which the Terraform provider crashes";
const AS_WRITTEN: &str = "selectors are shown as they were written, or Terraform would plan a change for ever";
const JUNK: &str = "a MAC that is none is refused when it is written, not when the group is read";

enum Which {
    Tag(&'static str),
    /// Scenario, method (`*`: any), and what the request or the expected answer holds.
    Call(&'static str, &'static str, &'static str),
}

#[derive(Deserialize)]
struct File {
    scenarios: Vec<Scenario>,
}

/// Calls from a fresh data directory.
#[derive(Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) files: BTreeMap<String, Text>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Call {
        call: String,
        request: Value,
        #[serde(default)]
        tags: Vec<String>,
        expect: Expected,
    },
    Http {
        http: Recorded,
    },
}

#[derive(Deserialize)]
struct Expected {
    code: i32,
    message: Option<String>,
    response: Option<Value>,
}

/// All scenarios.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/grpc.json");
    let file: File = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    file.scenarios
}

/// Why we answer calls differently on purpose.
pub(crate) fn deviations() -> impl Iterator<Item = &'static str> {
    DEVIATIONS.iter().map(|(.., reason)| *reason)
}

/// Makes all calls of a scenario.
pub(crate) fn play(scenario: &Scenario, grpc: &mut Grpc, http: &mut Http, report: &mut Report) {
    let topic = format!("grpc: {}", scenario.name);
    for step in &scenario.steps {
        match step {
            Step::Http { http: recorded } => report.note(&topic, "http", None, &recorded.ask(http)),
            Step::Call { call, request, tags, expect } => {
                let answer = grpc.call(call, request);
                let mut differences = Vec::new();
                if answer.code != expect.code {
                    differences.push(format!("code {} ({}), expected {}", answer.code, answer.message, expect.code));
                }
                if expect.message.as_ref().is_some_and(|want| *want != answer.message) {
                    differences.push(format!("message {:?}, expected {:?}", answer.message, expect.message));
                }
                if expect.response.is_some() && expect.response != answer.response {
                    differences.push(format!("got {:?}, expected {:?}", answer.response, expect.response));
                }
                let name = format!("{}: {call} {request}", scenario.name);
                let listed = deviation(&scenario.name, call, request, tags, answer.code);
                let listed = listed.filter(|_| !differences.is_empty());
                report.note(&topic, &name, listed, &differences);
            }
        }
    }
}

/// Why a call may be answered with another code or content than was recorded, if it is answered with one that is listed.
fn deviation(scenario: &str, call: &str, request: &Value, tags: &[String], code: i32) -> Option<&'static str> {
    let text = request.to_string();
    let listed = DEVIATIONS.iter().find(|(which, ..)| match which {
        Which::Tag(tag) => tags.iter().any(|have| have == tag),
        Which::Call(name, method, holds) => {
            scenario == *name && (*method == "*" || call.ends_with(&format!("/{method}"))) && text.contains(holds)
        }
    });
    listed.filter(|(_, codes, _)| codes.contains(&code)).map(|(.., reason)| *reason)
}
