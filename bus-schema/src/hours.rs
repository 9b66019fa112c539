//! Business hours: when somebody is there, by the clock on the wall of a place.
//!
//! Pure: the rules of time zones are compiled in, the instant is given.

use chrono::{
    DateTime, Datelike, Days, Duration, NaiveDate, NaiveTime, Offset as _, TimeZone, Timelike, Utc,
};
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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

    /// The next instant at which that changes.
    pub fn changes_after(&self, at: Timestamp) -> Option<Timestamp> {
        let (zone, local) = (self.zone()?, self.local(at)?);
        let first = local.date_naive().pred_opt()?;
        let dates = (0..=DAYS_AHEAD + 1).filter_map(|ahead| first.checked_add_days(Days::new(ahead)));
        let may_change = dates.flat_map(|date| {
            let day = date.weekday().num_days_from_monday();
            let of_day = self.spans().filter(move |(on, ..)| *on == day);
            let ends = of_day.flat_map(|(_, from, to)| [from, to]);
            ends.flat_map(move |minute| shown(zone, date, minute)).chain(put_back_or_forward(zone, date))
        });
        let before = |change: &Timestamp| Timestamp::from_millis(change.millis() - 1);
        let changes = |change: &Timestamp| self.is_open(*change) != self.is_open(before(change));
        may_change.filter(|change| *change > at).filter(changes).min()
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

/// When a clock on that wall shows it: once, twice where it is put back over it, or never where it is put forward.
fn shown(zone: Tz, date: NaiveDate, minute: u32) -> impl Iterator<Item = Timestamp> {
    let shown = date.and_time(NaiveTime::MIN) + Duration::minutes(i64::from(minute));
    let found = zone.from_local_datetime(&shown);
    let twice = found.earliest().into_iter().chain(found.latest());
    twice.map(|time| Timestamp::from_millis(time.timestamp_millis()))
}

/// The minute of that day (of UTC) from which the clock is another one.
fn put_back_or_forward(zone: Tz, date: NaiveDate) -> Option<Timestamp> {
    let midnight = date.and_time(NaiveTime::MIN);
    let offset = |minute: u32| {
        let instant = midnight + Duration::minutes(i64::from(minute));
        zone.offset_from_utc_datetime(&instant).fix()
    };
    let before = offset(0);
    if offset(DAY_MINUTES) == before {
        return None;
    }
    let (mut old, mut new) = (0, DAY_MINUTES);
    while new - old > 1 {
        let middle = old.midpoint(new);
        if offset(middle) == before { old = middle } else { new = middle }
    }
    let instant = midnight + Duration::minutes(i64::from(new));
    Some(Timestamp::from_millis(instant.and_utc().timestamp_millis()))
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
    fn an_hour_that_comes_twice_is_open_twice() {
        // On 25 October 2026 the clock in Berlin goes from 03:00 back to 02:00, at 01:00 UTC.
        for (from, to, changes) in [
            ("02:00", "02:30", &["00:00", "00:30", "01:00", "01:30"][..]),
            ("02:30", "04:00", &["00:30", "01:00", "01:30", "03:00"]),
            ("01:00", "02:30", &["23:00", "00:30", "01:00", "01:30"]),
            ("01:00", "05:00", &["23:00", "04:00"]),
        ] {
            let berlin = hours("Europe/Berlin", &[(Day::Sun, from, to)]);
            let mut now = at("2026-10-24T12:00:00.000Z");
            let mut open = false;
            for change in changes {
                now = berlin.changes_after(now).unwrap();
                open = !open;
                let text = now.to_string();
                assert_eq!((&text[11..16], berlin.is_open(now)), (*change, open), "{from} to {to}: {text}");
            }
            assert!(berlin.changes_after(now).unwrap() > at("2026-10-30T00:00:00.000Z"));
        }
    }

    #[test]
    fn what_changes_next_is_what_looking_at_every_minute_finds() {
        let week = [(Day::Sat, "22:15", "24:00"), (Day::Sun, "00:00", "02:20"), (Day::Sun, "02:40", "03:10")];
        // Put back and forward by an hour, at midnight, and by half an hour.
        for (zone, around) in [
            ("Europe/Berlin", ["2026-10-24T20:00:00.000Z", "2026-03-28T20:00:00.000Z"]),
            ("America/Santiago", ["2026-04-04T20:00:00.000Z", "2026-09-05T20:00:00.000Z"]),
            ("Australia/Lord_Howe", ["2026-04-04T06:00:00.000Z", "2026-10-03T06:00:00.000Z"]),
        ] {
            let place = hours(zone, &week);
            for begin in around.map(at) {
                let minutes = (1..36 * 60).map(|n| Timestamp::from_millis(begin.millis() + n * 60_000));
                let seen: Vec<_> = minutes
                    .filter(|now| {
                        place.is_open(*now) != place.is_open(Timestamp::from_millis(now.millis() - 60_000))
                    })
                    .collect();
                let said = std::iter::successors(place.changes_after(begin), |now| place.changes_after(*now));
                let said: Vec<_> = said.take(seen.len()).collect();
                assert_eq!(said, seen, "{zone} from {begin}");
            }
        }
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
