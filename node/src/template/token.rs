//! What a template's source is cut into.

use super::ast::Span;
use super::value::Value;

/// A stretch of the source.
pub(super) enum Piece<'s> {
    /// Text that is printed as it is, blanks trimmed where markers ask for it.
    Text(&'s [u8]),
    /// What stands between a pair of braces; comments are not reported.
    Action(Action<'s>),
}

/// The tokens of one action.
pub(super) struct Action<'s> {
    /// Where it stands, braces included.
    pub(super) span: Span,
    /// Its tokens in order.
    pub(super) tokens: Vec<Token<'s>>,
}

/// A token and whether a blank stands before it.
#[derive(Clone, Debug)]
pub(super) struct Token<'s> {
    /// What it is.
    pub(super) kind: Kind<'s>,
    /// Its source text.
    pub(super) text: &'s [u8],
    /// Whether a blank stands before it.
    pub(super) spaced: bool,
}

/// The kinds of tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'s> {
    /// `.` alone.
    Dot,
    /// `.name`; the name.
    Field(&'s [u8]),
    /// `$` or `$name`, with the `$`.
    Variable(&'s [u8]),
    /// A word that is neither keyword nor boolean.
    Name,
    /// A word of the language, such as `if`.
    Keyword(Keyword),
    /// A boolean, number, character or text.
    Literal(Value),
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// Any other ASCII character, such as a comma.
    Other,
}

/// The words of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}
