//! Kubernetes quantities for CPU and memory, as integers that can be added and scaled.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Thousandths of a CPU core. Written `250m` or `2`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliCpu(pub u64);

/// Bytes of memory or storage. Written `512Mi`, `2Gi`, `64Ki` or a plain number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct NotAQuantity {
    /// The offending text.
    pub text: String,
    /// What was expected, with an example.
    pub expected: &'static str,
}

const KI: u64 = 1 << 10;
const MI: u64 = 1 << 20;
const GI: u64 = 1 << 30;
const TI: u64 = 1 << 40;

impl MilliCpu {
    /// More can't be meant.
    const MOST: Self = Self(10_000_000);
    /// Reads what a person states as a size of something that runs: as [`Self::parse`], but for nothing at all.
    ///
    /// # Errors
    /// It is no amount of CPU, or none.
    pub fn stated(text: &str) -> Result<Self, String> {
        match Self::parse(text) {
            Ok(Self(0)) => Err(format!("`{text}` is no CPU at all: write at least 1m")),
            Ok(most) if most > Self::MOST => Err(format!(
                "`{text}` is more than anything has: at most {}",
                Self::MOST
            )),
            other => other.map_err(|wrong| wrong.to_string()),
        }
    }
    /// Reads `250m`, `2` or `0.5`.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let wrong = || NotAQuantity {
            text: text.to_owned(),
            expected: "an amount of CPU such as 250m or 2",
        };
        if let Some(milli) = text.strip_suffix('m') {
            return milli.parse().map(Self).map_err(|_| wrong());
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let thousandths: u64 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
        whole
            .checked_mul(1000)
            .and_then(|w| w.checked_add(thousandths))
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl Bytes {
    /// More can't be meant.
    const MOST: Self = Self(1024 * TI);
    /// So many mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n * MI)
    }
    /// Whole mebibytes, rounded down.
    pub const fn as_mib(self) -> u64 {
        self.0 / MI
    }
    /// Reads what a person states as a size of something that runs: as [`Self::parse`], but for what can't be meant.
    ///
    /// # Errors
    /// It is no amount of memory, or so little that a unit was forgotten; the sentence says what was probably meant.
    pub fn stated(text: &str) -> Result<Self, String> {
        match Self::parse(text) {
            Ok(Self(0)) => Err("0 is no memory at all".to_owned()),
            Ok(Self(bytes)) if bytes < MI => {
                let number: String = text.chars().take_while(char::is_ascii_digit).collect();
                Err(format!(
                    "`{text}` is less than anything runs with ({bytes} bytes): write {number}Mi or {number}Gi"
                ))
            }
            Ok(bytes) if bytes <= Self::MOST => Ok(bytes),
            Ok(_) => Err(Self::too_much(text)),
            Err(wrong) => Err(match Self::meant(text) {
                None => wrong.to_string(),
                Some(meant) if Self::parse(&meant).is_ok_and(|bytes| bytes <= Self::MOST) => {
                    format!("{wrong}; did you mean {meant}?")
                }
                Some(_) => Self::too_much(text),
            }),
        }
    }
    fn too_much(text: &str) -> String {
        format!("`{text}` is more than anything has: at most {}", Self::MOST)
    }
    /// `512MB`, `512m`, `1.5 gi` and the like in the units that are read here.
    fn meant(text: &str) -> Option<String> {
        let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = text.split_at(at);
        let unit = unit.trim().to_ascii_lowercase();
        let (first, rest) = unit.split_at_checked(1)?;
        let power = ["k", "m", "g", "t"].iter().position(|known| *known == first)?;
        if !["", "i", "b", "ib"].contains(&rest) {
            return None;
        }
        let names = ["Ki", "Mi", "Gi", "Ti"];
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().ok()?;
        if fraction.trim_end_matches('0').is_empty() {
            return Some(format!("{whole}{}", names[power]));
        }
        let thousandths: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        let below = whole
            .checked_mul(KI)?
            .checked_add((thousandths * KI).div_ceil(1000))?;
        Some(format!("{below}{}", names[power.checked_sub(1)?]))
    }
    /// Reads `512Mi`, `2Gi`, `64Ki`, `1Ti`, `500M`, `1G` or a plain number of bytes.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        let wrong = || NotAQuantity {
            text: text.to_owned(),
            expected: "an amount of memory such as 512Mi or 2Gi",
        };
        let units = [
            ("Ki", KI),
            ("Mi", MI),
            ("Gi", GI),
            ("Ti", TI),
            ("k", 1000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
        ];
        let (number, unit) = units
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, suffix) in [(TI, "Ti"), (GI, "Gi"), (MI, "Mi"), (KI, "Ki")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{suffix}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

macro_rules! quantity {
    ($name:ident, $format:literal, $number:literal, $pattern:literal, $about:literal) => {
        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self(0), Add::add)
            }
        }
        impl Mul<u64> for $name {
            type Output = Self;
            fn mul(self, times: u64) -> Self {
                Self(self.0.saturating_mul(times))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum TextOrNumber {
                    Number(u64),
                    Fraction(f64),
                    Text(String),
                }
                let text = match TextOrNumber::deserialize(deserializer)? {
                    TextOrNumber::Number(number) => number.to_string(),
                    TextOrNumber::Fraction(number) => number.to_string(),
                    TextOrNumber::Text(text) => text,
                };
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": ["string", $number], "format": $format, "pattern": $pattern, "minimum": 0, "description": $about })
            }
        }
    };
}

quantity!(
    MilliCpu,
    "cpu",
    "number",
    r"^[0-9]+(m|\.[0-9]{1,3})?$",
    "An amount of CPU such as 250m or 2."
);
quantity!(
    Bytes,
    "memory",
    "integer",
    r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G)?$",
    "An amount of memory or storage such as 512Mi or 2Gi."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_and_written_the_way_kubernetes_does() {
        for (text, milli, canonical) in [
            ("250m", 250, "250m"),
            ("2", 2000, "2"),
            ("0.5", 500, "500m"),
            ("1.25", 1250, "1250m"),
        ] {
            let cpu = MilliCpu::parse(text).expect(text);
            assert_eq!((cpu.0, cpu.to_string()), (milli, canonical.to_owned()));
        }
        for text in ["", "m", "-1", "1.2345", "two", "1e3", "99999999999999999999"] {
            assert!(MilliCpu::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_what_probably_is() {
        for (text, told) in [
            ("24", "24 bytes): write 24Mi or 24Gi"),
            ("0", "no memory at all"),
            ("512MB", "did you mean 512Mi?"),
            ("512m", "did you mean 512Mi?"),
            ("256mi", "did you mean 256Mi?"),
            ("1.5Gi", "did you mean 1536Mi?"),
            ("2.0 GiB", "did you mean 2Gi?"),
            (
                "99999999999Ti",
                "`99999999999Ti` is more than anything has: at most 1024Ti",
            ),
            ("1025Ti", "more than anything has"),
            ("99999999TB", "more than anything has"),
            ("lots", "is not an amount of memory such as 512Mi or 2Gi"),
            ("-1Gi", "is not an amount of memory"),
        ] {
            let wrong = Bytes::stated(text).expect_err(text);
            assert!(wrong.contains(told), "{text}: {wrong}");
        }
        assert_eq!(Bytes::stated("1Mi"), Ok(Bytes::mib(1)));
        assert_eq!(Bytes::stated("2147483648"), Ok(Bytes::mib(2048)));
        assert!(MilliCpu::stated("10001").is_err() && MilliCpu::stated("10000").is_ok());
        assert!(MilliCpu::stated("0").is_err() && MilliCpu::stated("0m").is_err());
        assert_eq!(MilliCpu::stated("1m"), Ok(MilliCpu(1)));
    }

    #[test]
    fn memory_is_read_and_written_the_way_kubernetes_does() {
        for (text, bytes, canonical) in [
            ("512Mi", 512 * MI, "512Mi"),
            ("2048Mi", 2 * GI, "2Gi"),
            ("10", 10, "10"),
            ("1G", 1_000_000_000, "1000000000"),
        ] {
            let memory = Bytes::parse(text).expect(text);
            assert_eq!((memory.0, memory.to_string()), (bytes, canonical.to_owned()));
        }
        for text in ["", "Mi", "-1Mi", "1.5Gi", "lots", "99999999999999Ti"] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
    }
}
