//! Cron lines as cron(8) reads them, on the parser of the `cron` crate.
//!
//! The crate's lines differ: they have seconds, count weekdays from 1 = Sunday, and want a day to fulfil both the day of the
//! month and the weekday. A line of five or six fields is brought into that form here, and becomes two patterns when both days
//! are restricted, since to cron(8) either suffices.

use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use cron::Schedule as CronSchedule;

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// Longest line in bytes.
const LINE_BYTES_MAX: usize = 256;

/// A parsed line: local times that match.
#[derive(Clone, Debug)]
pub(crate) struct CronLine {
    patterns: Vec<CronSchedule>,
    /// Whether the hour is a wildcard, so that the line means "so often" rather than "at this time of day".
    pub(crate) any_hour: bool,
}

impl CronLine {
    /// Reads `[seconds] minutes hours days months weekdays`, or `@hourly` and the like.
    ///
    /// # Errors
    /// Says what is wrong, as a fragment.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("{} bytes, at most {LINE_BYTES_MAX} are allowed", line.len()));
        }
        let line = match line.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            line => line,
        };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (seconds, minutes, hours, days, months, weekdays) = match fields[..] {
            [minutes, hours, days, months, weekdays] => ("0", minutes, hours, days, months, weekdays),
            [seconds, minutes, hours, days, months, weekdays] => (seconds, minutes, hours, days, months, weekdays),
            _ => return Err(format!("{} fields, a cron line has five, or six with seconds first", fields.len())),
        };
        let weekdays = expand_weekdays(weekdays)?;
        let days_of = |days: &str, weekdays: &str| {
            let line = format!("{seconds} {minutes} {hours} {days} {months} {weekdays}");
            CronSchedule::from_str(&line).map_err(|error| error.to_string())
        };
        let patterns = if is_any(days) || is_any(&weekdays) {
            vec![days_of(days, &weekdays)?]
        } else {
            vec![days_of(days, "*")?, days_of("*", &weekdays)?]
        };
        let parsed = Self { patterns, any_hour: hours.starts_with('*') };
        let first = parsed.after(DateTime::UNIX_EPOCH.naive_utc()).next();
        if first.is_some() { Ok(parsed) } else { Err("it never comes".to_owned()) }
    }

    /// Local times that match, after this one.
    pub(crate) fn after(&self, local: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + '_ {
        let start = local.and_utc();
        let mut patterns: Vec<_> =
            self.patterns.iter().map(|pattern| pattern.after::<Utc>(&start).peekable()).collect();
        std::iter::from_fn(move || {
            let next = patterns.iter_mut().filter_map(|pattern| pattern.peek().copied()).min()?;
            for pattern in &mut patterns {
                while pattern.peek().is_some_and(|time| *time <= next) {
                    pattern.next();
                }
            }
            Some(next.naive_utc())
        })
    }
}

fn is_any(field: &str) -> bool {
    field.starts_with('*') || field == "?"
}

/// Weekdays by name, one by one: `1-5` becomes `MON,TUE,WED,THU,FRI`.
fn expand_weekdays(field: &str) -> Result<String, String> {
    if field == "*" || field == "?" {
        return Ok("*".to_owned());
    }
    let mut names: Vec<&str> = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().map_err(|_| format!("`{step}` is no step"))?),
            None => (part, 1_usize),
        };
        if step == 0 {
            return Err("a step of 0 never gets anywhere".to_owned());
        }
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (weekday(first)?, weekday(last)?),
            None if range == "*" => (0, 6),
            None if step > 1 => (weekday(range)?, 6),
            None => (weekday(range)?, weekday(range)?),
        };
        // To cron 7 is Sunday, too: 5-7 goes over the end of the week.
        let last = if last < first { last + 7 } else { last };
        names.extend((first..=last).step_by(step).filter_map(|day| WEEKDAYS.get(day % 7)));
    }
    Ok(names.join(","))
}

fn weekday(text: &str) -> Result<usize, String> {
    let named = WEEKDAYS.iter().position(|name| name.eq_ignore_ascii_case(text));
    let numbered = text.parse::<usize>().ok().filter(|number| *number <= 7);
    named.or(numbered.map(|number| number % 7)).ok_or_else(|| format!("`{text}` is no weekday"))
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, expect: &[&str]) {
        let start = NaiveDate::from_ymd_opt(2026, 11, 25).unwrap().and_hms_opt(10, 0, 0).unwrap();
        let found: Vec<String> = CronLine::parse(line)
            .unwrap()
            .after(start)
            .take(expect.len())
            .map(|time| time.format("%a %m-%d %H:%M:%S").to_string())
            .collect();
        assert_eq!(found, expect, "{line}");
    }

    #[test]
    fn lines_mean_what_they_mean_to_cron() {
        check("*/20 * * * *", &["Wed 11-25 10:20:00", "Wed 11-25 10:40:00", "Wed 11-25 11:00:00"]);
        check("30 */10 * * * *", &["Wed 11-25 10:00:30", "Wed 11-25 10:10:30"]);
        check("0 3 * * 1-5", &["Thu 11-26 03:00:00", "Fri 11-27 03:00:00", "Mon 11-30 03:00:00"]);
        check("0 3 * * 0", &["Sun 11-29 03:00:00"]);
        check("0 3 * * 7", &["Sun 11-29 03:00:00"]);
        check("0 3 * * 5-7", &["Fri 11-27 03:00:00", "Sat 11-28 03:00:00", "Sun 11-29 03:00:00", "Fri 12-04 03:00:00"]);
        check("0 3 * * mon", &["Mon 11-30 03:00:00"]);
        // Either day suffices.
        check("0 0 13 * 5", &["Fri 11-27 00:00:00", "Fri 12-04 00:00:00", "Fri 12-11 00:00:00", "Sun 12-13 00:00:00"]);
        check("0 0 29 2 *", &["Tue 02-29 00:00:00"]);
        check("@monthly", &["Tue 12-01 00:00:00"]);
    }

    #[test]
    fn a_line_that_is_none_says_why() {
        let error = |line: &str| CronLine::parse(line).unwrap_err();
        assert_eq!(error("* * *"), "3 fields, a cron line has five, or six with seconds first");
        assert_eq!(error("0 3 * * 8"), "`8` is no weekday");
        assert_eq!(error("0 3 * * */0"), "a step of 0 never gets anywhere");
        assert_eq!(error("0 0 30 2 *"), "it never comes");
        assert!(!error("61 * * * *").is_empty());
        assert!(!error("a b c d e").is_empty());
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in "[0-9*,/?a-zA-Z@ -]{0,40}") {
            let _outcome = CronLine::parse(&line);
        }
    }
}
