//! Prints one value under one verb with its flags, width and precision, as Go's `fmt` does.

use super::number::format_float;
use super::quote;
use super::runes;
use super::value::{Map, Value};

/// The flags, width and precision between `%` and a verb.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag character of the format")]
pub(super) struct Spec {
    /// The least number of characters.
    pub(super) width: Option<usize>,
    /// Digits, or characters of a text.
    pub(super) precision: Option<usize>,
    /// `-`: pad on the right.
    pub(super) minus: bool,
    /// `+`: always a sign.
    pub(super) plus: bool,
    /// `#`: the alternate form.
    pub(super) sharp: bool,
    /// A blank: room for a sign, blanks between bytes.
    pub(super) space: bool,
    /// `0`: pad with zeros.
    pub(super) zero: bool,
    /// `%#v`: Go syntax.
    pub(super) syntax: bool,
}

/// Appends printed values to a text, up to a limit.
pub(super) struct Printer<'o> {
    /// What has been printed so far; once longer than the limit it grows no more.
    pub(super) out: &'o mut Vec<u8>,
    /// The length beyond which nothing is appended, in bytes.
    pub(super) limit: usize,
    /// How to print.
    pub(super) spec: Spec,
}

impl Printer<'_> {
    /// Whether the limit has been passed and something was left out.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() > self.limit
    }

    /// Prints one argument.
    pub(super) fn argument(&mut self, value: &Value, verb: char) {
        match (verb, value) {
            ('v' | 'T', Value::Nil) => self.pad(b"<nil>"),
            ('T', _) => self.text(value.type_name().as_bytes()),
            (_, Value::Nil) | ('p' | 'w', _) => self.bad_verb(value, verb),
            _ => self.value(value, verb),
        }
    }

    /// Prints bytes as they are.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if !self.is_full() {
            self.out.extend_from_slice(bytes);
        }
    }

    fn write_char(&mut self, char: char) {
        self.write(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn value(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            (Value::Nil, _) if self.spec.syntax => self.write(b"interface {}(nil)"),
            (Value::Nil, _) => self.write(b"<nil>"),
            (Value::Bool(truth), 't' | 'v') => self.pad(if *truth { b"true" } else { b"false" }),
            (Value::Int(number), _) => self.integer(value, number.unsigned_abs(), *number < 0, verb),
            // What a template for matchbox does with its numbers goes on working: there all of them are floats.
            (Value::Whole(number), 'g' | 'G' | 'f' | 'F' | 'e' | 'E') => self.float(*number as f64, verb),
            (Value::Whole(number), _) => {
                let magnitude = u64::try_from(number.unsigned_abs()).unwrap_or(u64::MAX);
                self.integer(value, magnitude, *number < 0, verb);
            }
            (Value::Byte(number), 'v') if self.spec.syntax => {
                let sharp = std::mem::replace(&mut self.spec.sharp, true);
                self.digits(u64::from(*number), false, 'x');
                self.spec.sharp = sharp;
            }
            (Value::Byte(number), _) => self.integer(value, u64::from(*number), false, verb),
            (Value::Float(number), 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') => {
                self.float(*number, verb)
            }
            (Value::String(text), 'v') if self.spec.syntax => self.quoted(text),
            (Value::String(text), 'v' | 's') => self.text(text),
            (Value::String(text), 'q') => self.quoted(text),
            (Value::String(text), 'x' | 'X') => self.hex(text, verb == 'X'),
            (Value::List(items), _) => self.list(value.type_name(), items, verb),
            (Value::Map(map), _) => self.map(map, verb),
            _ => self.bad_verb(value, verb),
        }
    }

    fn list(&mut self, type_name: &str, items: &[Value], verb: char) {
        let syntax = self.spec.syntax;
        self.write(if syntax { type_name.as_bytes() } else { b"" });
        self.write(if syntax { b"{" } else { b"[" });
        for (at, item) in items.iter().enumerate() {
            self.separator(at);
            self.value(item, verb);
            if self.is_full() {
                return;
            }
        }
        self.write(if syntax { b"}" } else { b"]" });
    }

    fn map(&mut self, map: &Map, verb: char) {
        let syntax = self.spec.syntax;
        self.write(if syntax { map.type_name().as_bytes() } else { b"map" });
        self.write(if syntax { b"{" } else { b"[" });
        for (at, (key, value)) in map.iter().enumerate() {
            self.separator(at);
            self.value(&Value::String(key.clone()), verb);
            self.write(b":");
            self.value(value, verb);
            if self.is_full() {
                return;
            }
        }
        self.write(if syntax { b"}" } else { b"]" });
    }

    fn separator(&mut self, at: usize) {
        if at > 0 {
            self.write(if self.spec.syntax { b", " } else { b" " });
        }
    }

    /// `%!d(string=hi)`: how a verb that does not suit its argument shows.
    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.write(b"%!");
        self.write_char(verb);
        self.write(b"(");
        if *value == Value::Nil {
            self.write(b"<nil>");
        } else {
            self.write(value.type_name().as_bytes());
            self.write(b"=");
            self.value(value, 'v');
        }
        self.write(b")");
    }

    fn integer(&mut self, value: &Value, magnitude: u64, negative: bool, verb: char) {
        match verb {
            'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => self.digits(magnitude, negative, verb),
            'c' => {
                let char = character(magnitude, negative);
                self.pad(char.to_string().as_bytes());
            }
            'q' => {
                let mut out = Vec::new();
                quote::character(&mut out, character(magnitude, negative), self.spec.plus);
                self.pad(&out);
            }
            'U' => self.code_point(magnitude, negative),
            _ => self.bad_verb(value, verb),
        }
    }

    fn digits(&mut self, magnitude: u64, negative: bool, verb: char) {
        let spec = self.spec;
        let signed = negative || spec.plus || spec.space;
        let least = match (spec.precision, spec.width) {
            (Some(0), _) if magnitude == 0 => return self.padding(b"", b' '),
            (Some(precision), _) => precision,
            (None, Some(width)) if spec.zero && !spec.minus => width.saturating_sub(usize::from(signed)),
            _ => 0,
        };
        let mut digits = match verb {
            'b' => format!("{magnitude:b}"),
            'o' | 'O' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            _ => magnitude.to_string(),
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        let prefix = match verb {
            'b' if spec.sharp => "0b",
            'o' if spec.sharp && !digits.starts_with('0') => "0",
            'O' if spec.sharp && !digits.starts_with('0') => "0o0",
            'O' => "0o",
            'x' if spec.sharp => "0x",
            'X' if spec.sharp => "0X",
            _ => "",
        };
        let sign = match (negative, spec.plus, spec.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        self.padding(format!("{sign}{prefix}{digits}").as_bytes(), b' ');
    }

    fn code_point(&mut self, magnitude: u64, negative: bool) {
        let code = if negative { magnitude.wrapping_neg() } else { magnitude };
        let least = self.spec.precision.unwrap_or(4).max(4);
        let mut digits = format!("{code:X}");
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        let mut out = format!("U+{digits}");
        let char = u32::try_from(code).ok().and_then(char::from_u32);
        if let Some(char) = char.filter(|char| self.spec.sharp && runes::is_printable(*char)) {
            out.push_str(&format!(" '{char}'"));
        }
        self.padding(out.as_bytes(), b' ');
    }

    fn float(&mut self, number: f64, verb: char) {
        let spec = self.spec;
        let verb = if verb == 'v' { 'g' } else { verb };
        let standard = matches!(verb, 'e' | 'E' | 'f' | 'F').then_some(6);
        let mut shown = format_float(number, verb, spec.precision.or(standard));
        let sign = match shown.as_bytes()[0] {
            b'-' | b'+' => shown.remove(0),
            _ if spec.space && !spec.plus => ' ',
            _ => '+',
        };
        let sign = if spec.space && !spec.plus && sign == '+' { ' ' } else { sign };
        let show_sign = spec.plus || sign != '+';
        if !number.is_finite() {
            let keep = number.is_infinite() || spec.plus || spec.space;
            let text = if keep { format!("{sign}{shown}") } else { shown };
            return self.padding(text.as_bytes(), b' ');
        }
        if spec.sharp && verb != 'b' {
            shown = with_point(&shown, verb, spec.precision);
        }
        if !show_sign {
            return self.pad(shown.as_bytes());
        }
        let text = format!("{sign}{shown}");
        match spec.width {
            Some(width) if spec.zero && !spec.minus && width > text.len() => {
                self.write_char(sign);
                self.write("0".repeat(width - text.len()).as_bytes());
                self.write(shown.as_bytes());
            }
            _ => self.pad(text.as_bytes()),
        }
    }

    fn text(&mut self, text: &[u8]) {
        match self.spec.precision {
            Some(characters) => self.pad(runes::truncate(text, characters)),
            None => self.pad(text),
        }
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = match self.spec.precision {
            Some(characters) => runes::truncate(text, characters),
            None => text,
        };
        let quoted = if self.spec.sharp && quote::fits_backquotes(text) {
            [b"`", text, b"`"].concat()
        } else {
            quote::text(text, self.spec.plus)
        };
        self.pad(&quoted);
    }

    fn hex(&mut self, text: &[u8], upper: bool) {
        let spec = self.spec;
        let text = &text[..spec.precision.map_or(text.len(), |bytes| bytes.min(text.len()))];
        let mark: &[u8] = if upper { b"0X" } else { b"0x" };
        let digits: &[u8] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        let mut out = Vec::with_capacity(2 * text.len());
        for (at, byte) in text.iter().enumerate() {
            if spec.space && at > 0 {
                out.push(b' ');
            }
            if spec.sharp && (spec.space || at == 0) {
                out.extend(mark);
            }
            out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
        self.pad(&out);
    }

    /// Pads to the width, with zeros if the flags say so.
    fn pad(&mut self, text: &[u8]) {
        let zero = self.spec.zero && !self.spec.minus;
        self.padding(text, if zero { b'0' } else { b' ' });
    }

    fn padding(&mut self, text: &[u8], fill: u8) {
        let room = self.spec.width.map_or(0, |width| width.saturating_sub(runes::count(text)));
        if room == 0 || self.is_full() {
            return self.write(text);
        }
        let fill = vec![fill; room];
        if self.spec.minus {
            self.write(text);
            self.write(&fill);
        } else {
            self.write(&fill);
            self.write(text);
        }
    }
}

fn character(magnitude: u64, negative: bool) -> char {
    let code = u32::try_from(magnitude).ok().filter(|_| !negative);
    code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The `#` form of a float: always a point, and for `g` all digits of the precision.
fn with_point(shown: &str, verb: char, precision: Option<usize>) -> String {
    let hex = matches!(verb, 'x' | 'X');
    let tail_at = shown.find(|char: char| matches!(char, 'p' | 'P') || !hex && matches!(char, 'e' | 'E'));
    let (body, tail) = shown.split_at(tail_at.unwrap_or(shown.len()));
    let mut out = body.to_owned();
    if !out.contains('.') {
        out.push('.');
    }
    if matches!(verb, 'g' | 'G' | 'x') {
        let significant = body.trim_start_matches(['0', '.']).bytes().filter(|byte| *byte != b'.').count();
        let significant = if body == "0" { 1 } else { significant };
        let wanted = precision.unwrap_or(6);
        out.extend(std::iter::repeat_n('0', wanted.saturating_sub(significant)));
    }
    out.push_str(tail);
    out
}
