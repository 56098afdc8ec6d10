//! The latency ledger: one line a save, and what it says about all of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::decide::Way;

/// Its name in the state folder.
const NAME: &str = "reload-ledger.jsonl";
/// Beyond this the older half of the file goes.
const LARGEST: u64 = 4 << 20;

/// Where a save's time went. Milliseconds; what a way does not have is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stages {
    /// From the file's last event to the change being whole.
    pub detect: f64,
    /// Choosing the way, and finding out what differs.
    pub decide: f64,
    /// The build on this machine, or of the image.
    pub build: f64,
    /// To the containers or nodes, and in place there.
    pub ship: f64,
    /// Until the new process was started.
    pub restart: f64,
    /// Until the service answered with it.
    pub serve: f64,
}

impl Stages {
    /// Their sum.
    pub fn total(&self) -> f64 {
        self.detect + self.decide + self.build + self.ship + self.restart + self.serve
    }

    /// The stages that took any time, for people: `detect 21, ship 4, serve 12`.
    pub fn told(&self) -> String {
        let all = [
            ("detect", self.detect),
            ("decide", self.decide),
            ("build", self.build),
            ("ship", self.ship),
            ("restart", self.restart),
            ("serve", self.serve),
        ];
        let told = all.iter().filter(|(_, time)| *time >= 0.5);
        told.map(|(name, time)| format!("{name} {time:.0}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Milliseconds of a duration.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// The service.
    pub service: String,
    /// How.
    pub way: Way,
    /// How many files: of a save those that changed, of a forced reload those that the replica lacked which lacked most.
    pub files: usize,
    /// How many replicas answer with it.
    pub replicas: usize,
    /// Where the time went.
    pub stages: Stages,
    /// Their sum.
    pub total: f64,
}

/// One save that was served, or could not be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Seconds since 1970 when that was.
    pub at: f64,
    /// What it came to.
    #[serde(flatten)]
    pub reloaded: Reloaded,
    /// It could not be served: its times tell nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

impl Entry {
    /// An entry of this moment.
    pub fn new(service: &str, way: Way, files: usize, replicas: usize, stages: Stages) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            // To the millisecond: more would not come back from JSON to the last bit.
            at: (since.unwrap_or_default().as_secs_f64() * 1000.0).round() / 1000.0,
            reloaded: Reloaded {
                service: service.to_owned(),
                way,
                files,
                replicas,
                stages,
                total: stages.total(),
            },
            failed: false,
        }
    }

    /// A save that could not be served, at this moment.
    pub fn failed(service: &str, way: Way, files: usize) -> Self {
        Self {
            failed: true,
            ..Self::new(service, way, files, 0, Stages::default())
        }
    }
}

/// The file, in the workspace's state folder.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// The ledger in `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            path: state.join(NAME),
        }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(&line)?;
        if file.metadata()?.len() > LARGEST {
            self.halve()?;
        }
        Ok(())
    }

    /// Every line that can be read; none where there is no file yet.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self) -> io::Result<Vec<Entry>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut entries = Vec::new();
        for line in BufReader::new(file).lines() {
            // A half-written line is the last one of a session that was killed.
            entries.extend(serde_json::from_str::<Entry>(&line?).ok());
        }
        Ok(entries)
    }

    fn halve(&self) -> io::Result<()> {
        let entries = self.read()?;
        let mut text = Vec::new();
        for entry in &entries[entries.len() / 2..] {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        let fresh = self.path.with_extension("new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(&fresh, &self.path)
    }
}

/// What the ledger says about one service and one way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The service.
    pub service: String,
    /// The way.
    pub way: Way,
    /// How many saves were served.
    pub saves: usize,
    /// How many could not be, beside them.
    pub failures: usize,
    /// Half of them took at most this, in milliseconds.
    pub p50: f64,
    /// 95 of 100 took at most this.
    pub p95: f64,
    /// The slowest.
    pub worst: f64,
    /// The median of each stage.
    pub stages: Stages,
}

/// Rows by service and way.
pub fn stats(entries: &[Entry]) -> Vec<Row> {
    let mut groups: BTreeMap<(&str, Way), Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        let of = (entry.reloaded.service.as_str(), entry.reloaded.way);
        groups.entry(of).or_default().push(entry);
    }
    let row = |((service, way), all): ((&str, Way), Vec<&Entry>)| {
        let served = all.iter().filter(|entry| !entry.failed);
        let served: Vec<&Reloaded> = served.map(|entry| &entry.reloaded).collect();
        let of = |value: fn(&Reloaded) -> f64| {
            let mut values: Vec<f64> = served.iter().map(|one| value(one)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let totals = of(|one| one.total);
        let middle = |value: fn(&Reloaded) -> f64| percentile(&of(value), 50);
        Row {
            service: service.to_owned(),
            way,
            saves: served.len(),
            failures: all.len() - served.len(),
            p50: percentile(&totals, 50),
            p95: percentile(&totals, 95),
            worst: percentile(&totals, 100),
            stages: Stages {
                detect: middle(|one| one.stages.detect),
                decide: middle(|one| one.stages.decide),
                build: middle(|one| one.stages.build),
                ship: middle(|one| one.stages.ship),
                restart: middle(|one| one.stages.restart),
                serve: middle(|one| one.stages.serve),
            },
        }
    };
    groups.into_iter().map(row).collect()
}

/// The smallest value that `percent` of 100 values do not exceed; `sorted` ascends.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_by_service_and_way() {
        let entry = |service: &str, way, serve: f64| {
            let stages = Stages {
                detect: 20.0,
                serve,
                ..Stages::default()
            };
            Entry::new(service, way, 1, 1, stages)
        };
        let mut entries: Vec<Entry> = (1..=100)
            .map(|number| entry("a", Way::Sync, f64::from(number)))
            .collect();
        entries.push(entry("a", Way::Build, 5000.0));
        entries.push(Entry::failed("a", Way::Sync, 1));
        entries.push(Entry::failed("b", Way::Build, 1));
        let rows = stats(&entries);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows.iter().map(|row| row.failures).collect::<Vec<_>>(), [1, 0, 1]);
        assert_eq!((rows[2].saves, rows[2].p50), (0, 0.0));
        let sync = &rows[0];
        assert_eq!(
            (sync.saves, sync.p50, sync.p95, sync.worst),
            (100, 70.0, 115.0, 120.0)
        );
        assert_eq!(sync.stages.told(), "detect 20, serve 50");
    }

    #[test]
    fn lines_come_back_and_the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path());
        assert!(ledger.read().unwrap().is_empty());
        let entry = Entry::new("a", Way::Swap, 2, 1, Stages::default());
        ledger.add(&entry).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join(NAME))
            .unwrap()
            .write_all(b"{\"torn\n")
            .unwrap();
        ledger.add(&entry).unwrap();
        assert_eq!(ledger.read().unwrap(), [entry.clone(), entry]);
        ledger.halve().unwrap();
        assert_eq!(ledger.read().unwrap().len(), 1);
    }
}
