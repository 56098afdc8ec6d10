//! The steps under way, as a tree fed by events. It knows no terminal: the live renderer asks it for lines.

use std::time::Duration;

use super::color::Palette;
use super::text;
use super::{Event, Outcome};

/// Frames of the spinner, one every 100 ms.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

#[derive(Debug)]
struct Node {
    id: String,
    parent: Option<usize>,
    title: String,
    cause: Option<String>,
    begun: Duration,
    latest: String,
    end: Option<End>,
    children: Vec<usize>,
}

#[derive(Debug)]
struct End {
    outcome: Outcome,
    seconds: f64,
    detail: String,
}

/// The tree of steps of one run.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

impl Tree {
    /// Takes an event; `now` is the time since the run began. When it ends a root step, the lines that tell how it went
    /// are returned, to be kept above the live part; the step is then forgotten.
    pub fn apply(&mut self, event: &Event, now: Duration, palette: Palette, columns: usize) -> Vec<String> {
        match event {
            Event::Started {
                id,
                parent,
                title,
                cause,
            } => {
                self.begin(id, parent.as_deref(), title, cause.clone(), now);
            }
            Event::Progress { id, message }
            | Event::Log {
                source: id,
                line: message,
            } => {
                if let Some(at) = self.find(id) {
                    self.nodes[at].latest = text::one_line(message);
                }
            }
            Event::Finished {
                id,
                outcome,
                seconds,
                detail,
            } => {
                if let Some(at) = self.find(id) {
                    let detail = text::one_line(detail);
                    self.nodes[at].end = Some(End {
                        outcome: *outcome,
                        seconds: *seconds,
                        detail,
                    });
                    if self.nodes[at].parent.is_none() {
                        return self.settle(at, palette, columns);
                    }
                }
            }
            Event::Warning { .. } | Event::Note { .. } | Event::Reload(_) => {}
        }
        Vec::new()
    }

    fn begin(&mut self, id: &str, parent: Option<&str>, title: &str, cause: Option<String>, now: Duration) {
        let parent = parent.and_then(|parent| self.find(parent));
        let at = self.nodes.len();
        self.nodes.push(Node {
            id: id.to_owned(),
            parent,
            title: text::one_line(title),
            cause,
            begun: now,
            latest: String::new(),
            end: None,
            children: Vec::new(),
        });
        match parent {
            Some(parent) => self.nodes[parent].children.push(at),
            None => self.roots.push(at),
        }
    }

    /// Whether a step of that id has begun and not ended.
    pub fn is_under_way(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    /// The newest step of that id that has not ended: an id may come again after its step ended.
    fn find(&self, id: &str) -> Option<usize> {
        self.nodes
            .iter()
            .rposition(|node| node.id == id && node.end.is_none())
    }

    /// The lines that stay of a root that ended: itself, its children, and whatever failed below.
    fn settle(&mut self, root: usize, palette: Palette, columns: usize) -> Vec<String> {
        let mut lines = vec![self.ended_line(root, 0, palette, columns)];
        for &child in &self.nodes[root].children {
            lines.push(self.ended_line(child, 1, palette, columns));
            self.failures_below(child, 2, palette, columns, &mut lines);
        }
        self.roots.retain(|&other| other != root);
        if self.roots.is_empty() {
            self.nodes.clear();
        }
        lines
    }

    fn failures_below(
        &self,
        of: usize,
        depth: usize,
        palette: Palette,
        columns: usize,
        lines: &mut Vec<String>,
    ) {
        for &child in &self.nodes[of].children {
            if matches!(&self.nodes[child].end, Some(end) if end.outcome == Outcome::Failed) {
                lines.push(self.ended_line(child, depth, palette, columns));
                self.failures_below(child, depth + 1, palette, columns, lines);
            }
        }
    }

    /// What is drawn now: running steps with their running children, ended children as long as there is room.
    pub fn lines(&self, now: Duration, palette: Palette, columns: usize, rows: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for &root in &self.roots {
            self.live(root, 0, now, palette, columns, &mut lines);
        }
        // First the ended lines go, oldest first, then the rest is cut: the live part must never scroll.
        let mut surplus = lines.len().saturating_sub(rows);
        lines.retain(|(running, _)| {
            let drop = !running && surplus > 0;
            surplus -= usize::from(drop);
            !drop
        });
        let hidden = lines.len().saturating_sub(rows);
        if hidden > 0 && rows > 0 {
            lines.truncate(rows - 1);
            lines.push((true, palette.dim(&format!("… and {} more", hidden + 1))));
        }
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn live(
        &self,
        at: usize,
        depth: usize,
        now: Duration,
        palette: Palette,
        columns: usize,
        lines: &mut Vec<(bool, String)>,
    ) {
        let node = &self.nodes[at];
        if node.end.is_some() {
            let failed = matches!(&node.end, Some(end) if end.outcome == Outcome::Failed);
            if depth <= 1 || failed {
                lines.push((false, self.ended_line(at, depth, palette, columns)));
            }
            return;
        }
        lines.push((true, self.running_line(at, depth, now, palette, columns)));
        for &child in &node.children {
            self.live(child, depth + 1, now, palette, columns, lines);
        }
    }

    fn running_line(
        &self,
        at: usize,
        depth: usize,
        now: Duration,
        palette: Palette,
        columns: usize,
    ) -> String {
        let node = &self.nodes[at];
        let elapsed = now.saturating_sub(node.begun);
        let frame = SPINNER[usize::try_from(now.as_millis() / 100 % 10).unwrap_or(0)];
        let ended = node
            .children
            .iter()
            .filter(|&&child| self.nodes[child].end.is_some())
            .count();
        let mut tail = text::seconds(elapsed.as_secs_f64());
        if node.children.len() > 1 {
            tail = format!("{tail} ({ended}/{})", node.children.len());
        }
        let cause = node
            .cause
            .as_deref()
            .map(|cause| format!("({cause})"))
            .unwrap_or_default();
        compose(
            depth,
            &palette.cyan(frame),
            &node.title,
            &[(&cause, true), (&tail, false), (&node.latest, true)],
            palette,
            columns,
        )
    }

    fn ended_line(&self, at: usize, depth: usize, palette: Palette, columns: usize) -> String {
        let node = &self.nodes[at];
        let Some(end) = &node.end else {
            // A child that outlives its parent: shown as it was left.
            return compose(
                depth,
                &palette.yellow("?"),
                &node.title,
                &[(&node.latest, true)],
                palette,
                columns,
            );
        };
        let time = text::seconds(end.seconds);
        let time = if end.outcome == Outcome::Skipped {
            ""
        } else {
            &time
        };
        compose(
            depth,
            &mark(end.outcome, palette),
            &node.title,
            &[(time, false), (&end.detail, end.outcome != Outcome::Failed)],
            palette,
            columns,
        )
    }
}

/// The sign of an outcome, one column wide.
pub fn mark(outcome: Outcome, palette: Palette) -> String {
    match outcome {
        Outcome::Done => palette.green("✔"),
        Outcome::Unchanged => palette.dim("="),
        Outcome::Skipped => palette.dim("-"),
        Outcome::Failed => palette.red("✘"),
    }
}

/// Indent, mark, title and parts, cut so that the line never wraps. A part marked `true` is dimmed.
fn compose(
    depth: usize,
    mark: &str,
    title: &str,
    parts: &[(&str, bool)],
    palette: Palette,
    columns: usize,
) -> String {
    let indent = depth * 2;
    let mut room = columns.saturating_sub(indent + 3);
    let title = text::truncate(title, room);
    room -= text::width(&title).min(room);
    let mut line = format!("{:indent$}{mark} {title}", "");
    for (part, dimmed) in parts {
        if part.is_empty() || room < 4 {
            continue;
        }
        let part = text::truncate(part, room - 2);
        room -= (text::width(&part) + 2).min(room);
        line.push_str("  ");
        line.push_str(&if *dimmed { palette.dim(&part) } else { part });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: Palette = Palette::new(false);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn started(id: &str, parent: Option<&str>, title: &str) -> Event {
        Event::Started {
            id: id.into(),
            parent: parent.map(Into::into),
            title: title.into(),
            cause: None,
        }
    }

    fn finished(id: &str, outcome: Outcome, detail: &str) -> Event {
        Event::Finished {
            id: id.into(),
            outcome,
            seconds: 1.5,
            detail: detail.into(),
        }
    }

    fn feed(tree: &mut Tree, events: &[Event]) -> Vec<String> {
        events
            .iter()
            .flat_map(|event| tree.apply(event, at(0), OFF, 60))
            .collect()
    }

    #[test]
    fn nests_counts_and_shows_the_newest_line() {
        let mut tree = Tree::default();
        feed(
            &mut tree,
            &[
                started("images", None, "Images"),
                started("pg", Some("images"), "Build image postgres"),
                started("redis", Some("images"), "Build image redis"),
                Event::Progress {
                    id: "pg".into(),
                    message: "step 3/9\nmore".into(),
                },
                finished("redis", Outcome::Unchanged, ""),
            ],
        );
        assert_eq!(
            tree.lines(at(12), OFF, 60, 10),
            [
                "⠋ Images  12.0s (1/2)",
                "  ⠋ Build image postgres  12.0s  step 3/9",
                "  = Build image redis  1.5s",
            ]
        );
    }

    #[test]
    fn an_ended_root_settles_with_its_failures() {
        let mut tree = Tree::default();
        let lines = feed(
            &mut tree,
            &[
                started("a", None, "A"),
                started("b", Some("a"), "B"),
                started("c", Some("b"), "C"),
                finished("c", Outcome::Failed, "no space left"),
                finished("b", Outcome::Failed, "C failed"),
                finished("a", Outcome::Failed, ""),
            ],
        );
        assert_eq!(
            lines,
            [
                "✘ A  1.5s",
                "  ✘ B  1.5s  C failed",
                "    ✘ C  1.5s  no space left"
            ]
        );
        assert!(tree.lines(at(1), OFF, 60, 10).is_empty());
    }

    #[test]
    fn never_wider_or_higher_than_the_terminal() {
        let mut tree = Tree::default();
        feed(&mut tree, &[started("r", None, "部署整个语音助手平台到本地集群")]);
        for n in 0..30 {
            let id = format!("s{n}");
            feed(&mut tree, &[started(&id, Some("r"), &"很长".repeat(40))]);
            if n % 3 == 0 {
                feed(&mut tree, &[finished(&id, Outcome::Done, &"x".repeat(200))]);
            }
        }
        for columns in [0, 1, 5, 20, 41] {
            for rows in [1, 5, 22] {
                let lines = tree.lines(at(3), OFF, columns, rows);
                assert!(lines.len() <= rows);
                assert!(
                    columns < 20 || lines.iter().all(|line| text::width(line) < columns.max(16)),
                    "{lines:?}"
                );
            }
        }
    }
}
