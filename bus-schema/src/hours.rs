//! Business hours: when somebody is there, by the clock on the wall of a place.
//!
//! Pure: the rules of time zones are compiled in, the instant is given.

use chrono::{DateTime, Datelike, Days, Duration, NaiveDate, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The week of a place. No span: always closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// A name of the IANA database, such as `Europe/Berlin`.
    pub time_zone: String,
    pub open: Vec<OpenSpan>,
}

/// Open on a day from one minute to another; a night is two of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSpan {
    pub day: Day,
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`, at most `24:00`.
    pub to: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What is wrong with hours, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHours {
    #[error("must be a name of the IANA time zone database, such as Europe/Berlin")]
    TimeZone,
    #[error("must be a time HH:MM before `to`")]
    From { index: usize },
    #[error("must be a time HH:MM, at most 24:00")]
    To { index: usize },
}

const DAY_MINUTES: u32 = 24 * 60;
/// A week ahead, and the days that a time zone may be off.
const DAYS_AHEAD: u64 = 8;

impl Hours {
    pub fn check(&self) -> Result<(), BadHours> {
        self.zone().ok_or(BadHours::TimeZone)?;
        match self.open.iter().position(|span| span.minutes().is_none()) {
            Some(index) if minute(&self.open[index].to).is_none() => Err(BadHours::To { index }),
            Some(index) => Err(BadHours::From { index }),
            None => Ok(()),
        }
    }

    /// Whether somebody is there. Hours that cannot be read keep nobody out.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let Some(local) = self.local(at) else { return true };
        let (day, minute) = (local.weekday().num_days_from_monday(), local.hour() * 60 + local.minute());
        self.spans().any(|(on, from, to)| on == day && (from..to).contains(&minute))
    }

    /// The next instant at which that may change.
    pub fn changes_after(&self, at: Timestamp) -> Option<Timestamp> {
        let (zone, local) = (self.zone()?, self.local(at)?);
        let first = local.date_naive().pred_opt()?;
        let dates = (0..=DAYS_AHEAD + 1).filter_map(|ahead| first.checked_add_days(Days::new(ahead)));
        let changes = dates.flat_map(|date| {
            let day = date.weekday().num_days_from_monday();
            let of_day = self.spans().filter(move |(on, ..)| *on == day);
            of_day
                .flat_map(move |(_, from, to)| [from, to])
                .filter_map(move |minute| instant(zone, date, minute))
        });
        changes.filter(|change| *change > at).min()
    }

    fn zone(&self) -> Option<Tz> {
        self.time_zone.parse().ok()
    }

    fn local(&self, at: Timestamp) -> Option<DateTime<Tz>> {
        Some(DateTime::<Utc>::from_timestamp_millis(at.millis())?.with_timezone(&self.zone()?))
    }

    fn spans(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        self.open.iter().filter_map(|span| {
            let (from, to) = span.minutes()?;
            Some((span.day as u32, from, to))
        })
    }
}

impl OpenSpan {
    fn minutes(&self) -> Option<(u32, u32)> {
        let (from, to) = (minute(&self.from)?, minute(&self.to)?);
        (from < to).then_some((from, to))
    }
}

fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number = |part: &str| (part.len() == 2).then(|| part.parse::<u32>().ok()).flatten();
    let (hour, minute) = (number(hour)?, number(minute)?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY_MINUTES).then_some(all)
}

/// When a clock on that wall shows it first; where it is put forward over it, the end of the gap.
fn instant(zone: Tz, date: NaiveDate, minute: u32) -> Option<Timestamp> {
    let midnight = date.and_time(NaiveTime::MIN);
    let shown = midnight + Duration::minutes(i64::from(minute));
    let found = zone.from_local_datetime(&shown).earliest();
    // No place has put its clock forward by more than a day.
    let after_gap = || {
        let mut later = (1..=i64::from(DAY_MINUTES)).map(|by| shown + Duration::minutes(by));
        later.find_map(|shown| zone.from_local_datetime(&shown).earliest())
    };
    found.or_else(after_gap).map(|time| Timestamp::from_millis(time.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn hours(time_zone: &str, spans: &[(Day, &str, &str)]) -> Hours {
        let span = |(day, from, to): &(Day, &str, &str)| OpenSpan {
            day: *day,
            from: (*from).to_owned(),
            to: (*to).to_owned(),
        };
        Hours { time_zone: time_zone.to_owned(), open: spans.iter().map(span).collect() }
    }

    #[test]
    fn a_place_is_open_by_its_own_clock_in_summer_and_winter() {
        let berlin = hours("Europe/Berlin", &[(Day::Fri, "09:00", "17:00")]);
        // Fridays: 20 November 2026 (UTC+1) and 3 July 2026 (UTC+2).
        for (text, open) in [
            ("2026-11-20T07:59:59.999Z", false),
            ("2026-11-20T08:00:00.000Z", true),
            ("2026-11-20T15:59:59.999Z", true),
            ("2026-11-20T16:00:00.000Z", false),
            ("2026-11-21T10:00:00.000Z", false),
            ("2026-07-03T07:00:00.000Z", true),
            ("2026-07-03T15:00:00.000Z", false),
        ] {
            assert_eq!(berlin.is_open(at(text)), open, "{text}");
        }
        let next = |text: &str| berlin.changes_after(at(text)).unwrap();
        assert_eq!(next("2026-11-20T08:00:00.000Z"), at("2026-11-20T16:00:00.000Z"));
        assert_eq!(next("2026-11-20T16:00:00.000Z"), at("2026-11-27T08:00:00.000Z"));
    }

    #[test]
    fn an_hour_that_does_not_exist_begins_where_the_clock_goes_on() {
        // On 29 March 2026 the clock in Berlin goes from 02:00 to 03:00, at 01:00 UTC.
        let berlin = hours("Europe/Berlin", &[(Day::Sun, "02:30", "24:00")]);
        assert_eq!(
            berlin.changes_after(at("2026-03-28T12:00:00.000Z")),
            Some(at("2026-03-29T01:00:00.000Z"))
        );
        assert!(berlin.is_open(at("2026-03-29T01:00:00.000Z")));
        assert_eq!(
            berlin.changes_after(at("2026-03-29T01:00:00.000Z")),
            Some(at("2026-03-29T22:00:00.000Z"))
        );
    }

    #[test]
    fn whoever_never_opens_is_closed_and_nothing_changes_that() {
        let never = hours("Asia/Kathmandu", &[]);
        assert_eq!(
            (
                never.is_open(at("2026-11-20T08:00:00.000Z")),
                never.changes_after(at("2026-11-20T08:00:00.000Z"))
            ),
            (false, None)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(hours("Europe/Nowhere", &[]).check(), Err(BadHours::TimeZone));
        let (bad_from, bad_to) = (BadHours::From { index: 1 }, BadHours::To { index: 1 });
        for (from, to, bad) in [
            ("9:00", "17:00", &bad_from),
            ("17:00", "09:00", &bad_from),
            ("09:00", "24:01", &bad_to),
            ("09:00", "5 pm", &bad_to),
            ("09:60", "17:00", &bad_from),
            ("-1:00", "17:00", &bad_from),
        ] {
            let wrong = hours("UTC", &[(Day::Mon, "09:00", "10:00"), (Day::Tue, from, to)]);
            assert_eq!(wrong.check(), Err(bad.clone()), "{from}–{to}");
        }
        assert_eq!(hours("UTC", &[(Day::Mon, "00:00", "24:00")]).check(), Ok(()));
    }
}
