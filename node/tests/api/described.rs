//! The OpenAPI document as tests see it: whether a request, and an answer to it, are as it says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Reply;

/// The document as it is served.
pub(crate) struct Contract {
    pub(crate) document: Value,
    /// The same, with answers that may have no fields but those described.
    closed: Value,
    validators: Mutex<BTreeMap<(bool, String), Arc<Validator>>>,
}

/// One request as the document knows it.
struct Operation<'a> {
    described: &'a Value,
    label: String,
}

/// The document, read once from whichever server is first.
pub(crate) fn contract(read: impl FnOnce() -> Vec<u8>) -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::new(serde_json::from_slice(&read()).expect("the document is JSON")))
}

impl Contract {
    fn new(document: Value) -> Self {
        let mut closed = document.clone();
        close(&mut closed);
        Self { document, closed, validators: Mutex::default() }
    }

    /// What a reference leads to, or the value itself.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(pointer) = value["$ref"].as_str().and_then(|text| text.strip_prefix('#')) else { return value };
        self.document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is nowhere"))
    }

    fn validator(&self, schema: &Value, closed: bool) -> Arc<Validator> {
        let mut schema = schema.clone();
        if closed {
            close(&mut schema);
        }
        let mut known = self.validators.lock().expect("no test panicked here");
        let key = (closed, schema.to_string());
        let built = known.entry(key).or_insert_with(|| {
            let components = if closed { &self.closed } else { &self.document }["components"].clone();
            let whole = json!({"components": components, "allOf": [schema]});
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            Arc::new(options.build(&whole).unwrap_or_else(|error| panic!("{schema}: {error}")))
        });
        built.clone()
    }

    /// What is wrong with a value.
    pub(crate) fn mistakes(&self, schema: &Value, value: &Value, closed: bool) -> Vec<String> {
        let validator = self.validator(schema, closed);
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// The path of the document that a request's path belongs to.
    fn path_of(&self, path: &str) -> Option<(&String, &Value)> {
        let asked: Vec<&str> = path.split('/').collect();
        let paths = self.document["paths"].as_object().expect("there are paths");
        let is_name = |part: &str| part.starts_with('{');
        let fits = |known: &str, with_slashes: bool| {
            let known: Vec<&str> = known.split('/').collect();
            let long = with_slashes && asked.len() > known.len() && known.last().is_some_and(|last| is_name(last));
            let parts = known.iter().zip(&asked);
            (known.len() == asked.len() || long)
                && parts.clone().all(|(known, asked)| is_name(known) && !asked.is_empty() || known == asked)
        };
        // A path without names goes before one with a name in that place.
        let mut found: Vec<_> = paths.iter().filter(|(known, _)| fits(known, false)).collect();
        found.sort_by_key(|(known, _)| known.matches('{').count());
        found.first().copied().or_else(|| paths.iter().find(|(known, _)| fits(known, true)))
    }

    fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let (known, item) = self.path_of(path.split('?').next().unwrap_or_default())?;
        let method = if method == "HEAD" { "GET" } else { method };
        let described = item.get(method.to_lowercase())?;
        Some(Operation { described, label: format!("{method} {known}") })
    }

    /// Panics if the document does not say that a request may be answered like this.
    pub(crate) fn check(&self, method: &str, path: &str, body: &[u8], reply: &Reply) {
        let Some(operation) = self.operation(method, path) else {
            assert!(matches!(reply.status, 404 | 405), "{method} {path} is not in the document: {reply:?}");
            return;
        };
        let Operation { described, label } = &operation;
        let reached = method == "HEAD" || reply.status != 404 || reply.json()["code"] != "no_such_path";
        if !reached {
            return;
        }
        let answer = &described["responses"][reply.status.to_string()];
        assert!(answer.is_object(), "{label}: {} is not in the document: {reply:?}", reply.status);
        let answer = self.resolve(answer);
        self.check_headers(label, answer, reply);
        if method != "HEAD" {
            self.check_content(label, answer, reply);
        }
        if reply.status < 300 {
            self.check_request(label, described, body);
        }
    }

    fn check_headers(&self, label: &str, answer: &Value, reply: &Reply) {
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let header = self.resolve(header);
            let Some(value) = reply.headers.get(name.as_str()) else {
                assert!(header["required"] != true, "{label}: {name} is missing: {reply:?}");
                continue;
            };
            let text = value.to_str().expect("a header of ours");
            let number = text.parse::<u64>().ok().filter(|_| header["schema"]["type"] == "integer");
            let value = number.map_or_else(|| json!(text), |number| json!(number));
            let mistakes = self.mistakes(&header["schema"], &value, true);
            assert!(mistakes.is_empty(), "{label}: {name}: {text}: {mistakes:?}");
        }
        for name in ["etag", "retry-after", "www-authenticate", "x-request-id"] {
            let mut described = answer["headers"].as_object().into_iter().flatten();
            let known = described.any(|(known, _)| known.eq_ignore_ascii_case(name));
            assert!(known || !reply.headers.contains_key(name), "{label}: {name} is not in the document: {reply:?}");
        }
    }

    fn check_content(&self, label: &str, answer: &Value, reply: &Reply) {
        let media_type = reply.header("content-type").split(';').next().unwrap_or_default();
        let described = answer["content"].get(media_type).or_else(|| answer["content"].get("*/*"));
        let described = described.unwrap_or_else(|| panic!("{label}: `{media_type}` is not in the document"));
        // Others are bytes as they are.
        if let Some(schema) = described.get("schema").filter(|_| media_type == "application/json") {
            let value = reply.json();
            let mistakes = self.mistakes(schema, &value, true);
            assert!(mistakes.is_empty(), "{label}: {} {value}\n{}", reply.status, mistakes.join("\n"));
            self.check_code(&value["code"], reply.status);
        }
    }

    /// Codes may be added, and then the document is to say so.
    fn check_code(&self, code: &Value, status: u16) {
        let known = &self.document["components"]["schemas"]["Code"]["x-extensible-enum"];
        let known = known.as_array().expect("a list of codes");
        assert!(status < 400 || known.contains(code), "{code} is not in the document");
    }

    /// What was accepted must be what the document takes.
    fn check_request(&self, label: &str, described: &Value, body: &[u8]) {
        let Some(schema) = described["requestBody"]["content"]["application/json"].get("schema") else { return };
        if body.is_empty() {
            assert!(described["requestBody"]["required"] == false, "{label}: it takes no body too");
            return;
        }
        let value: Value = serde_json::from_slice(body).expect("it was accepted");
        let mistakes = self.mistakes(schema, &value, false);
        assert!(mistakes.is_empty(), "{label} was accepted: {value}\n{}", mistakes.join("\n"));
    }
}

/// Forbids fields that are not described.
fn close(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("properties").is_some_and(Value::is_object) && !members.contains_key("allOf") {
                members.entry("additionalProperties").or_insert(json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
