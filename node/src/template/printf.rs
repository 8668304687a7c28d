//! The functions `print`, `println` and `printf`: reads a format and prints its arguments.

use super::budget::{Budget, OUTPUT_BYTES_MAX, too_long};
use super::funcs::Fault;
use super::runes;
use super::value::Value;
use super::verbs::{Printer, Spec};

/// What an action prints for a value that is not there.
pub(super) const NO_VALUE: &str = "<no value>";
/// The widest width and precision a format may ask for, in characters.
const WIDTH_MAX: usize = 1_000_000;

/// Appends a value as an action prints it.
pub(super) fn show(out: &mut Vec<u8>, value: &Value, budget: &mut Budget) -> Result<(), Fault> {
    let before = out.len();
    match value {
        Value::Nil => out.extend(NO_VALUE.bytes()),
        Value::String(text) => out.extend_from_slice(text),
        other => printer(out).argument(other, 'v'),
    }
    finish(out, before, budget)
}

/// The arguments one after the other, with a blank between two of which neither is a text.
pub(super) fn print(arguments: &[Value], budget: &mut Budget) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut after_text = true;
    for value in arguments {
        let text = matches!(value, Value::String(_));
        if !(text || after_text) {
            out.push(b' ');
        }
        after_text = text;
        let before = out.len();
        printer(&mut out).argument(value, 'v');
        finish(&out, before, budget)?;
    }
    Ok(out)
}

/// The arguments with a blank between all, and a newline.
pub(super) fn println(arguments: &[Value], budget: &mut Budget) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    for (at, value) in arguments.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        let before = out.len();
        printer(&mut out).argument(value, 'v');
        finish(&out, before, budget)?;
    }
    out.push(b'\n');
    Ok(out)
}

/// The format with its verbs replaced by the arguments; mistakes in it show in the text, as in Go.
pub(super) fn printf(format: &[u8], arguments: &[Value], budget: &mut Budget) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(format.len());
    let mut reader = Reader { format, at: 0, arguments, next: 0, reordered: false, index_ok: true };
    while reader.at < format.len() {
        let before = out.len();
        let plain = format[reader.at..].iter().position(|byte| *byte == b'%');
        let plain = plain.unwrap_or(format.len() - reader.at);
        out.extend_from_slice(&format[reader.at..reader.at + plain]);
        reader.at += plain;
        if reader.at < format.len() {
            reader.at += 1;
            reader.directive(&mut printer(&mut out));
        }
        budget.spend(1)?;
        finish(&out, before, budget)?;
    }
    let before = out.len();
    reader.extra(&mut printer(&mut out));
    finish(&out, before, budget)?;
    Ok(out)
}

fn printer(out: &mut Vec<u8>) -> Printer<'_> {
    Printer { out, limit: OUTPUT_BYTES_MAX, spec: Spec::default() }
}

fn finish(out: &[u8], before: usize, budget: &mut Budget) -> Result<(), Fault> {
    budget.spend_bytes(out.len() - before)?;
    if out.len() > OUTPUT_BYTES_MAX { Err(too_long()) } else { Ok(()) }
}

/// Walks over a format.
struct Reader<'f> {
    format: &'f [u8],
    at: usize,
    arguments: &'f [Value],
    next: usize,
    /// Whether an explicit index was used, so that left-over arguments are meant.
    reordered: bool,
    /// Whether the indexes of the directive at hand were good.
    index_ok: bool,
}

impl Reader<'_> {
    /// One directive, from behind its `%`.
    fn directive(&mut self, printer: &mut Printer<'_>) {
        self.index_ok = true;
        self.flags(&mut printer.spec);
        let mut indexed = self.index();
        if self.take(b'*') {
            self.star_width(printer);
            indexed = false;
        } else {
            printer.spec.width = self.number();
            self.index_ok &= !(indexed && printer.spec.width.is_some());
        }
        // A point at the very end is taken for a verb.
        if self.at + 1 < self.format.len() && self.take(b'.') {
            self.index_ok &= !indexed;
            indexed = self.index();
            if self.take(b'*') {
                self.star_precision(printer);
                indexed = false;
            } else {
                printer.spec.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !indexed {
            self.index();
        }
        self.verb(printer);
    }

    fn verb(&mut self, printer: &mut Printer<'_>) {
        let Some(rune) = runes::first(&self.format[self.at..]) else {
            return printer.write(b"%!(NOVERB)");
        };
        let verb = rune.lossy();
        self.at += rune.bytes.len();
        let problem = match self.arguments.get(self.next) {
            _ if verb == '%' => return printer.write(b"%"),
            _ if !self.index_ok => "BADINDEX",
            None => "MISSING",
            Some(argument) => {
                self.next += 1;
                if matches!(verb, 'v' | 'w') {
                    printer.spec.syntax = std::mem::take(&mut printer.spec.sharp);
                    printer.spec.plus = false;
                }
                return printer.argument(argument, verb);
            }
        };
        printer.write(format!("%!{verb}({problem})").as_bytes());
    }

    fn flags(&mut self, spec: &mut Spec) {
        while let Some(byte) = self.format.get(self.at) {
            match byte {
                b'#' => spec.sharp = true,
                b'0' => spec.zero = true,
                b'+' => spec.plus = true,
                b'-' => spec.minus = true,
                b' ' => spec.space = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    /// An explicit argument index such as `[2]`; whether there was one in good form.
    fn index(&mut self) -> bool {
        let rest = &self.format[self.at..];
        if rest.first() != Some(&b'[') {
            return false;
        }
        self.reordered = true;
        // Two bytes are too few for an index; only the bracket is skipped then.
        let Some(length) = rest.iter().position(|byte| *byte == b']').filter(|_| rest.len() > 2) else {
            self.index_ok = false;
            self.at += 1;
            return false;
        };
        let digits = &rest[1..length];
        self.at += length + 1;
        let number = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number: Option<usize> = number.and_then(|text| text.parse().ok());
        let chosen = number.and_then(|number| number.checked_sub(1)).filter(|index| *index < self.arguments.len());
        match chosen {
            Some(index) => self.next = index,
            None => self.index_ok = false,
        }
        number.is_some()
    }

    fn star_width(&mut self, printer: &mut Printer<'_>) {
        let Some(width) = self.star() else {
            return printer.write(b"%!(BADWIDTH)");
        };
        if width < 0 {
            printer.spec.minus = true;
            printer.spec.zero = false;
        }
        printer.spec.width = usize::try_from(width.unsigned_abs()).ok();
    }

    fn star_precision(&mut self, printer: &mut Printer<'_>) {
        printer.spec.precision = self.star().and_then(|precision| usize::try_from(precision).ok());
        if printer.spec.precision.is_none() {
            printer.write(b"%!(BADPREC)");
        }
    }

    /// The next argument as a width or precision, if it is an integer of a sensible size.
    fn star(&mut self) -> Option<i64> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        let number = argument.as_int()?;
        (number.unsigned_abs() <= WIDTH_MAX as u64).then_some(number)
    }

    /// Decimal digits; a number that is too large swallows the rest of the format.
    fn number(&mut self) -> Option<usize> {
        let digits = self.format[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = str::from_utf8(&self.format[self.at..self.at + digits]).expect("digits are ASCII");
        if digits == 0 {
            return None;
        }
        let number = text.parse().ok().filter(|number| *number <= WIDTH_MAX);
        self.at = if number.is_some() { self.at + digits } else { self.format.len() };
        number
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.format.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Names the arguments that no verb took.
    fn extra(&self, printer: &mut Printer<'_>) {
        let left = &self.arguments[self.next.min(self.arguments.len())..];
        if self.reordered || left.is_empty() {
            return;
        }
        printer.write(b"%!(EXTRA ");
        for (at, value) in left.iter().enumerate() {
            if at > 0 {
                printer.write(b", ");
            }
            printer.write(value.type_name().as_bytes());
            if *value != Value::Nil {
                printer.write(b"=");
                printer.argument(value, 'v');
            }
        }
        printer.write(b")");
    }
}
