//! Value parsers that several commands use.

use std::ffi::OsStr;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kraft_core::arch::Arch;
use kraft_core::platform::Platform;

/// A platform; `auto`, `host` and `all` match every platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlatformArg(pub(crate) Option<Platform>);

impl FromStr for PlatformArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" | "host" | "all" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|platform| Self(Some(platform)))
                .map_err(|_| "expected auto, qemu (or kvm), fc (or firecracker) or xen".to_owned()),
        }
    }
}

impl PlatformArg {
    /// Returns whether a platform matches.
    pub(crate) fn means(self, platform: Platform) -> bool {
        self.0.is_none_or(|meant| meant == platform)
    }
}

/// A platform that images are packaged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackagedPlatform {
    /// One of this host.
    Local(PlatformArg),
    /// That of Unikraft Cloud.
    Cloud,
}

impl FromStr for PackagedPlatform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "kraftcloud" => Ok(Self::Cloud),
            _ => text.parse().map(Self::Local),
        }
    }
}

/// Returns a parser of the platforms that images are packaged for.
pub(crate) fn packaged_platform() -> Named<PackagedPlatform> {
    Named::new(&["auto", "qemu", "fc", "xen", "kraftcloud"])
}

/// Returns a parser of platforms that offers their usual names.
pub(crate) fn platform() -> Named<PlatformArg> {
    Named::new(&["auto", "qemu", "fc", "xen"])
}

/// Returns a parser of architectures that offers their names.
pub(crate) fn arch() -> Named<Arch> {
    Named::new(&["x86_64", "arm64", "arm"])
}

/// Parses a duration: `10s`, `1m30s`, `500ms`; a plain number is in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a duration such as 10s, 1m30s or 500ms".to_owned();
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    match seconds {
        Ok(time) => Ok(time),
        Err(_) => text
            .parse::<SignedDuration>()
            .ok()
            .and_then(|time| Duration::try_from(time).ok())
            .ok_or_else(wrong),
    }
}

/// Parses a point in time: an age (`10m`, `1h30m`), an RFC 3339 date or time (without an offset, in
/// the given time zone), or seconds since 1970.
pub(crate) fn time(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let seconds = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return None;
        }
        let nanos = format!("{fraction:0<9}").parse().ok()?;
        Timestamp::new(whole.parse().ok()?, nanos).ok()
    };
    let ago = |text: &str| {
        let time = text.parse::<SignedDuration>().ok()?;
        now.checked_sub(time).ok()
    };
    let local = |text: &str| {
        let time = text.parse::<DateTime>().ok()?;
        zone.to_timestamp(time).ok()
    };
    seconds(text)
        .or_else(|| text.parse().ok())
        .or_else(|| ago(text))
        .or_else(|| local(text))
        .ok_or_else(|| {
            "expected a time such as 2026-01-31T12:00:00Z, or an age such as 10m".to_owned()
        })
}

/// Parses by `FromStr` and offers some of the valid values.
#[derive(Debug)]
pub(crate) struct Named<T> {
    offered: &'static [&'static str],
    what: std::marker::PhantomData<fn() -> T>,
}

impl<T> Named<T> {
    fn new(offered: &'static [&'static str]) -> Self {
        Self {
            offered,
            what: std::marker::PhantomData,
        }
    }
}

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Self::new(self.offered)
    }
}

impl<T> TypedValueParser for Named<T>
where
    T: FromStr + Clone + Send + Sync + 'static,
    T::Err: std::fmt::Display,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, arg, value)?;
        text.parse().map_err(|_: T::Err| {
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
            if let Some(arg) = arg {
                error.insert(
                    ContextKind::InvalidArg,
                    ContextValue::String(arg.to_string()),
                );
            }
            error.insert(
                ContextKind::InvalidValue,
                ContextValue::String(text.clone()),
            );
            let offered = self.offered.iter().map(|&word| word.to_owned()).collect();
            error.insert(ContextKind::ValidValue, ContextValue::Strings(offered));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.offered.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_platform_is_parsed() {
        assert_eq!("kvm".parse(), Ok(PlatformArg(Some(Platform::Qemu))));
        assert_eq!(
            "firecracker".parse(),
            Ok(PlatformArg(Some(Platform::Firecracker)))
        );
        for any in ["auto", "host", "all"] {
            assert_eq!(any.parse(), Ok(PlatformArg(None)));
        }
        assert!("vmware".parse::<PlatformArg>().is_err());
    }

    #[test]
    fn points_in_time_are_parsed_as_docker_does() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, wanted) in [
            ("10m", "2026-01-31T11:50:00Z"),
            ("1h30m", "2026-01-31T10:30:00Z"),
            ("90s", "2026-01-31T11:58:30Z"),
            ("500ms", "2026-01-31T11:59:59.5Z"),
            ("2026-01-31T11:00:00Z", "2026-01-31T11:00:00Z"),
            ("2026-01-31T11:00:00.25+01:00", "2026-01-31T10:00:00.25Z"),
            ("2026-01-31T11:00:00", "2026-01-31T09:00:00Z"),
            ("2026-01-31", "2026-01-30T22:00:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
        ] {
            assert_eq!(
                time(text, now, &zone),
                Ok(wanted.parse().unwrap()),
                "{text}"
            );
        }
        for text in [
            "",
            "yesterday",
            "10x",
            "2026-13-01",
            "1.5.5",
            "1.-5",
            "99999999999999999999",
        ] {
            assert!(time(text, now, &zone).is_err(), "{text}");
        }
    }
}
