//! Parses what stands inside an action: pipelines, commands and their words.

use bytes::Bytes;

use super::ast::{Command, Operand, Pipe};
use super::funcs::Func;
use super::lexer::share;
use super::parser::Cursor;
use super::token::{Keyword, Kind, Token};

/// How deep parentheses may stand in each other.
const PAREN_DEPTH_MAX: usize = 50;

/// Reads the words of one action.
pub(super) struct Words<'p, 's> {
    /// The template.
    pub(super) source: &'s Bytes,
    /// The action's tokens.
    pub(super) cursor: &'p mut Cursor<'s>,
    /// The variables declared so far.
    pub(super) variables: &'p mut Vec<&'s [u8]>,
    /// How many parentheses are open.
    pub(super) depth: usize,
}

impl<'s> Words<'_, 's> {
    /// A pipeline up to the end of the action or, when `nested`, its closing parenthesis.
    pub(super) fn pipe(&mut self, range: bool, nested: bool) -> Result<Pipe, String> {
        let mut pipe = Pipe { span: self.cursor.span, variables: Vec::new(), assigns: false, commands: Vec::new() };
        self.declarations(&mut pipe, range)?;
        loop {
            match self.cursor.peek() {
                None => break,
                Some(Token { kind: Kind::Close, .. }) if nested => {
                    self.cursor.next();
                    break;
                }
                Some(_) => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
            }
        }
        check(&pipe)?;
        Ok(pipe)
    }

    /// `$x :=`, `$x =` and, for a range, `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, range: bool) -> Result<(), String> {
        while let Some(Kind::Variable(name)) = self.cursor.peek().map(|token| token.kind.clone()) {
            let sign = self.cursor.peek_second();
            let comma = sign.is_some_and(|token| token.text == b",");
            match sign.map(|token| &token.kind) {
                Some(Kind::Assign) => pipe.assigns = true,
                Some(Kind::Declare) => {}
                _ if comma => {}
                _ => return Ok(()),
            }
            self.cursor.next();
            self.cursor.next();
            pipe.variables.push(share(self.source, name));
            self.variables.push(name);
            if !comma {
                return Ok(());
            }
            let variable_follows = matches!(self.cursor.peek(), Some(Token { kind: Kind::Variable(_), .. }));
            if !range || pipe.variables.len() > 1 || !variable_follows {
                return Err(
                    "too many variables; only range sets two, as in {{range $index, $item := .list}}".to_owned()
                );
            }
        }
        Ok(())
    }

    /// Words up to a bar, a closing parenthesis or the end.
    fn command(&mut self) -> Result<Command, String> {
        let mut words = Vec::new();
        loop {
            if let Some(word) = self.operand()? {
                words.push(word);
            }
            match self.cursor.peek() {
                None | Some(Token { kind: Kind::Close, .. }) => break,
                Some(Token { kind: Kind::Pipe, .. }) => {
                    self.cursor.next();
                    break;
                }
                Some(token) if token.spaced && starts_word(&token.kind) => {}
                Some(token) => return Err(unexpected(token)),
            }
        }
        let mut words = words.into_iter();
        let Some(word) = words.next() else {
            return Err("a command is missing; write one on both sides of |".to_owned());
        };
        let arguments = words.collect();
        Ok(Command { word, arguments })
    }

    /// One word with the fields that hang on it, or none if no word begins here.
    fn operand(&mut self) -> Result<Option<Operand>, String> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        while let Some(Token { kind: Kind::Field(name), spaced: false, .. }) = self.cursor.peek() {
            fields.push(share(self.source, name));
            self.cursor.next();
        }
        if fields.is_empty() {
            return Ok(Some(term));
        }
        Ok(Some(match term {
            Operand::Field(mut names) => {
                names.append(&mut fields);
                Operand::Field(names)
            }
            Operand::Variable(name, _) => Operand::Variable(name, fields),
            Operand::Dot | Operand::Nil | Operand::Literal(_) => {
                return Err(
                    "a field cannot follow this; fields hang on a variable, a field or a parenthesis".to_owned()
                );
            }
            other => Operand::Chain(Box::new(other), fields),
        }))
    }

    fn term(&mut self) -> Result<Option<Operand>, String> {
        let Some(token) = self.cursor.peek().filter(|token| starts_word(&token.kind)).cloned() else {
            return Ok(None);
        };
        self.cursor.next();
        Ok(Some(match token.kind {
            Kind::Dot => Operand::Dot,
            Kind::Field(name) => Operand::Field(vec![share(self.source, name)]),
            Kind::Literal(value) => Operand::Literal(value),
            Kind::Keyword(_) => Operand::Nil,
            Kind::Variable(name) => {
                if !self.variables.contains(&name) {
                    let name = String::from_utf8_lossy(name);
                    return Err(format!(
                        "variable {name} is not set before this; set it with {name} := in this block or around it"
                    ));
                }
                Operand::Variable(share(self.source, name), Vec::new())
            }
            Kind::Open => {
                if self.depth == PAREN_DEPTH_MAX {
                    return Err(format!("parentheses stand more than {PAREN_DEPTH_MAX} deep; use a variable"));
                }
                self.depth += 1;
                let pipe = self.pipe(false, true)?;
                self.depth -= 1;
                Operand::Paren(Box::new(pipe))
            }
            _ => Operand::Function(Func::from_name(token.text).ok_or_else(|| unknown_function(token.text))?),
        }))
    }
}

/// A pipeline needs a command, and behind a bar only something that takes an argument.
fn check(pipe: &Pipe) -> Result<(), String> {
    if pipe.commands.is_empty() {
        return Err("a value is missing; name a field, a variable or a function".to_owned());
    }
    let fixed = |command: &Command| matches!(command.word, Operand::Dot | Operand::Nil | Operand::Literal(_));
    if pipe.commands.iter().skip(1).any(fixed) {
        return Err("behind | must stand a function, which gets the value as its last argument".to_owned());
    }
    Ok(())
}

fn starts_word(kind: &Kind<'_>) -> bool {
    match kind {
        Kind::Dot | Kind::Field(_) | Kind::Variable(_) | Kind::Name | Kind::Literal(_) | Kind::Open => true,
        Kind::Keyword(keyword) => *keyword == Keyword::Nil,
        _ => false,
    }
}

fn unexpected(token: &Token<'_>) -> String {
    let text = String::from_utf8_lossy(token.text);
    match token.kind {
        Kind::Other if token.text == b"," => "unexpected comma; arguments are separated by blanks".to_owned(),
        Kind::Other => format!("unexpected {text}; there are no operators, use functions such as eq, and, index"),
        Kind::Assign | Kind::Declare => {
            format!("unexpected {text}; only a variable such as $x can be set, at the start")
        }
        _ => format!("unexpected {text}; put a blank before it, or remove it"),
    }
}

fn unknown_function(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    format!("there is no function {name}; write .{name} for a value of the data, or use one of {}", Func::names())
}
