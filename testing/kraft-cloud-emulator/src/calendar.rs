//! Calendar events of systemd, as schedules use them: `[WEEKDAYS] [[YEAR-]MONTH-DAY]
//! [HOUR:MINUTE[:SECOND]]` in UTC, and their shorthands, `minutely` to `yearly`.
//!
//! Each part is `*`, a number, a range `1..5`, any of them with a step, `*/15`, or several of them,
//! separated by commas.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Number of days that are searched for the next event: an event of 29 February on a given weekday
/// occurs every 28 years.
const HORIZON: u32 = 29 * 366;

/// The numbers that one part allows: `(first, last, step)`; any number if there are none.
#[derive(Debug, Clone, Default)]
struct Part(Vec<(i16, i16, i16)>);

impl Part {
    fn parse(text: &str, names: impl Fn(&str) -> Option<i16>) -> Option<Self> {
        let mut ranges = Vec::new();
        for one in text.split(',') {
            let (range, step) = match one.split_once('/') {
                Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
                None => (one, 0),
            };
            let (first, last) = match range.split_once("..") {
                Some((first, last)) => (names(first)?, names(last)?),
                None if range == "*" && step == 0 => return Some(Self::default()),
                None if range == "*" => (0, i16::MAX),
                // With a step, a number is the first of many.
                None if step > 0 => (names(range)?, i16::MAX),
                None => (names(range)?, names(range)?),
            };
            if first > last {
                return None;
            }
            ranges.push((first, last, step.max(1)));
        }
        Some(Self(ranges))
    }

    fn number(text: &str) -> Option<Self> {
        Self::parse(text, |number| number.parse().ok().filter(|n| *n >= 0))
    }

    fn has(&self, number: i16) -> bool {
        let inside = |(first, last, step): &(i16, i16, i16)| {
            (*first..=*last).contains(&number) && (number - first) % step == 0
        };
        self.0.is_empty() || self.0.iter().any(inside)
    }
}

/// A calendar event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    weekdays: Part,
    date: [Part; 3],
    time: [Part; 3],
}

impl Event {
    /// Parses an event; `None` if it is not valid.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "minutely" => "*-*-* *:*:00",
            "hourly" => "*-*-* *:00:00",
            "daily" => "*-*-* 00:00:00",
            "weekly" => "Mon *-*-* 00:00:00",
            "monthly" => "*-*-01 00:00:00",
            "quarterly" => "*-01,04,07,10-01 00:00:00",
            "semiannually" => "*-01,07-01 00:00:00",
            "yearly" | "annually" => "*-01-01 00:00:00",
            other => other,
        };
        let mut event = Self {
            weekdays: Part::default(),
            date: [Part::default(), Part::default(), Part::default()],
            time: [Part::number("0")?, Part::number("0")?, Part::number("0")?],
        };
        let mut words = text.split_whitespace().peekable();
        words.peek()?;
        if let Some(days) = words.next_if(|word| word.starts_with(|c: char| c.is_alphabetic())) {
            event.weekdays = Part::parse(days, weekday)?;
        }
        if let Some(date) = words.next_if(|word| word.contains('-')) {
            let parts: Vec<&str> = date.split('-').collect();
            event.date = match parts.as_slice() {
                [month, day] => [Part::default(), Part::number(month)?, Part::number(day)?],
                [year, month, day] => [
                    Part::number(year)?,
                    Part::number(month)?,
                    Part::number(day)?,
                ],
                _ => return None,
            };
        }
        if let Some(time) = words.next_if(|word| word.contains(':')) {
            let parts: Vec<&str> = time.split(':').collect();
            event.time = match parts.as_slice() {
                [hour, minute] => [
                    Part::number(hour)?,
                    Part::number(minute)?,
                    Part::number("0")?,
                ],
                [hour, minute, second] => [
                    Part::number(hour)?,
                    Part::number(minute)?,
                    Part::number(second)?,
                ],
                _ => return None,
            };
        }
        let _ = words.next_if_eq(&"UTC");
        words.next().is_none().then_some(event)
    }

    /// Returns the first time of the event after another time.
    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = Timestamp::from_second(after.as_second()).ok()?;
        let from = after.to_zoned(TimeZone::UTC).datetime();
        let from = from.checked_add(1.second()).ok()?;
        let mut date = from.date();
        let mut earliest = from.time();
        for _ in 0..HORIZON {
            if self.is_on(date)
                && let Some(time) = self.first(earliest)
            {
                let found = DateTime::from_parts(date, time)
                    .to_zoned(TimeZone::UTC)
                    .ok()?;
                return Some(found.timestamp());
            }
            date = date.tomorrow().ok()?;
            earliest = Time::midnight();
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        let [year, month, day] = &self.date;
        let weekday = i16::from(date.weekday().to_monday_zero_offset());
        self.weekdays.has(weekday)
            && year.has(date.year())
            && month.has(i16::from(date.month()))
            && day.has(i16::from(date.day()))
    }

    /// Returns the first time on a day from a time on.
    fn first(&self, from: Time) -> Option<Time> {
        let [hours, minutes, seconds] = &self.time;
        let all = |part: &'_ Part, count: i8| {
            let part = part.clone();
            (0..count).filter(move |n| part.has(i16::from(*n)))
        };
        for hour in all(hours, 24).filter(|hour| *hour >= from.hour()) {
            for minute in all(minutes, 60) {
                for second in all(seconds, 60) {
                    let time = Time::new(hour, minute, second, 0).ok()?;
                    if time >= from {
                        return Some(time);
                    }
                }
            }
        }
        None
    }
}

/// Returns the number of a weekday, from 0 for Monday.
fn weekday(name: &str) -> Option<i16> {
    let all = [
        (Weekday::Monday, "monday"),
        (Weekday::Tuesday, "tuesday"),
        (Weekday::Wednesday, "wednesday"),
        (Weekday::Thursday, "thursday"),
        (Weekday::Friday, "friday"),
        (Weekday::Saturday, "saturday"),
        (Weekday::Sunday, "sunday"),
    ];
    let name = name.to_ascii_lowercase();
    let is = |(_, full): &&(Weekday, &str)| *full == name || full.get(..3) == Some(&name);
    let (day, _) = all.iter().find(is)?;
    Some(i16::from(day.to_monday_zero_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_of_an_event_is_found() {
        // A Monday.
        let now: Timestamp = "2026-11-30T11:45:00Z".parse().ok().unwrap_or_default();
        for (event, next) in [
            ("daily", "2026-12-01T00:00:00Z"),
            ("hourly", "2026-11-30T12:00:00Z"),
            ("*-*-* 09:00:00", "2026-12-01T09:00:00Z"),
            ("*:*:*", "2026-11-30T11:45:01Z"),
            ("Sat,Sun *-*-* 20:00:00", "2026-12-05T20:00:00Z"),
            ("Mon..Fri 12:30", "2026-11-30T12:30:00Z"),
            ("*:0/15", "2026-11-30T12:00:00Z"),
            ("02-29", "2028-02-29T00:00:00Z"),
            ("weekly", "2026-12-07T00:00:00Z"),
            ("2027-*-1..7/2 *:59:30", "2027-01-01T00:59:30Z"),
        ] {
            let found = Event::parse(event).and_then(|event| event.next(now));
            assert_eq!(
                found.map(|at| at.to_string()).as_deref(),
                Some(next),
                "{event}"
            );
        }
        let past = Event::parse("2020-01-01");
        assert!(past.is_some_and(|event| event.next(now).is_none()));
        for wrong in ["", "sometimes", "5..1:00", "1-2-3-4", "daily daily", "*:x"] {
            assert!(Event::parse(wrong).is_none(), "{wrong}");
        }
    }
}
