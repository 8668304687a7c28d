//! The first document of a YAML text as nodes, each of which knows its line.
//!
//! Scalars are kept as they are written; what they mean is for [`super::scalar`] to say. Aliases stay references, so
//! that a small text cannot grow large here. Two things are read as libyaml reads them, on which Go's library rests: a
//! quoted text may go on at any indentation, as it does when a template puts a text of several lines between quotes,
//! and a block of text that ends with the file has no line break that the file does not have.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, Span, Tag};

/// How many nodes a document may have.
const NODES_MAX: usize = 500_000;
/// How many bytes may be read again, each time that a quoted text has been indented.
const REREAD_BYTES_MAX: usize = 32 << 20;
/// How far a quoted text is indented at most.
const INDENT_MAX: usize = 256;

/// One document.
#[derive(Debug)]
pub(super) struct Document {
    nodes: Vec<Node>,
}

/// The place of a node in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeId(usize);

/// A node and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Its explicit tag, such as `!!int`; none for `!`.
    pub(super) tag: Option<String>,
    /// What it is.
    pub(super) kind: NodeKind,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum NodeKind {
    Scalar { value: String, plain: bool },
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
    Alias(NodeId),
}

impl Document {
    /// Reads the first document; what follows it is not looked at. An empty text holds nothing.
    ///
    /// # Errors
    /// What is no YAML, and on which line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(at) = text.find(is_control) {
            let line = text[..at].matches('\n').count() + 1;
            let letter = text[at..].chars().next().unwrap_or_default();
            return Err(format!("line {line}: `{}` is not allowed in YAML", letter.escape_unicode()));
        }
        let mut text = Cow::Borrowed(text);
        let mut bytes_left = REREAD_BYTES_MAX;
        loop {
            let failure = match Builder::default().build(&text) {
                Ok(nodes) => return Ok(Self { nodes }),
                Err(failure) => failure,
            };
            let indented = failure.quoted_line.map(|line| indented(&text, line, bytes_left));
            let Some(Some(indented)) = indented else { return Err(format!("line {}: {}", failure.line, failure.what)) };
            bytes_left -= indented.len();
            text = Cow::Owned(indented);
        }
    }

    /// The node that holds all others.
    pub(super) fn root(&self) -> Option<NodeId> {
        (!self.nodes.is_empty()).then_some(NodeId(0))
    }

    /// The node at a place.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The node at a place, or the one that an alias stands for.
    pub(super) fn resolved(&self, id: NodeId) -> NodeId {
        match self.node(id).kind {
            // An alias cannot be anchored, so that it never stands for another one.
            NodeKind::Alias(target) => target,
            _ => id,
        }
    }
}

/// Indents the lines of a quoted text, which means nothing inside of quotes: from `line` to the next one in which the
/// quote may end. Nothing if that would be more than `bytes_max` altogether.
fn indented(text: &str, line: usize, bytes_max: usize) -> Option<String> {
    let indent = |line: &str| line.bytes().take_while(|byte| b" -?:".contains(byte)).count();
    let wide = text.split('\n').take(line).map(indent).max()?.min(INDENT_MAX) + 1;
    let quoted = text.split('\n').skip(line - 1).position(|line| line.contains(['"', '\''])).map_or(1, |at| at + 1);
    if text.len() + quoted * wide > bytes_max {
        return None;
    }
    let mut out = String::with_capacity(text.len() + quoted * wide);
    for (at, content) in text.split('\n').enumerate() {
        out.push_str(if at == 0 { "" } else { "\n" });
        if (line..line + quoted).contains(&(at + 1)) {
            out.push_str(&" ".repeat(wide));
        }
        out.push_str(content);
    }
    Some(out)
}

/// What Go's YAML reader calls a control character, and a byte order mark that is not at the beginning.
fn is_control(letter: char) -> bool {
    let allowed = matches!(letter, '\t' | '\n' | '\r' | '\u{85}' | '\u{a0}'..);
    letter == '\u{feff}' || matches!(letter, '\u{fffe}' | '\u{ffff}') || !allowed && !(' '..='~').contains(&letter)
}

/// Why a document could not be built.
struct Failure {
    line: usize,
    what: String,
    /// A line inside of quotes that is not indented enough, if it is only that.
    quoted_line: Option<usize>,
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    /// Lists and maps that are not yet closed; maps with a key that waits for its value.
    open: Vec<(NodeId, Option<NodeId>)>,
    anchors: HashMap<usize, NodeId>,
}

impl Builder {
    fn build(mut self, text: &str) -> Result<Vec<Node>, Failure> {
        let mut options = Options::default();
        options.set_emit_comments(false);
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| {
                let line = error.marker().line();
                let unindented =
                    matches!(error.kind(), ErrorKind::InvalidQuotedScalarIndent | ErrorKind::TabInIndentation);
                Failure { line, what: error.info(), quoted_line: unindented.then_some(line) }
            })?;
            if event == Event::DocumentEnd {
                break;
            }
            let line = span.start.line();
            self.take(text, event, span).map_err(|what| Failure { line, what, quoted_line: None })?;
        }
        Ok(self.nodes)
    }

    fn take(&mut self, text: &str, event: Event<'_>, span: Span) -> Result<(), String> {
        let line = span.start.line();
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                // What is not there at all comes as `~`.
                let absent = style == ScalarStyle::Plain && span.start.index() == span.end.index();
                let mut value = if absent { String::new() } else { value.into_owned() };
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && ends_text(text, span) {
                    value.truncate(value.strip_suffix('\n').unwrap_or(&value).len());
                }
                self.add(line, NodeKind::Scalar { value, plain: style == ScalarStyle::Plain }, anchor, tag.as_deref())?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                let id = self.add(line, NodeKind::List(Vec::new()), anchor, tag.as_deref())?;
                self.open.push((id, None));
            }
            Event::MappingStart(_, anchor, tag) => {
                let id = self.add(line, NodeKind::Map(Vec::new()), anchor, tag.as_deref())?;
                self.open.push((id, None));
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).copied().ok_or("an alias of nothing")?;
                self.add(line, NodeKind::Alias(target), 0, None)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, line: usize, kind: NodeKind, anchor: usize, tag: Option<&Tag>) -> Result<NodeId, String> {
        if self.nodes.len() == NODES_MAX {
            return Err(format!("more than {NODES_MAX} values"));
        }
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { line, tag: tag.and_then(short_tag), kind });
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        if let Some((parent, key)) = self.open.last_mut() {
            match (&mut self.nodes[parent.0].kind, key.take()) {
                (NodeKind::List(list), _) => list.push(id),
                (NodeKind::Map(entries), Some(key)) => entries.push((key, id)),
                _ => *key = Some(id),
            }
        }
        Ok(id)
    }
}

/// Whether the last line of the text has no line break and belongs to this scalar.
fn ends_text(text: &str, span: Span) -> bool {
    let last = text.rsplit('\n').next().unwrap_or_default();
    span.end.byte_offset() == Some(text.len()) && !last.ends_with('\r') && !last.trim().is_empty()
}

fn short_tag(tag: &Tag) -> Option<String> {
    let (handle, suffix) = tag.parts();
    let whole = format!("{handle}{suffix}");
    match whole.strip_prefix("tag:yaml.org,2002:") {
        Some(name) => Some(format!("!!{name}")),
        None if whole == "!" => None,
        None => Some(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes nodes so that a test can name them: lines, tags, and quotes only where they were.
    fn shown(document: &Document, id: NodeId) -> String {
        let node = document.node(id);
        let tag = node.tag.as_deref().map(|tag| format!("{tag} ")).unwrap_or_default();
        let shown = match &node.kind {
            NodeKind::Scalar { value, plain: true } => value.to_string(),
            NodeKind::Scalar { value, plain: false } => format!("{value:?}"),
            NodeKind::List(list) => {
                format!("[{}]", list.iter().map(|id| shown(document, *id)).collect::<Vec<_>>().join(" "))
            }
            NodeKind::Map(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| format!("{}:{}", shown(document, *key), shown(document, *value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
            NodeKind::Alias(target) => format!("*{}", document.node(*target).line),
        };
        format!("{tag}{shown}")
    }

    #[test]
    fn texts_become_nodes_and_problems_have_a_line() {
        for (text, want) in [
            ("a: b", "{a:b}"),
            ("\u{feff}a: [b, 'c', \"d\"]\r\n", "{a:[b \"c\" \"d\"]}"),
            ("a: !!int '5'\nb: !x {}\nc: ! d", "{a:!!int \"5\" b:!x {} c:d}"),
            ("a: &x {b: c}\n\nd: *x", "{a:{b:c} d:*1}"),
            ("? [a]\n: b", "{[a]:b}"),
            ("a: |\n  b\n", "{a:\"b\\n\"}"),
            ("a: |\n  b\n  c", "{a:\"b\\nc\"}"),
            ("a:\n: b\nc: !!str\nd: ~", "{a: :b c:!!str  d:~}"),
            ("a: >\n  b\n  c", "{a:\"b c\"}"),
            ("a: |+\n  b\n ", "{a:\"b\\n\"}"),
            ("a: |\n  b\n# c", "{a:\"b\\n\"}"),
            ("a:\n  b: \"x\ny\n\nz'\n\" # c\nd: e", "{a:{b:\"x y\\nz' \"} d:e}"),
            ("- - a: 'x\n\ty\n z'\n- b", "[[{a:\"x y z\"}] b]"),
            ("a: b\n---\n]broken", "{a:b}"),
            ("---\na: b\n...\n", "{a:b}"),
            ("# nothing", ""),
            ("", ""),
            ("a: b\nc: d: e", "! line 2"),
            ("a: [b", "! line 1"),
            ("\n\u{1}", "! line 2"),
            ("a: *x", "! line 1"),
            ("a\u{feff}", "! line 1"),
        ] {
            let got = match Document::parse(text) {
                Ok(document) => document.root().map(|root| shown(&document, root)).unwrap_or_default(),
                Err(problem) => format!("! {problem}"),
            };
            assert!(if want.starts_with('!') { got.starts_with(want) } else { got == want }, "{text:?}: {got}");
        }
    }

    #[test]
    fn quoted_texts_are_indented_a_bounded_number_of_times() {
        let quoted = "a: 'x\n".to_owned() + &"it''s\n".repeat(40) + "'";
        assert!(Document::parse(&quoted).is_ok());
        let filler = format!("b: {}\n", "x".repeat(4 << 20));
        assert!(Document::parse(&(filler + &quoted)).is_err());
    }

    #[test]
    fn a_document_has_a_bounded_number_of_nodes() {
        let problem = Document::parse(&format!("[{}]", "a,".repeat(NODES_MAX))).unwrap_err();
        assert!(problem.contains("more than"), "{problem}");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Document::parse(&deep).is_err());
    }
}
