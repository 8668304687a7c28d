//! The parsed form of a template.

use bytes::Bytes;

use super::funcs::Func;
use super::value::Value;

/// Where an action stands in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The line of its first byte, from 1.
    pub(super) line: u32,
    /// Its first byte.
    pub(super) start: usize,
    /// The byte behind its last one.
    pub(super) end: usize,
}

/// A sequence of nodes, executed in order.
pub(super) type List = Vec<Node>;

/// One piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// Literal text, and the line it ends on.
    Text(Bytes, u32),
    /// A pipeline whose value is printed, unless it sets a variable.
    Action(Pipe),
    /// `if` with its `else if` arms; the first true one is taken.
    If { arms: Vec<(Pipe, List)>, otherwise: List },
    /// `with` with its `else with` arms; as `if`, but the value becomes the dot.
    With { arms: Vec<(Pipe, List)>, otherwise: List },
    /// `range`: the body once per element, or `otherwise` when there is none.
    Range { pipe: Pipe, body: List, otherwise: List },
    /// `template` or `block`: another template with the pipeline's value as its dot.
    Template { name: Bytes, pipe: Option<Pipe>, span: Span },
    /// Leaves the innermost range.
    Break,
    /// Goes on with the next element of the innermost range.
    Continue,
}

/// Commands, each given the value of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Where the action stands.
    pub(super) span: Span,
    /// The variables it sets, with their `$`.
    pub(super) variables: Vec<Bytes>,
    /// Whether it sets existing variables instead of making new ones.
    pub(super) assigns: bool,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

/// A word and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    /// What is evaluated or called.
    pub(super) word: Operand,
    /// Its arguments.
    pub(super) arguments: Vec<Operand>,
}

/// One word of a command.
#[derive(Debug)]
pub(super) enum Operand {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// A boolean, number or text.
    Literal(Value),
    /// `.a.b`
    Field(Vec<Bytes>),
    /// `$x` with `.a.b` behind it.
    Variable(Bytes, Vec<Bytes>),
    /// A function's name.
    Function(Func),
    /// A pipeline in parentheses.
    Paren(Box<Pipe>),
    /// Any of the two above with `.a.b` behind it.
    Chain(Box<Operand>, Vec<Bytes>),
}

/// Whether a list prints nothing but blanks; such a definition gives way to another of its name.
pub(super) fn is_blank(list: &[Node]) -> bool {
    list.iter().all(|node| matches!(node, Node::Text(text, _) if text.trim_ascii().is_empty()))
}
