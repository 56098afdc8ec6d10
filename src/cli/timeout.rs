//! Durations on the command line.

use std::time::Duration;

/// How long a verb without the flag waits for one thing.
pub const DEFAULT: Duration = Duration::from_mins(1);

/// Reads `90s`, `10m`, `1h` or a plain number of seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
        .unwrap_or((text, 1000));
    let wrong = || format!("`{text}` is no duration such as 90s, 10m or 1h");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(unit)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        for (text, millis) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("5ms", 5),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "-1s", "1.5m", "ten", "99999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
