//! Floating-point numbers as Go writes them: shortest, fixed, scientific, binary and hexadecimal.

/// The most digits behind the point that can differ from zero in a 64-bit float.
const FRACTION_DIGITS_MAX: usize = 1_100;
/// The precision that stands for "as many hexadecimal digits as the number has".
const MANTISSA_HEX_DIGITS: usize = 13;

/// A number as Go's `%v` prints it: the fewest digits that read back as the same number, with an exponent below
/// 0.0001 and from a million on (`100000`, `1e+06`, `1.2345678e+07`, `1e-05`).
pub fn format_number(number: f64) -> String {
    format_float(number, 'g', None)
}

/// Formats for one of the verbs `e E f F g G x X b`; without a precision the shortest digits that read back the same.
pub(super) fn format_float(number: f64, verb: char, precision: Option<usize>) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = number.abs();
    let body = match verb {
        'e' | 'E' => Digits::of(magnitude, precision.map(|digits| digits + 1)).scientific(precision),
        'f' | 'F' => fixed(magnitude, precision),
        'x' | 'X' => hexadecimal(magnitude, precision),
        'b' => binary(magnitude),
        _ => general(magnitude, precision),
    };
    let body = if verb.is_ascii_uppercase() { body.to_uppercase() } else { body };
    if number.is_sign_negative() { format!("-{body}") } else { body }
}

fn general(magnitude: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|digits| digits.max(1));
    let digits = Digits::of(magnitude, precision);
    let exponent = digits.point - 1;
    let limit = precision.map_or(6, |digits| i32::try_from(digits).unwrap_or(i32::MAX));
    if exponent < -4 || exponent >= limit {
        return digits.scientific(Some(digits.shown.len().saturating_sub(1)));
    }
    digits.fixed()
}

fn fixed(magnitude: f64, precision: Option<usize>) -> String {
    let Some(precision) = precision else {
        return Digits::of(magnitude, None).fixed();
    };
    let exact = precision.min(FRACTION_DIGITS_MAX);
    let mut out = format!("{magnitude:.exact$}");
    out.extend(std::iter::repeat_n('0', precision - exact));
    out
}

/// The significant decimal digits of a number, without trailing zeros; zero has none.
struct Digits {
    shown: Vec<u8>,
    /// Where the decimal point stands, counted from before the first digit.
    point: i32,
}

impl Digits {
    /// The digits of a number that is not negative, rounded to `significant` ones or the fewest that read back.
    fn of(magnitude: f64, significant: Option<usize>) -> Self {
        let text = match significant {
            Some(digits) => {
                let exact = digits.clamp(1, FRACTION_DIGITS_MAX) - 1;
                format!("{magnitude:.exact$e}")
            }
            None => format!("{magnitude:e}"),
        };
        let (mantissa, exponent) = text.split_once('e').expect("the exponent form has an exponent");
        let mut shown: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        while shown.last() == Some(&b'0') {
            shown.pop();
        }
        let point =
            if shown.is_empty() { 0 } else { exponent.parse::<i32>().expect("the exponent is a small integer") + 1 };
        Self { shown, point }
    }

    fn scientific(&self, precision: Option<usize>) -> String {
        let digit = |at: usize| char::from(self.shown.get(at).copied().unwrap_or(b'0'));
        let precision = precision.unwrap_or(self.shown.len().saturating_sub(1));
        let mut out = String::from(digit(0));
        if precision > 0 {
            out.push('.');
            out.extend((1..=precision).map(digit));
        }
        let exponent = if self.shown.is_empty() { 0 } else { self.point - 1 };
        out.push('e');
        push_exponent(&mut out, exponent);
        out
    }

    fn fixed(&self) -> String {
        let count = i32::try_from(self.shown.len()).expect("digits are few");
        let digit =
            |at: i32| usize::try_from(at).ok().and_then(|at| self.shown.get(at)).map_or('0', |b| char::from(*b));
        let mut out: String = (0..self.point).map(digit).collect();
        if out.is_empty() {
            out.push('0');
        }
        if count > self.point {
            out.push('.');
            out.extend((self.point..count).map(digit));
        }
        out
    }
}

/// A sign and at least two digits.
fn push_exponent(out: &mut String, exponent: i32) {
    out.push(if exponent < 0 { '-' } else { '+' });
    out.push_str(&format!("{:02}", exponent.unsigned_abs()));
}

/// The mantissa as an integer and the power of two it is multiplied by.
fn mantissa(magnitude: f64) -> (u64, i32) {
    let bits = magnitude.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = i32::try_from(bits >> 52 & 0x7ff).expect("eleven bits");
    if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) }
}

fn binary(magnitude: f64) -> String {
    let (mantissa, exponent) = mantissa(magnitude);
    format!("{mantissa}p{exponent:+}")
}

fn hexadecimal(magnitude: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = mantissa(magnitude);
    if mantissa == 0 {
        exponent = 0;
    } else {
        let shift = mantissa.leading_zeros() - 11;
        mantissa <<= shift;
        exponent += 52 - i32::try_from(shift).expect("fewer than 64");
    }
    if let Some(digits) = precision.filter(|digits| *digits < MANTISSA_HEX_DIGITS) {
        let dropped = 4 * (MANTISSA_HEX_DIGITS - digits);
        let (rest, half) = (mantissa & ((1 << dropped) - 1), 1 << (dropped - 1));
        mantissa >>= dropped;
        if rest > half || rest == half && mantissa & 1 == 1 {
            mantissa += 1;
        }
        mantissa <<= dropped;
        if mantissa >> 53 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut fraction = format!("{:013x}", mantissa & ((1 << 52) - 1));
    match precision {
        Some(digits) if digits < fraction.len() => fraction.truncate(digits),
        Some(digits) => fraction.extend(std::iter::repeat_n('0', digits - fraction.len())),
        None => fraction.truncate(fraction.trim_end_matches('0').len()),
    }
    let mut out = format!("0x{}", mantissa >> 52);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(&fraction);
    }
    out.push('p');
    push_exponent(&mut out, exponent);
    out
}
