//! Time as the rest of the host and the policy know it: milliseconds since 1970, UTC.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970-01-01T00:00:00Z. Never read from a clock here: time is a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// The text is not an RFC 3339 date and time with an offset, or lies before 1970.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date and time like `2026-11-24T10:00:00Z`")]
pub struct InvalidInstant(pub String);

impl Millis {
    /// Read an RFC 3339 date and time.
    pub fn parse(text: &str) -> Result<Self, InvalidInstant> {
        let invalid = || InvalidInstant(text.chars().take(64).collect());
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| invalid())?;
        let millis = instant.unix_timestamp_nanos().div_euclid(1_000_000);
        u64::try_from(millis).map(Self).map_err(|_| invalid())
    }

    /// This instant as RFC 3339 in UTC, with milliseconds only where there are any.
    pub fn to_rfc3339(self) -> String {
        let nanos = i128::from(self.0) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|instant| instant.format(&Rfc3339).ok())
            .unwrap_or_else(|| format!("{}ms", self.0))
    }

    /// This instant and so many milliseconds, or the end of time.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::Millis;

    #[test]
    fn an_instant_survives_the_round_trip() {
        for text in ["2026-11-24T10:00:00Z", "2024-02-29T23:59:59.999Z"] {
            assert_eq!(Millis::parse(text).unwrap().to_rfc3339(), text);
        }
    }

    #[test]
    fn an_offset_is_taken_into_account() {
        let there = Millis::parse("2026-11-24T12:00:00+02:00").unwrap();
        assert_eq!(there, Millis::parse("2026-11-24T10:00:00Z").unwrap());
    }

    #[test]
    fn a_time_without_offset_or_before_1970_is_refused() {
        for text in ["2026-11-24T10:00:00", "2026-11-24", "", "1969-12-31T23:59:59Z", "soon"] {
            assert!(Millis::parse(text).is_err(), "{text}");
        }
    }
}
