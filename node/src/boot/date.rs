//! HTTP dates (RFC 9110 §5.6.7): the one form we write and the three we read.

use raft::types::Timestamp;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Whole seconds since 1970: what an HTTP date can say of a time.
#[must_use]
pub(super) fn seconds(at: Timestamp) -> i64 {
    i64::try_from(at.0 / 1000).unwrap_or(i64::MAX)
}

/// `Sat, 01 Jan 2000 00:00:00 GMT`
#[must_use]
pub(super) fn format(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let weekday = DAYS[usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0)];
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads the preferred form, RFC 850's and C's `asctime`; `None` for anything else.
#[must_use]
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim_matches(' ');
    match text.split_once(", ") {
        Some((_, rest)) if rest.contains('-') => {
            let (date, rest) = rest.split_once(' ')?;
            let mut parts = date.split('-');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            // Two digits: 69 to 99 are of the last century, as in Go.
            let year: i64 = number(year, 2)?;
            time(if year >= 69 { 1900 + year } else { 2000 + year }, month, number(day, 2)?, rest.strip_suffix(" GMT")?)
        }
        Some((weekday, rest)) if DAYS.contains(&weekday) => {
            let mut parts = rest.splitn(4, ' ');
            let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
            time(number(year, 4)?, month, number(day, 2)?, parts.next()?.strip_suffix(" GMT")?)
        }
        Some(_) => None,
        None => {
            let mut parts = text.split_ascii_whitespace();
            let (_, month, day) = (parts.next().filter(|day| DAYS.contains(day))?, parts.next()?, parts.next()?);
            let (clock, year) = (parts.next()?, parts.next()?);
            if parts.next().is_some() {
                return None;
            }
            time(number(year, 4)?, month, number(day, day.len().min(2))?, clock)
        }
    }
}

fn time(year: i64, month: &str, day: i64, clock: &str) -> Option<i64> {
    let month = MONTHS.iter().position(|name| *name == month)?;
    let mut parts = clock.split(':');
    let (hour, minute, second) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let plain = parts.next().is_none() && hour < 24 && minute < 60 && second < 61;
    let days = days_from_civil(year, i64::try_from(month).ok()? + 1, day);
    let exists = day >= 1 && civil(days) == (year, i64::try_from(month).ok()? + 1, day);
    (plain && exists).then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar (years counted from March).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
        for text in
            ["", "not a date", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "Sun, 06 Nov 1994"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(format(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(format(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        for at in (0..5_000_000_000).step_by(7_654_321) {
            assert_eq!(parse(&format(at)), Some(at));
        }
        assert!(!format(seconds(Timestamp(u64::MAX))).is_empty());
    }
}
