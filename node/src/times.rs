//! How times are written for people and programs: RFC 3339, in UTC.

use std::time::Duration;

use raft::types::Timestamp;

/// `2026-11-21T09:54:07Z`; nothing for a time that never was.
#[must_use]
pub fn rfc3339(time: Timestamp) -> Option<String> {
    (time.0 != 0).then(|| format!("{}Z", whole_seconds(time)))
}

/// `2026-11-21T09:54:07.123Z`: to the millisecond, for what follows quickly upon one another.
#[must_use]
pub fn rfc3339_millis(time: Timestamp) -> String {
    format!("{}.{:03}Z", whole_seconds(time), time.0 % 1000)
}

/// Seconds since 1970 of a time as [`rfc3339`] writes it.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, mark: char| -> Option<[u64; 3]> {
        let all: Vec<u64> = text.split(mark).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        all.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(day, '-')?, numbers(time, ':')?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // As in `date`, years begin in March.
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let (era, of_era) = (year / 400, year % 400);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// How long something has lasted, in the largest unit of which there are two: `90 seconds`, `3 days`.
#[must_use]
pub fn for_people(lasted: Duration) -> String {
    let seconds = lasted.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn whole_seconds(time: Timestamp) -> String {
    let seconds = time.0 / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn date(day: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last of its year; eras are 400 years.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_said_in_one_unit() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (172_799, "47 hours"),
            (172_800, "2 days"),
            (40_000_000, "462 days"),
        ] {
            assert_eq!(for_people(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (1, "1970-01-01T00:00:01Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_254_847, "2026-11-21T09:54:07Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(seconds * 1000)).as_deref(), Some(text));
            assert_eq!(parse_rfc3339(text), Some(seconds));
        }
        for wrong in
            ["", "2026-11-21", "2026-13-01T00:00:00Z", "2026-01-01T00:00Z", "x-01-01T00:00:00Z", "0-1-1T0:0:0Z"]
        {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
        assert_eq!(rfc3339(Timestamp(0)), None);
        assert_eq!(rfc3339_millis(Timestamp(1_795_254_847_012)), "2026-11-21T09:54:07.012Z");
    }
}
