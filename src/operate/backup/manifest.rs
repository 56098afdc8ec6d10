//! What a backup says about itself.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::properties::Properties;

/// What can be backed up.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// The relational database.
    Postgres,
    /// The key-value store.
    Redis,
}

impl System {
    /// Every system.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Redis];

    /// The name of its workload, and of its files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }

    /// What its files end with.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Postgres => ".sql.gz",
            Self::Redis => ".rdb.gz",
        }
    }
}

/// The manifest, `<file>.manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Always `vadev.dev/v1`.
    pub api_version: String,
    /// Always `Backup`.
    pub kind: String,
    /// Of what.
    pub system: System,
    /// The file's name when it was made.
    pub file: String,
    /// When it was begun.
    #[schemars(with = "String")]
    pub created: Timestamp,
    /// Version of vadev.
    pub made_by: String,
    /// Version of the system.
    pub version: String,
    /// UID of the cluster's kube-system namespace.
    pub cluster: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// What the database is beside what is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
    /// What is in it.
    pub content: Content,
}

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Content {
    /// A database of PostgreSQL.
    Database {
        /// Its name.
        database: String,
        /// SHA-256 of its definitions, hex.
        schema_sha256: String,
        /// By qualified name.
        tables: BTreeMap<String, Table>,
        /// By qualified name.
        sequences: BTreeMap<String, Sequence>,
    },
    /// All databases of Redis, by number.
    Keys(BTreeMap<u32, KeySpace>),
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Table {
    /// Rows.
    pub rows: u64,
    /// Sum of the rows' digests, whatever their order.
    pub checksum: String,
}

/// One sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// The last value.
    pub last: i64,
    /// Whether it was given out already.
    pub called: bool,
}

/// One database of Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySpace {
    /// Keys that stay.
    pub lasting: Sum,
    /// Keys that expire, by the ten minutes (since 1970) in which they do.
    pub expiring: BTreeMap<u64, Sum>,
}

/// Some keys with everything about them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sum {
    /// How many.
    pub keys: u64,
    /// Sum of the digests of name, type, value and time of expiry, whatever their order.
    pub checksum: u64,
}

/// Milliseconds of one slot of [`KeySpace::expiring`].
pub const SLOT_MILLIS: u64 = 600_000;

impl Content {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Database { tables, .. } => {
                let rows: u64 = tables.values().map(|table| table.rows).sum();
                format!("{} tables, {rows} rows", tables.len())
            }
            Self::Keys(spaces) => {
                let expiring = |space: &KeySpace| space.expiring.values().map(|sum| sum.keys).sum::<u64>();
                let keys: u64 = spaces
                    .values()
                    .map(|space| space.lasting.keys + expiring(space))
                    .sum();
                format!("{keys} keys")
            }
        }
    }

    /// What is different in `found`. Keys that may have expired by `now` (milliseconds since 1970) are not missed. Definitions
    /// are compared by the caller, who knows whether both sides speak the same version.
    pub fn differences(&self, found: &Self, now: u64) -> Vec<String> {
        match (self, found) {
            (
                Self::Database {
                    tables, sequences, ..
                },
                Self::Database {
                    tables: found_tables,
                    sequences: found_sequences,
                    ..
                },
            ) => {
                let mut all = compare(tables, found_tables, "table", |table| {
                    format!("{} rows, checksum {}", table.rows, table.checksum)
                });
                all.extend(compare(sequences, found_sequences, "sequence", |sequence| {
                    format!("last value {}", sequence.last)
                }));
                all
            }
            (Self::Keys(wanted), Self::Keys(found)) => {
                let numbers: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
                let none = KeySpace::default();
                let of = |side: &BTreeMap<u32, KeySpace>, number: u32| side.get(&number).cloned();
                numbers
                    .into_iter()
                    .flat_map(|number| {
                        let wanted = of(wanted, *number).unwrap_or_else(|| none.clone());
                        let found = of(found, *number).unwrap_or_else(|| none.clone());
                        wanted.differences(*number, &found, now)
                    })
                    .collect()
            }
            _ => vec!["it is of another system".to_owned()],
        }
    }
}

fn compare<T: PartialEq>(
    wanted: &BTreeMap<String, T>,
    found: &BTreeMap<String, T>,
    what: &str,
    words: impl Fn(&T) -> String,
) -> Vec<String> {
    let mut all = Vec::new();
    for (name, one) in wanted {
        match found.get(name) {
            Some(other) if other == one => {}
            Some(other) => all.push(format!("{what} {name}: {}, and not {}", words(other), words(one))),
            None => all.push(format!("{what} {name} is missing")),
        }
    }
    let more = found.keys().filter(|name| !wanted.contains_key(*name));
    all.extend(more.map(|name| format!("{what} {name} should not be there")));
    all
}

impl KeySpace {
    fn differences(&self, number: u32, found: &Self, now: u64) -> Vec<String> {
        let mut all = Vec::new();
        if self.lasting != found.lasting {
            all.push(format!(
                "database {number}: {} lasting keys (checksum {:x}), and not {} (checksum {:x})",
                found.lasting.keys, found.lasting.checksum, self.lasting.keys, self.lasting.checksum
            ));
        }
        let slots: std::collections::BTreeSet<_> =
            self.expiring.keys().chain(found.expiring.keys()).collect();
        for slot in slots {
            let sum = |side: &Self| side.expiring.get(slot).copied().unwrap_or_default();
            let (wanted, found) = (sum(self), sum(found));
            // In a slot that has begun, some may be gone already; more can't have come.
            let begun = slot * SLOT_MILLIS <= now;
            if wanted != found && !(begun && found.keys <= wanted.keys) {
                all.push(format!(
                    "database {number}: {} keys that expire in slot {slot} (checksum {:x}), and not {} (checksum {:x})",
                    found.keys, found.checksum, wanted.keys, wanted.checksum
                ));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_expired_are_not_missed() {
        let sum = |keys| Sum {
            keys,
            checksum: keys * 7,
        };
        let space = |lasting, expiring: &[(u64, u64)]| {
            Content::Keys(BTreeMap::from([(
                0,
                KeySpace {
                    lasting: sum(lasting),
                    expiring: expiring.iter().map(|(slot, keys)| (*slot, sum(*keys))).collect(),
                },
            )]))
        };
        let wanted = space(3, &[(10, 4), (20, 5)]);
        let now = 10 * SLOT_MILLIS + 1;
        assert!(wanted.differences(&space(3, &[(20, 5)]), now).is_empty());
        assert!(wanted.differences(&space(3, &[(10, 1), (20, 5)]), now).is_empty());
        assert_eq!(
            wanted.differences(&space(3, &[(10, 4)]), now).len(),
            1,
            "not expired yet"
        );
        assert_eq!(wanted.differences(&space(2, &[(10, 5), (20, 5)]), now).len(), 2);
    }

    #[test]
    fn every_table_counts() {
        let content = |rows: u64, name: &str| Content::Database {
            database: "d".into(),
            schema_sha256: String::new(),
            tables: BTreeMap::from([(
                name.to_owned(),
                Table {
                    rows,
                    checksum: "1".into(),
                },
            )]),
            sequences: BTreeMap::new(),
        };
        assert!(content(1, "a").differences(&content(1, "a"), 0).is_empty());
        assert_eq!(content(1, "a").differences(&content(2, "a"), 0).len(), 1);
        assert_eq!(content(1, "a").differences(&content(1, "b"), 0).len(), 2);
    }
}
