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
    /// So many mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n * MI)
    }
    /// Whole mebibytes, rounded down.
    pub const fn as_mib(self) -> u64 {
        self.0 / MI
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
    ($name:ident, $format:literal, $pattern:literal, $about:literal) => {
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
                    Text(String),
                }
                let text = match TextOrNumber::deserialize(deserializer)? {
                    TextOrNumber::Number(number) => number.to_string(),
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
                schemars::json_schema!({ "type": ["string", "integer"], "format": $format, "pattern": $pattern, "minimum": 0, "description": $about })
            }
        }
    };
}

quantity!(
    MilliCpu,
    "cpu",
    r"^[0-9]+(m|\.[0-9]{1,3})?$",
    "An amount of CPU such as 250m or 2."
);
quantity!(
    Bytes,
    "memory",
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
