//! The template language of machine configs: the part of Go's text/template that matchbox users write.
//!
//! A template is parsed once and rendered for many machines. A field that the data lacks is an error, never an empty
//! text (`missingkey=error`), so that a machine gets a whole config or none. Numbers are 64-bit floats where they come
//! from JSON and integers where a template writes or counts them, and the two do not compare, as in Go. Left out are
//! complex numbers, functions as values and methods, none of which JSON data can hold.
//!
//! Everything is bounded: the source ([`SOURCE_BYTES_MAX`]), the nesting of blocks and parentheses, the depth of
//! recursion, the steps ([`STEPS_MAX`]) and the output ([`OUTPUT_BYTES_MAX`]).

mod ast;
mod budget;
mod case;
mod command;
mod compare;
mod data;
mod env;
mod error;
mod escape;
mod exec;
mod funcs;
mod lexer;
mod literal;
mod number;
mod parser;
mod path;
mod printf;
mod quote;
mod runes;
mod token;
mod value;
mod verbs;

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use budget::{OUTPUT_BYTES_MAX, STEPS_MAX};
pub use data::data;
pub use env::env_file;
pub use error::{ParseError, RenderError};
pub use number::format_number;
pub use value::{Map, Numbers, Value};

/// The longest source of a template, in bytes; as long as the longest message of the gRPC interface.
pub const SOURCE_BYTES_MAX: usize = 4 << 20;

/// A parsed template: immutable, cheap to share between threads, worth keeping.
#[derive(Debug)]
pub struct Template {
    source: Bytes,
    parsed: parser::Parsed,
}

impl Template {
    /// Parses a source, which need not be UTF-8 outside of actions.
    ///
    /// # Errors
    /// When the source is too long or breaks a rule of the language; the error names the line and what to do.
    pub fn parse(source: &[u8]) -> Result<Self, ParseError> {
        if source.len() > SOURCE_BYTES_MAX {
            let problem = format!("longer than {SOURCE_BYTES_MAX} bytes; serve large files as assets");
            return Err(ParseError::new(1, b"template", problem));
        }
        let source = Bytes::copy_from_slice(source);
        let parsed = parser::parse(&source)?;
        Ok(Self { source, parsed })
    }

    /// Renders the template on its data, commonly that of [`data()`].
    ///
    /// # Errors
    /// When the data lacks a field, a value is of the wrong kind, or a bound is passed. Nothing is put out then.
    pub fn render(&self, data: &Value) -> Result<Vec<u8>, RenderError> {
        exec::render(&self.source, &self.parsed, data)
    }
}
