//! Moments as queries write them: `1h-ago`, `now`, seconds, milliseconds, dates.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use chrono_tz::Tz;
use tidemark_model::TimestampMs;

use crate::{Interval, ParseError, parse_error::excerpt};

/// Reads a moment, in milliseconds since the epoch; never negative.
///
/// `<n><unit>-ago` and `now` are relative to `now_ms`. Up to ten digits are seconds and more are milliseconds, as are
/// `<digits>ms` and `<seconds>.<milliseconds>`. Dates are `yyyy/MM/dd`, optionally followed by a blank or `-` and
/// `HH:mm` or `HH:mm:ss`, in `zone`; a time that a clock change skips means the moment of the change.
///
/// # Errors
/// Says in OpenTSDB's words what is wrong.
pub fn parse_time(text: &str, now_ms: TimestampMs, zone: Tz) -> Result<TimestampMs, ParseError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(now_ms);
    }
    if let Some(interval) = strip_suffix_ignoring_case(text, "-ago") {
        return Ok(now_ms.saturating_sub(interval.parse::<Interval>()?.millis()).max(0));
    }
    if let Some(digits) = text.strip_suffix("ms").filter(|digits| is_digits(digits)) {
        return parse_integer(digits, text);
    }
    if text.contains(['/', ':']) {
        return parse_date(text, zone);
    }
    parse_number(text)
}

/// Reads the name of a time zone of the IANA database.
///
/// # Errors
/// [`ParseError::TimeZone`] for any other name.
pub fn parse_time_zone(name: &str) -> Result<Tz, ParseError> {
    name.parse().map_err(|_| ParseError::TimeZone(excerpt(name)))
}

/// The moment at which clocks in `zone` show `local`: the earlier one of two, or that of the change which skips it.
pub(crate) fn local_to_utc_ms(local: NaiveDateTime, zone: Tz) -> Option<TimestampMs> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => Some(moment.timestamp_millis()),
        LocalResult::None => clock_change(local.and_utc().timestamp(), zone),
    }
}

/// The moment of the clock change nearest to `around`, in milliseconds. Zones have skipped up to one day.
fn clock_change(around: i64, zone: Tz) -> Option<TimestampMs> {
    const NEARBY_SECONDS: i64 = 40 * 3600;
    let offset = |seconds: i64| {
        let moment = DateTime::from_timestamp(seconds, 0)?.naive_utc();
        Some(zone.offset_from_utc_datetime(&moment).fix().local_minus_utc())
    };
    let (mut before, mut after) = (around - NEARBY_SECONDS, around + NEARBY_SECONDS);
    let offset_before = offset(before)?;
    while after - before > 1 {
        let middle = before.midpoint(after);
        if offset(middle)? == offset_before { before = middle } else { after = middle }
    }
    Some(after * 1000)
}

fn parse_number(text: &str) -> Result<TimestampMs, ParseError> {
    let Some((seconds, millis)) = text.split_once('.') else {
        let time = parse_integer(text, text)?;
        let is_seconds = text.len() <= 10;
        return Ok(if is_seconds { time.saturating_mul(1000) } else { time });
    };
    if seconds.len() != 10 || !is_digits(seconds) || !(1..=3).contains(&millis.len()) || !is_digits(millis) {
        let reason = "Millisecond timestamps must be in the format <seconds>.<ms> where the milliseconds are limited to \
                      3 digits";
        return Err(ParseError::Time { text: excerpt(text), reason: reason.to_owned() });
    }
    let seconds = parse_integer(seconds, text)?;
    parse_integer(&format!("{millis:0<3}"), text).map(|millis| seconds * 1000 + millis)
}

fn parse_integer(digits: &str, text: &str) -> Result<i64, ParseError> {
    let refused = |reason: String| Err(ParseError::Time { text: excerpt(text), reason });
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if digits.is_empty() {
        return refused("Empty string".to_owned());
    }
    if unsigned.is_empty() {
        return refused(format!("Just a sign, no value: {digits}"));
    }
    if let Some(character) = unsigned.chars().find(|character| !character.is_ascii_digit()) {
        return refused(format!("Invalid character '{character}' in {}", excerpt(digits)));
    }
    match digits.parse::<i64>() {
        Ok(time) if time < 0 => refused("Negative timestamps are not supported.".to_owned()),
        Ok(time) => Ok(time),
        Err(_) => refused(format!("Overflow in {}", excerpt(digits))),
    }
}

fn parse_date(text: &str, zone: Tz) -> Result<TimestampMs, ParseError> {
    let (date_text, time_text) = match (text.len(), text.split_at_checked(10)) {
        (10, _) => (text, None),
        (16 | 19, Some((date, rest))) => match rest.strip_prefix([' ', '-']) {
            Some(time) => (date, Some(time)),
            None => return Err(ParseError::DateLayout(excerpt(text))),
        },
        _ => return Err(ParseError::DateLayout(excerpt(text))),
    };
    let refused = || ParseError::Date(excerpt(text));
    let date = NaiveDate::parse_from_str(date_text, "%Y/%m/%d").map_err(|_| refused())?;
    let time = match time_text {
        None => NaiveTime::MIN,
        Some(time) if time.len() == 5 => NaiveTime::parse_from_str(time, "%H:%M").map_err(|_| refused())?,
        Some(time) => NaiveTime::parse_from_str(time, "%H:%M:%S").map_err(|_| refused())?,
    };
    let moment = local_to_utc_ms(date.and_time(time), zone).ok_or_else(refused)?;
    if moment < 0 {
        let reason = "Negative timestamps are not supported.".to_owned();
        return Err(ParseError::Time { text: excerpt(text), reason });
    }
    Ok(moment)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: TimestampMs = 1_357_000_000_123;

    #[test]
    fn every_form_of_a_moment_is_read() {
        let check = |text: &str, zone: Tz, expect: TimestampMs| {
            assert_eq!(parse_time(text, NOW_MS, zone), Ok(expect), "{text}");
        };
        check("now", Tz::UTC, NOW_MS);
        check("1h-ago", Tz::UTC, NOW_MS - 3_600_000);
        check("2W-AGO", Tz::UTC, NOW_MS - 14 * 86_400_000);
        check("1n-ago", Tz::UTC, NOW_MS - 30 * 86_400_000);
        check("99y-ago", Tz::UTC, 0);
        check("1356998400", Tz::UTC, 1_356_998_400_000);
        check("1356998400123", Tz::UTC, 1_356_998_400_123);
        check("0", Tz::UTC, 0);
        check("1500ms", Tz::UTC, 1500);
        check("1356998400.123", Tz::UTC, 1_356_998_400_123);
        check("1356998400.5", Tz::UTC, 1_356_998_400_500);
        check("2013/01/01", Tz::UTC, 1_356_998_400_000);
        check("2013/01/01-01:00", Tz::Europe__Paris, 1_356_998_400_000);
        check("2013/01/01 01:00:30", Tz::Europe__Paris, 1_356_998_430_000);
        // 02:30 does not exist on that day; 02:30 of the other day exists twice.
        check("2013/03/31-02:30", Tz::Europe__Paris, 1_364_691_600_000);
        check("2013/10/27-02:30", Tz::Europe__Paris, 1_382_833_800_000);
    }

    #[test]
    fn a_wrong_moment_says_what_is_wrong_in_opentsdbs_words() {
        let check = |text: &str, expect: &str| {
            assert_eq!(parse_time(text, NOW_MS, Tz::UTC).unwrap_err().to_string(), expect);
        };
        check("foo", "Invalid time: foo. Invalid character 'f' in foo");
        check("", "Invalid time: . Empty string");
        check("-5", "Invalid time: -5. Negative timestamps are not supported.");
        check("99999999999999999999", "Invalid time: 99999999999999999999. Overflow in 99999999999999999999");
        check("1x-ago", "Invalid duration (suffix): 1x");
        check("2013/13/01", "Invalid date: 2013/13/01");
        check("2013/1/1", "Invalid absolute date: 2013/1/1");
        check("1969/12/31", "Invalid time: 1969/12/31. Negative timestamps are not supported.");
        assert!(parse_time("135699840.123", NOW_MS, Tz::UTC).is_err());
        assert_eq!(parse_time_zone("Mars/Base").unwrap_err().to_string(), "Invalid timezone name: Mars/Base");
        assert_eq!(parse_time_zone("Asia/Tokyo"), Ok(Tz::Asia__Tokyo));
    }
}
