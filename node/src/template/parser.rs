//! Turns a template's source into its parsed form and finds everything that is wrong without data.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ast::{List, Node, Pipe, Span, is_blank};
use super::command::Words;
use super::error::ParseError;
use super::lexer::{Lexer, share};
use super::token::{Action, Keyword, Kind, Piece, Token};

/// How deep blocks may stand in each other.
const BLOCK_DEPTH_MAX: usize = 100;
/// How many actions and texts a template may have; each takes memory as long as the template is kept.
const NODES_MAX: usize = 200_000;

/// A parsed source: the text itself and the templates it defines, by name.
#[derive(Debug)]
pub(super) struct Parsed {
    /// What is rendered.
    pub(super) main: List,
    /// What `define` and `block` named.
    pub(super) named: BTreeMap<Bytes, List>,
}

/// Parses a source.
pub(super) fn parse(source: &Bytes) -> Result<Parsed, ParseError> {
    let mut parser = Parser {
        source,
        lexer: Lexer::new(source),
        named: BTreeMap::new(),
        variables: vec![b"$"],
        ranges: 0,
        depth: 0,
        nodes: 0,
    };
    let main = parser.top()?;
    Ok(Parsed { main, named: parser.named })
}

struct Parser<'s> {
    source: &'s Bytes,
    lexer: Lexer<'s>,
    named: BTreeMap<Bytes, List>,
    /// The variables declared so far; those of a block are dropped at its end.
    variables: Vec<&'s [u8]>,
    /// How many ranges of this template we are in.
    ranges: usize,
    depth: usize,
    nodes: usize,
}

/// What ended a list.
enum Ending<'s> {
    End,
    /// `else`, and the tokens behind it.
    Else(Cursor<'s>),
}

/// The tokens of an action that are still to be read.
pub(super) struct Cursor<'s> {
    /// Where the action stands.
    pub(super) span: Span,
    tokens: std::vec::IntoIter<Token<'s>>,
}

impl<'s> Cursor<'s> {
    /// The next token, without taking it.
    pub(super) fn peek(&self) -> Option<&Token<'s>> {
        self.tokens.as_slice().first()
    }

    /// The token behind the next one.
    pub(super) fn peek_second(&self) -> Option<&Token<'s>> {
        self.tokens.as_slice().get(1)
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Option<Token<'s>> {
        self.tokens.next()
    }

    fn keyword(&self) -> Option<Keyword> {
        match self.peek()?.kind {
            Kind::Keyword(keyword) => Some(keyword),
            _ => None,
        }
    }

    /// Takes the next token if it is a text between quotes.
    fn name(&mut self) -> Option<Bytes> {
        let Some(Token { kind: Kind::Literal(super::Value::String(name)), .. }) = self.peek() else {
            return None;
        };
        let name = name.clone();
        self.next();
        Some(name)
    }
}

impl<'s> Parser<'s> {
    fn top(&mut self) -> Result<List, ParseError> {
        let mut list = List::new();
        while let Some(piece) = self.lexer.next()? {
            let action = match piece {
                Piece::Text(text) => {
                    let node = Node::Text(share(self.source, text), self.lexer.line());
                    self.push(&mut list, node)?;
                    continue;
                }
                Piece::Action(action) => action,
            };
            let mut cursor = cursor(action);
            match cursor.keyword() {
                Some(Keyword::Define) => self.define(&mut cursor)?,
                Some(Keyword::End | Keyword::Else) => {
                    let problem =
                        "nothing is open here; remove it, or open an if, range, with, block or define before it";
                    return Err(self.error(cursor.span, problem));
                }
                _ => {
                    let node = self.action(cursor)?;
                    self.push(&mut list, node)?;
                }
            }
        }
        Ok(list)
    }

    /// Nodes up to the `end` or `else` that belongs to the action at `opening`.
    fn list(&mut self, opening: Span) -> Result<(List, Ending<'s>), ParseError> {
        if self.depth == BLOCK_DEPTH_MAX {
            let problem =
                format!("blocks stand more than {BLOCK_DEPTH_MAX} deep in each other; move some into a define");
            return Err(self.error(opening, &problem));
        }
        self.depth += 1;
        let mut list = List::new();
        while let Some(piece) = self.lexer.next()? {
            let action = match piece {
                Piece::Text(text) => {
                    let node = Node::Text(share(self.source, text), self.lexer.line());
                    self.push(&mut list, node)?;
                    continue;
                }
                Piece::Action(action) => action,
            };
            let mut cursor = cursor(action);
            match cursor.keyword() {
                Some(Keyword::End) => {
                    cursor.next();
                    self.nothing_more(&cursor, "end takes nothing behind it")?;
                    self.depth -= 1;
                    return Ok((list, Ending::End));
                }
                Some(Keyword::Else) => {
                    cursor.next();
                    self.depth -= 1;
                    return Ok((list, Ending::Else(cursor)));
                }
                _ => {
                    let node = self.action(cursor)?;
                    self.push(&mut list, node)?;
                }
            }
        }
        let problem = "not closed by the end of the template; add {{end}}";
        Err(self.error(opening, problem))
    }

    fn action(&mut self, mut cursor: Cursor<'s>) -> Result<Node, ParseError> {
        let Some(keyword) = cursor.keyword().filter(|keyword| *keyword != Keyword::Nil) else {
            return self.pipe(&mut cursor, false).map(Node::Action);
        };
        cursor.next();
        match keyword {
            Keyword::If => self.arms(cursor, Keyword::If).map(|(arms, otherwise)| Node::If { arms, otherwise }),
            Keyword::With => self.arms(cursor, Keyword::With).map(|(arms, otherwise)| Node::With { arms, otherwise }),
            Keyword::Range => self.range(cursor),
            Keyword::Template => self.template(cursor),
            Keyword::Block => self.block(cursor),
            Keyword::Break | Keyword::Continue => {
                self.nothing_more(&cursor, "it takes nothing behind it")?;
                if self.ranges == 0 {
                    return Err(self.error(cursor.span, "not inside a range; remove it, or use if"));
                }
                Ok(if keyword == Keyword::Break { Node::Break } else { Node::Continue })
            }
            Keyword::Define => {
                Err(self.error(cursor.span, "define must stand outside of all blocks; move it to the top"))
            }
            Keyword::Else | Keyword::End | Keyword::Nil => unreachable!("handled where lists are read"),
        }
    }

    /// The arms of `if` or `with`, each a pipeline and a list, and what stands behind the last `else`.
    fn arms(&mut self, mut cursor: Cursor<'s>, word: Keyword) -> Result<(Vec<(Pipe, List)>, List), ParseError> {
        let declared = self.variables.len();
        let opening = cursor.span;
        let mut arms = Vec::new();
        let otherwise = loop {
            let pipe = self.pipe(&mut cursor, false)?;
            let (list, ending) = self.list(opening)?;
            arms.push((pipe, list));
            match ending {
                Ending::End => break List::new(),
                Ending::Else(rest) => cursor = rest,
            }
            if cursor.keyword() != Some(word) {
                break self.otherwise(&cursor, opening)?;
            }
            cursor.next();
        };
        self.variables.truncate(declared);
        Ok((arms, otherwise))
    }

    /// The list behind a plain `else`.
    fn otherwise(&mut self, cursor: &Cursor<'s>, opening: Span) -> Result<List, ParseError> {
        let problem = "only `if` may follow else in an if, and `with` in a with; nest another block instead";
        self.nothing_more(cursor, problem)?;
        match self.list(opening)? {
            (list, Ending::End) => Ok(list),
            (_, Ending::Else(second)) => {
                Err(self.error(second.span, "a second else; use {{else if …}} before the last one"))
            }
        }
    }

    fn range(&mut self, mut cursor: Cursor<'s>) -> Result<Node, ParseError> {
        let declared = self.variables.len();
        let opening = cursor.span;
        let pipe = self.pipe(&mut cursor, true)?;
        self.ranges += 1;
        let (body, ending) = self.list(opening)?;
        self.ranges -= 1;
        let otherwise = match ending {
            Ending::End => List::new(),
            Ending::Else(rest) => self.otherwise(&rest, opening)?,
        };
        self.variables.truncate(declared);
        Ok(Node::Range { pipe, body, otherwise })
    }

    fn template(&mut self, mut cursor: Cursor<'s>) -> Result<Node, ParseError> {
        let span = cursor.span;
        let Some(name) = cursor.name() else {
            return Err(self.error(span, "needs the template's name between double quotes"));
        };
        let pipe = match cursor.peek() {
            Some(_) => Some(self.pipe(&mut cursor, false)?),
            None => None,
        };
        Ok(Node::Template { name, pipe, span })
    }

    fn block(&mut self, mut cursor: Cursor<'s>) -> Result<Node, ParseError> {
        let span = cursor.span;
        let Some(name) = cursor.name() else {
            return Err(self.error(span, "needs a name between double quotes and a value, as in {{block \"menu\" .}}"));
        };
        let pipe = Some(self.pipe(&mut cursor, false)?);
        self.definition(name.clone(), span)?;
        Ok(Node::Template { name, pipe, span })
    }

    fn define(&mut self, cursor: &mut Cursor<'s>) -> Result<(), ParseError> {
        cursor.next();
        let Some(name) = cursor.name() else {
            return Err(self.error(cursor.span, "needs a name between double quotes"));
        };
        self.nothing_more(cursor, "define takes only a name")?;
        self.definition(name, cursor.span)
    }

    /// Reads a template's body, which sees neither the variables nor the ranges around it.
    fn definition(&mut self, name: Bytes, span: Span) -> Result<(), ParseError> {
        let variables = std::mem::replace(&mut self.variables, vec![b"$"]);
        let ranges = std::mem::take(&mut self.ranges);
        let (list, ending) = self.list(span)?;
        if let Ending::Else(cursor) = ending {
            return Err(
                self.error(cursor.span, "else does not belong to an if, range or with; close the block before it")
            );
        }
        self.variables = variables;
        self.ranges = ranges;
        match self.named.get(&name) {
            Some(known) if !is_blank(known) => {
                if !is_blank(&list) {
                    return Err(self.error(span, "a template of this name is defined above; rename one of them"));
                }
            }
            _ => {
                self.named.insert(name, list);
            }
        }
        Ok(())
    }

    fn pipe(&mut self, cursor: &mut Cursor<'s>, range: bool) -> Result<Pipe, ParseError> {
        let mut words = Words { source: self.source, cursor, variables: &mut self.variables, depth: 0 };
        let parsed = words.pipe(range, false);
        parsed.map_err(|problem| self.error(cursor.span, &problem))
    }

    fn push(&mut self, list: &mut List, node: Node) -> Result<(), ParseError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let problem = format!("more than {NODES_MAX} texts and actions; split the template");
            return Err(ParseError::new(self.lexer.line(), b"template", problem));
        }
        list.push(node);
        Ok(())
    }

    fn nothing_more(&self, cursor: &Cursor<'s>, problem: &str) -> Result<(), ParseError> {
        match cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.error(cursor.span, problem)),
        }
    }

    fn error(&self, span: Span, problem: &str) -> ParseError {
        ParseError::new(span.line, &self.source[span.start..span.end], problem.to_owned())
    }
}

fn cursor(action: Action<'_>) -> Cursor<'_> {
    Cursor { span: action.span, tokens: action.tokens.into_iter() }
}
