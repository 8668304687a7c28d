//! Reads YAML nodes into the fields of a schema as Go's YAML library reads them into a program's.
//!
//! Quirks that configs rest on are kept: what is null in a list is left out, any scalar can be text, `yes` and `on` are
//! booleans where one is wanted, a fraction where an integer is wanted loses its fraction, `<<` merges.

use std::collections::HashSet;

use super::scalar::{Scalar, resolve, shown};
use super::schema::{Field, Kind};
use super::value::Value;
use super::yaml::{Document, NodeId, NodeKind};

/// How many values may be read, those that aliases repeat counted each time.
const VALUES_MAX: usize = 400_000;
/// How many bytes the texts may have together, those that aliases repeat counted each time; as many as a template may
/// give.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// How deep `<<` may lead from map to map.
const MERGE_DEPTH_MAX: usize = 32;

/// One reading of a document.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    document: &'a Document,
    generation: u8,
    way: Vec<Step>,
    unknown: Vec<String>,
    values_left: usize,
    text_left: usize,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Member(&'static str),
    Element(usize),
}

/// A member of a map: its name and the places of both.
type Entry = (String, NodeId, NodeId);

impl<'a> Reader<'a> {
    /// Reads by the fields that a generation knows.
    pub(super) fn new(document: &'a Document, generation: u8) -> Self {
        let (values_left, text_left) = (VALUES_MAX, TEXT_BYTES_MAX);
        Self { document, generation, way: Vec::new(), unknown: Vec::new(), values_left, text_left }
    }

    /// Reads the whole document as one object.
    ///
    /// # Errors
    /// What does not fit, where, and on which line.
    pub(super) fn read(&mut self, schema: &'static [Field]) -> Result<Value, String> {
        let root = self.document.root().map(|root| self.object(schema, root)).transpose()?;
        Ok(root.flatten().unwrap_or(Value::EMPTY))
    }

    /// The fields that were there and that no schema knows, and their lines.
    pub(super) fn unknown(self) -> Vec<String> {
        self.unknown
    }

    /// Reads an object; nothing if it is null.
    fn object(&mut self, schema: &'static [Field], id: NodeId) -> Result<Option<Value>, String> {
        let id = self.visit(id)?;
        match &self.document.node(id).kind {
            NodeKind::Map(_) => {}
            NodeKind::Scalar { .. } if self.scalar(id)? == Scalar::Null => return Ok(None),
            _ => return Err(self.problem(id, "must be a map of fields")),
        }
        let mut entries = Vec::new();
        self.entries(id, &mut entries, &mut HashSet::new(), 0)?;
        let mut members: Vec<Option<Value>> = schema.iter().map(|_| None).collect();
        for (name, key, value) in entries {
            let known = schema.iter().position(|field| field.name == name && field.since <= self.generation);
            let Some(at) = known else {
                let way = self.way_to(&shown(&name));
                self.unknown.push(format!("{way}: unknown field (line {})", self.document.node(key).line));
                continue;
            };
            self.way.push(Step::Member(schema[at].name));
            members[at] = self.value(schema[at].kind, value)?;
            self.way.pop();
        }
        let named = schema.iter().zip(members).filter_map(|(field, member)| Some((field.name, member?)));
        Ok(Some(Value::Object(named.collect())))
    }

    fn value(&mut self, kind: Kind, id: NodeId) -> Result<Option<Value>, String> {
        match kind {
            Kind::Object(schema) => self.object(schema, id),
            Kind::Objects(schema) => self.list(id, |reader, id| reader.object(schema, id)),
            Kind::Texts => self.list(id, |reader, id| reader.single(Kind::Text, id)),
            single => self.single(single, id),
        }
    }

    fn list(
        &mut self,
        id: NodeId,
        mut element: impl FnMut(&mut Self, NodeId) -> Result<Option<Value>, String>,
    ) -> Result<Option<Value>, String> {
        let id = self.visit(id)?;
        let document = self.document;
        match &document.node(id).kind {
            NodeKind::List(elements) => {
                let mut list = Vec::new();
                for (at, id) in elements.iter().enumerate() {
                    self.way.push(Step::Element(at));
                    list.extend(element(self, *id)?);
                    self.way.pop();
                }
                Ok(Some(Value::List(list)))
            }
            NodeKind::Scalar { .. } if self.scalar(id)? == Scalar::Null => Ok(None),
            _ => Err(self.problem(id, "must be a list")),
        }
    }

    fn single(&mut self, kind: Kind, id: NodeId) -> Result<Option<Value>, String> {
        let id = self.visit(id)?;
        let document = self.document;
        let NodeKind::Scalar { value, .. } = &document.node(id).kind else {
            return Err(self.problem(id, "must be a single value"));
        };
        self.text_left = match self.text_left.checked_sub(value.len()) {
            Some(left) => left,
            None => return Err(self.problem(id, &format!("more than {TEXT_BYTES_MAX} bytes of text so far"))),
        };
        Ok(Some(match (kind, self.scalar(id)?) {
            (_, Scalar::Null) => return Ok(None),
            (Kind::OptionalInt | Kind::Int, Scalar::Int(number)) => Value::Int(number),
            (Kind::OptionalInt | Kind::Int, Scalar::Float(number)) if number < i64::MAX as f64 => {
                Value::Int(number as i64)
            }
            (Kind::OptionalInt | Kind::Int, _) => {
                return Err(self.problem(id, &format!("`{}` is no integer", shown(value))));
            }
            (Kind::OptionalBool, Scalar::Bool(truth)) => Value::Bool(truth),
            (Kind::OptionalBool, Scalar::Text) => match value.as_str() {
                "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
                "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
                _ => return Err(self.problem(id, &format!("`{}` is neither true nor false", shown(value)))),
            },
            (Kind::OptionalBool, _) => {
                return Err(self.problem(id, &format!("`{}` is neither true nor false", shown(value))));
            }
            (Kind::Bytes, Scalar::Binary(bytes)) => Value::Bytes(bytes),
            (Kind::Bytes, _) => Value::Bytes(value.as_bytes().to_vec()),
            (_, Scalar::Binary(bytes)) => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
            (_, _) => Value::Text(value.clone()),
        }))
    }

    /// The members of a map and of those that are merged into it, where it does not have them itself.
    fn entries(
        &mut self,
        id: NodeId,
        out: &mut Vec<Entry>,
        seen: &mut HashSet<String>,
        depth: usize,
    ) -> Result<(), String> {
        let id = self.visit(id)?;
        let document = self.document;
        let NodeKind::Map(pairs) = &document.node(id).kind else {
            return Err(self.problem(id, "only maps can be merged with `<<`"));
        };
        if depth > MERGE_DEPTH_MAX {
            return Err(self.problem(id, &format!("`<<` leads through more than {MERGE_DEPTH_MAX} maps")));
        }
        let mut keys = HashSet::with_capacity(pairs.len());
        let mut merged = None;
        for (key, value) in pairs {
            let (name, key_id) = (self.name(*key)?, *key);
            if !keys.insert(name.clone()) {
                return Err(self.problem(key_id, &format!("`{}` is there twice", shown(&name.unwrap_or_default()))));
            }
            match name {
                _ if self.is_merge(key_id) => merged = Some(*value),
                Some(name) if seen.insert(name.clone()) => out.push((name, key_id, *value)),
                _ => {}
            }
        }
        let Some(merged) = merged else { return Ok(()) };
        match &document.node(merged).kind {
            NodeKind::List(list) => list.iter().try_for_each(|id| self.entries(*id, out, seen, depth + 1)),
            _ => self.entries(merged, out, seen, depth + 1),
        }
    }

    /// The name that a key is; none if it is null.
    fn name(&mut self, key: NodeId) -> Result<Option<String>, String> {
        if matches!(&self.document.node(key).kind, NodeKind::Scalar { value, plain: true } if value.is_empty()) {
            return Err(self.problem(key, "there is no name before the colon"));
        }
        let named = self.single(Kind::Text, key)?;
        Ok(named.map(|name| if let Value::Text(name) = name { name } else { String::new() }))
    }

    fn is_merge(&self, key: NodeId) -> bool {
        let node = self.document.node(key);
        matches!(&node.kind, NodeKind::Scalar { value, plain } if value == "<<" && match node.tag.as_deref() {
            Some(tag) => tag == "!!merge",
            None => *plain,
        })
    }

    /// Counts a value, and follows it if it is an alias.
    fn visit(&mut self, id: NodeId) -> Result<NodeId, String> {
        match self.values_left.checked_sub(1) {
            Some(left) => self.values_left = left,
            None => return Err(self.problem(id, &format!("more than {VALUES_MAX} values so far, aliases included"))),
        }
        Ok(self.document.resolved(id))
    }

    fn scalar(&self, id: NodeId) -> Result<Scalar, String> {
        let node = self.document.node(id);
        let NodeKind::Scalar { value, plain } = &node.kind else { return Ok(Scalar::Text) };
        resolve(node.tag.as_deref(), *plain, value).map_err(|problem| self.problem(id, &problem))
    }

    fn problem(&self, id: NodeId, what: &str) -> String {
        let way = self.way_to("");
        let gap = if way.is_empty() { "" } else { ": " };
        format!("{way}{gap}{what} (line {})", self.document.node(id).line)
    }

    fn way_to(&self, name: &str) -> String {
        let mut way = String::new();
        for step in &self.way {
            match step {
                Step::Member(name) => way.extend([if way.is_empty() { "" } else { "." }, name]),
                Step::Element(at) => way.push_str(&format!("[{at}]")),
            }
        }
        if !name.is_empty() && !way.is_empty() {
            way.push('.');
        }
        way + name
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::COREOS;
    use super::*;

    fn read(text: &str, generation: u8) -> (Result<String, String>, Vec<String>) {
        let document = Document::parse(text).expect("the test's own set-up");
        let mut reader = Reader::new(&document, generation);
        let got = reader.read(COREOS).map(|value| {
            let mut out = String::new();
            value.write(&mut out);
            out
        });
        (got, reader.unknown())
    }

    #[test]
    fn nodes_become_fields_as_go_reads_them() {
        for (text, want) in [
            ("passwd: {users: [~, {name: 5, uid: 0x10}, {name: 1.50, system: on}]}", {
                r#"{"passwd":{"users":[{"name":"5","uid":16},{"name":"1.50","system":true}]}}"#
            }),
            ("passwd: ~", "{}"),
            ("passwd: {users: }", "{}"),
            ("variant: &a fcos\nversion: *a", r#"{"variant":"fcos","version":"fcos"}"#),
            (
                "storage: {files: [&f {path: /a, mode: 0644}, {<<: *f, path: /b}]}",
                r#"{"storage":{"files":[{"path":"/a","mode":420},{"path":"/b","mode":420}]}}"#,
            ),
            (
                "storage: {files: [&f {path: /a}, &g {path: /b, mode: 1}, {<<: [*f, *g]}]}",
                r#"{"storage":{"files":[{"path":"/a"},{"path":"/b","mode":1},{"path":"/a","mode":1}]}}"#,
            ),
            ("storage: {files: [{mode: 420.9}]}", r#"{"storage":{"files":[{"mode":420}]}}"#),
            ("version: !!binary aGk=", r#"{"version":"hi"}"#),
            ("? ~\n: x\nversion: 1", r#"{"version":"1"}"#),
            ("variant: \"<<\"", r#"{"variant":"<<"}"#),
        ] {
            assert_eq!(read(text, 7).0.as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_way_and_the_line() {
        for (text, want) in [
            ("- a", "must be a map of fields (line 1)"),
            ("passwd:\n  users: x", "passwd.users: must be a list (line 2)"),
            ("passwd:\n  users:\n  - name: [a]", "passwd.users[0].name: must be a single value (line 3)"),
            ("passwd: {users: [{}, {uid: x}]}", "passwd.users[1].uid: `x` is no integer (line 1)"),
            (
                "passwd: {users: [{system: maybe}]}",
                "passwd.users[0].system: `maybe` is neither true nor false (line 1)",
            ),
            ("storage:\n  files: [{mode: '0644'}]", "storage.files[0].mode: `0644` is no integer (line 2)"),
            ("variant: a\nvariant: b", "`variant` is there twice (line 2)"),
            ("variant: a\n'variant': b", "`variant` is there twice (line 2)"),
            ("<<: 5", "only maps can be merged with `<<` (line 1)"),
            ("&a x: b\n<<: [*a]", "only maps can be merged with `<<` (line 1)"),
            ("? [a]\n: b", "must be a single value (line 1)"),
            ("passwd:\n  : users: []", "passwd: there is no name before the colon (line 2)"),
            ("version: !!int x", "version: `x` does not fit its tag !!int (line 1)"),
            ("&a {<<: *a}", "`<<` leads through more than 32 maps (line 1)"),
        ] {
            assert_eq!(read(text, 7).0, Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn unknown_fields_are_named_and_so_are_those_of_a_later_generation() {
        let text = "x: {y: &c z}\nstorage:\n  luks: []\n  files:\n  - pth: *c\n    contents: {local: a}\n";
        assert_eq!(
            read(text, 2).1,
            [
                "x: unknown field (line 1)",
                "storage.luks: unknown field (line 3)",
                "storage.files[0].pth: unknown field (line 5)"
            ]
        );
        assert_eq!(read(text, 1).1.last().unwrap(), "storage.files[0].contents.local: unknown field (line 6)");
        assert_eq!(read(text, 7).1.len(), 2);
    }

    #[test]
    fn aliases_cannot_grow_a_small_text_without_bound() {
        let many = format!("passwd: {{users: [&a {{groups: [{}]}}{}]}}", "x,".repeat(2000), ",*a".repeat(2000));
        assert!(read(&many, 7).0.unwrap_err().contains("values so far"));
        let long =
            |times| format!("passwd: {{users: [{{groups: [&a {}{}]}}]}}", "x".repeat(1 << 20), ",*a".repeat(times));
        assert!(read(&long(8), 7).0.unwrap_err().contains("more than 8388608 bytes of text so far"));
        assert!(read(&long(6), 7).0.is_ok());
    }

    #[test]
    fn what_a_config_says_is_shown_cut_and_escaped() {
        let long = "é".repeat(500);
        for text in [
            format!("passwd: {{users: [{{uid: {long}}}]}}"),
            format!("passwd: {{users: [{{system: {long}}}]}}"),
            format!("passwd: {{users: [{{system: !!bool {long}}}]}}"),
            format!("{long}: 1\n{long}: 2"),
        ] {
            let told = read(&text, 7).0.unwrap_err();
            assert!(told.contains("é…`") && told.chars().count() < 200, "{told}");
        }
        let told = &read(&format!("{long}: 1"), 7).1[0];
        assert!(told.contains("é…: unknown") && told.chars().count() < 200, "{told}");
        assert!(read("version: !!int \"\\e[2J\"", 7).0.unwrap_err().contains("`\\u{1b}[2J` does not fit"));
        assert_eq!(read("\"a\\nb\": 1", 7).1, ["a\\nb: unknown field (line 1)"]);
    }
}
