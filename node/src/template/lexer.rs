//! Cuts a template's source into literal text and actions, and an action into tokens.

use bytes::Bytes;

use super::ast::Span;
use super::error::ParseError;
use super::literal;
use super::runes;
use super::token::{Action, Keyword, Kind, Piece, Token};
use super::value::Value;

const OPEN: &[u8] = b"{{";
const CLOSE: &[u8] = b"}}";
/// Longer runs of digits are not numbers anybody means.
const NUMBER_BYTES_MAX: usize = 512;
/// How many tokens the actions of a template may have together; each takes memory as long as the template is kept.
const TOKENS_MAX: usize = 400_000;

/// Walks over the source once.
pub(super) struct Lexer<'s> {
    source: &'s [u8],
    at: usize,
    line: u32,
    trim_next: bool,
    tokens: usize,
    /// Where the action at hand begins.
    opened: usize,
}

impl<'s> Lexer<'s> {
    /// Starts at the beginning of a source.
    pub(super) fn new(source: &'s [u8]) -> Self {
        Self { source, at: 0, line: 1, trim_next: false, tokens: 0, opened: 0 }
    }

    /// The line the walk has reached.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// The next stretch, or none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'s>>, ParseError> {
        loop {
            let rest = &self.source[self.at..];
            if rest.is_empty() {
                return Ok(None);
            }
            let length = find(rest, OPEN).unwrap_or(rest.len());
            if length > 0 {
                let text = self.text(length);
                if !text.is_empty() {
                    return Ok(Some(Piece::Text(text)));
                }
            } else if let Some(action) = self.action()? {
                return Ok(Some(Piece::Action(action)));
            }
        }
    }

    fn text(&mut self, length: usize) -> &'s [u8] {
        let mut text = &self.source[self.at..self.at + length];
        self.advance(length);
        if std::mem::take(&mut self.trim_next) {
            text = trim_start(text);
        }
        match &self.source[self.at..] {
            [b'{', b'{', b'-', blank, ..] if is_blank(*blank) => trim_end(text),
            _ => text,
        }
    }

    /// The action at the braces we stand on, or none for a comment.
    fn action(&mut self) -> Result<Option<Action<'s>>, ParseError> {
        let (start, line) = (self.at, self.line);
        self.opened = start;
        self.trim_next = false;
        self.advance(OPEN.len());
        if matches!(&self.source[self.at..], [b'-', blank, ..] if is_blank(*blank)) {
            self.advance(2);
        }
        if self.source[self.at..].starts_with(b"/*") {
            self.comment()?;
            return Ok(None);
        }
        let mut tokens = Vec::new();
        let mut depth = 0_usize;
        while let Some(token) = self.token()? {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close if depth == 0 => {
                    return Err(self.error("unexpected ); remove it or open the parenthesis"));
                }
                Kind::Close => depth -= 1,
                _ => {}
            }
            self.tokens += 1;
            if self.tokens > TOKENS_MAX {
                return Err(self.error(&format!("more than {TOKENS_MAX} words in actions; split the template")));
            }
            tokens.push(token);
        }
        if depth > 0 {
            return Err(self.error("parenthesis not closed; add )"));
        }
        let span = Span { line, start, end: self.at };
        Ok(Some(Action { span, tokens }))
    }

    fn comment(&mut self) -> Result<(), ParseError> {
        self.advance(2);
        let Some(length) = find(&self.source[self.at..], b"*/") else {
            return Err(self.error("comment not closed; end it with */}}"));
        };
        self.advance(length + 2);
        if self.closing() {
            return Ok(());
        }
        Err(self.error("comment must stand alone in its braces; end it with */}}"))
    }

    /// Steps over closing braces, if we stand on them.
    fn closing(&mut self) -> bool {
        let rest = &self.source[self.at..];
        let trims = matches!(rest, [blank, b'-', b'}', b'}', ..] if is_blank(*blank));
        if !trims && !rest.starts_with(CLOSE) {
            return false;
        }
        self.advance(if trims { 4 } else { 2 });
        self.trim_next = trims;
        true
    }

    /// The next token of an action, or none when its closing braces have been passed.
    fn token(&mut self) -> Result<Option<Token<'s>>, ParseError> {
        let mut spaced = false;
        loop {
            if self.closing() {
                return Ok(None);
            }
            match self.source.get(self.at) {
                Some(byte) if is_blank(*byte) => self.advance(1),
                Some(_) => break,
                None => return Err(self.error("action not closed; add }}")),
            }
            spaced = true;
        }
        let start = self.at;
        let kind = self.kind(self.source[start])?;
        Ok(Some(Token { kind, text: &self.source[start..self.at], spaced }))
    }

    fn kind(&mut self, first: u8) -> Result<Kind<'s>, ParseError> {
        let start = self.at;
        let next = self.source.get(start + 1).copied().unwrap_or(0);
        let simple = match first {
            b'=' => Kind::Assign,
            b'|' => Kind::Pipe,
            b'(' => Kind::Open,
            b')' => Kind::Close,
            b':' if next == b'=' => {
                self.advance(2);
                return Ok(Kind::Declare);
            }
            b':' => return Err(self.error("unexpected :; a variable is set with :=")),
            b'"' | b'\'' | b'`' => return self.quoted(first),
            b'$' => return self.named(start).map(Kind::Variable),
            b'.' if !next.is_ascii_digit() => {
                let name = self.named(start)?;
                return Ok(if name.len() == 1 { Kind::Dot } else { Kind::Field(&name[1..]) });
            }
            b'.' | b'+' | b'-' | b'0'..=b'9' => return self.number(),
            _ if self.word_length(start) > 0 => return self.word(),
            b'!'..=b'~' => Kind::Other,
            _ => return Err(self.error("character not allowed here; texts stand between double quotes")),
        };
        self.advance(1);
        Ok(simple)
    }

    /// A name behind a `.` or `$`, with that character.
    fn named(&mut self, start: usize) -> Result<&'s [u8], ParseError> {
        let length = self.word_length(start + 1);
        self.advance(1 + length);
        self.terminated()?;
        Ok(&self.source[start..self.at])
    }

    fn word(&mut self) -> Result<Kind<'s>, ParseError> {
        let start = self.at;
        self.advance(self.word_length(start));
        self.terminated()?;
        let keyword = match &self.source[start..self.at] {
            b"true" => return Ok(Kind::Literal(Value::Bool(true))),
            b"false" => return Ok(Kind::Literal(Value::Bool(false))),
            b"block" => Keyword::Block,
            b"break" => Keyword::Break,
            b"continue" => Keyword::Continue,
            b"define" => Keyword::Define,
            b"else" => Keyword::Else,
            b"end" => Keyword::End,
            b"if" => Keyword::If,
            b"nil" => Keyword::Nil,
            b"range" => Keyword::Range,
            b"template" => Keyword::Template,
            b"with" => Keyword::With,
            _ => return Ok(Kind::Name),
        };
        Ok(Kind::Keyword(keyword))
    }

    /// Refuses a name that runs into something which cannot follow it.
    fn terminated(&self) -> Result<(), ParseError> {
        match &self.source[self.at..] {
            [] | [b'}', b'}', ..] | [b'.' | b',' | b'|' | b':' | b')' | b'(', ..] => Ok(()),
            [blank, ..] if is_blank(*blank) => Ok(()),
            _ => Err(self.error(
                "unexpected character behind the name; names are letters, digits and _, others need index . \"name\"",
            )),
        }
    }

    fn number(&mut self) -> Result<Kind<'s>, ParseError> {
        let start = self.at;
        let mut end = start + usize::from(matches!(self.source[start], b'+' | b'-'));
        while let Some(byte) = self.source.get(end) {
            let sign = matches!(byte, b'+' | b'-') && self.exponent_mark(start, end);
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || sign) {
                break;
            }
            end += 1;
            if end - start > NUMBER_BYTES_MAX {
                return Err(self.error("number too long; put it between double quotes if it is a text"));
            }
        }
        end += self.word_length(end);
        let text = String::from_utf8_lossy(&self.source[start..end]);
        let value = literal::number(&text).map_err(|problem| self.error(&problem))?;
        self.advance(end - start);
        Ok(Kind::Literal(value))
    }

    /// Whether the byte before `end` begins the exponent of the number from `start`, so that a sign may follow.
    fn exponent_mark(&self, start: usize, end: usize) -> bool {
        let so_far = self.source[start..end].to_ascii_lowercase();
        let hex = find(&so_far, b"0x").is_some();
        so_far.last() == Some(if hex { &b'p' } else { &b'e' })
    }

    fn quoted(&mut self, quote: u8) -> Result<Kind<'s>, ParseError> {
        let start = self.at;
        let mut end = start + 1;
        loop {
            match self.source.get(end) {
                Some(byte) if *byte == quote => break,
                Some(b'\\') if quote != b'`' => end += 2,
                Some(b'\n') if quote != b'`' => return Err(self.error("text not closed on its line; add the quote")),
                Some(_) => end += 1,
                None => return Err(self.error("text not closed; add the quote")),
            }
        }
        let text = &self.source[start..=end];
        let value = match quote {
            b'"' => literal::quoted(text).map(Value::String),
            b'`' => Ok(Value::String(literal::raw(text))),
            _ => literal::character(text),
        };
        let value = value.map_err(|problem| self.error(&problem))?;
        self.advance(text.len());
        Ok(Kind::Literal(value))
    }

    /// How many bytes of letters, digits and underscores stand at a place.
    fn word_length(&self, from: usize) -> usize {
        let mut end = from;
        while let Some(rune) = self.source.get(end..).and_then(runes::first) {
            if !rune.char.is_some_and(|char| char.is_alphanumeric() || char == '_') {
                break;
            }
            end += rune.bytes.len();
        }
        end - from
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        let lines = passed.iter().filter(|byte| **byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at += bytes;
    }

    /// An error in the action at hand, on the line the walk has reached.
    fn error(&self, problem: &str) -> ParseError {
        let line_end = find(&self.source[self.at..], b"\n").map_or(self.source.len(), |at| self.at + at);
        ParseError::new(self.line, &self.source[self.opened..line_end], problem.to_owned())
    }
}

/// An owned copy that shares the source's memory when it can.
pub(super) fn share(source: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { source.slice_ref(part) }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    &text[blanks..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| is_blank(**byte)).count();
    &text[..text.len() - blanks]
}
