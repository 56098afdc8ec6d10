//! Plain lines, for pipes, files and CI: one when a step has taken long enough to be worth a line, one when it ends, and a
//! sign of life whenever nothing was said for two seconds.

use std::time::Duration;

use super::color::Palette;
use super::screen::Render;
use super::tree::mark;
use super::{Event, Outcome, Reload, ReloadPhase, text};

/// A step shorter than this gets one line, when it ends.
const WORTH_A_LINE: Duration = Duration::from_millis(300);
/// Never silent for longer than this while something is under way; ticks come every 100 ms.
const SILENCE: Duration = Duration::from_millis(1_900);

#[derive(Debug)]
struct Running {
    id: String,
    depth: usize,
    title: String,
    cause: Option<String>,
    begun: Duration,
    announced: bool,
    latest: String,
    /// When `latest` came; the step heard from last is the one a sign of life tells about.
    heard: Duration,
    /// The text that the last sign of life showed.
    told: String,
}

/// Writes lines that are never taken back.
#[derive(Debug)]
pub struct Plain {
    palette: Palette,
    verbose: bool,
    running: Vec<Running>,
    spoke: Duration,
}

impl Plain {
    /// With or without colour; verbose tells every progress line, log line and step, however short or unchanged.
    pub fn new(palette: Palette, verbose: bool) -> Self {
        Self {
            palette,
            verbose,
            running: Vec::new(),
            spoke: Duration::ZERO,
        }
    }

    fn say(&mut self, lines: &[String], now: Duration) -> String {
        if lines.is_empty() {
            return String::new();
        }
        self.spoke = now;
        lines.join("\n") + "\n"
    }

    /// The line of a step that is long enough by now, after those of the steps it is a part of.
    fn announce(&mut self, now: Duration) -> Vec<String> {
        let palette = self.palette;
        let due = |step: &Running| !step.announced && now.saturating_sub(step.begun) >= WORTH_A_LINE;
        let mut lines = Vec::new();
        for step in self.running.iter_mut().filter(|step| due(step)) {
            step.announced = true;
            let cause = step
                .cause
                .as_deref()
                .map(|cause| format!(" ({cause})"))
                .unwrap_or_default();
            lines.push(format!(
                "{:2$}{} {3}{4}",
                "",
                palette.cyan(">"),
                step.depth * 2,
                step.title,
                palette.dim(&cause)
            ));
        }
        lines
    }

    /// One line about the running step heard from last; prefers steps without running parts of their own.
    fn sign_of_life(&mut self, now: Duration) -> Option<String> {
        let running = self.running.len();
        let deepest = |step: &&mut Running| (step.heard, step.depth);
        let step = self.running.iter_mut().max_by_key(deepest)?;
        let time = text::seconds(now.saturating_sub(step.begun).as_secs_f64());
        let mut line = format!("{:1$}… still: {2} ({time})", "", step.depth * 2, step.title);
        if !step.latest.is_empty() && step.latest != step.told {
            line = format!("{line} {}", text::truncate(&step.latest, 120));
            step.told.clone_from(&step.latest);
        }
        if running > step.depth + 1 {
            line = format!("{line} (+{} more)", running - step.depth - 1);
        }
        Some(self.palette.dim(&line))
    }

    fn begin(&mut self, event: &Event, now: Duration) -> Vec<String> {
        if let Event::Started {
            id,
            parent,
            title,
            cause,
        } = event
        {
            let depth = parent
                .as_ref()
                .and_then(|parent| self.running.iter().find(|step| step.id == *parent));
            self.running.push(Running {
                id: id.clone(),
                depth: depth.map_or(0, |parent| parent.depth + 1),
                title: text::one_line(title),
                cause: cause.clone(),
                begun: now,
                announced: false,
                latest: String::new(),
                heard: now,
                told: String::new(),
            });
        }
        Vec::new()
    }

    fn end(&mut self, id: &str, outcome: Outcome, seconds: f64, detail: &str) -> Vec<String> {
        let Some(at) = self.running.iter().rposition(|step| step.id == id) else {
            return Vec::new();
        };
        let step = self.running.remove(at);
        let dull =
            matches!(outcome, Outcome::Unchanged | Outcome::Skipped) && !step.announced && step.depth > 0;
        if dull && !self.verbose {
            return Vec::new();
        }
        let cause = match (&step.cause, step.announced) {
            (Some(cause), false) => self.palette.dim(&format!(" ({cause})")),
            _ => String::new(),
        };
        let detail = text::one_line(detail);
        let gap = if detail.is_empty() { "" } else { "  " };
        let time = text::seconds(seconds);
        vec![format!(
            "{:1$}{2} {3}{cause}  {time}{gap}{detail}",
            "",
            step.depth * 2,
            mark(outcome, self.palette),
            step.title
        )]
    }

    fn progress(&mut self, id: &str, message: &str, now: Duration) -> Vec<String> {
        let Some(step) = self.running.iter_mut().rev().find(|step| step.id == id) else {
            return Vec::new();
        };
        step.latest = text::one_line(message);
        step.heard = now;
        if !self.verbose {
            return Vec::new();
        }
        step.told.clone_from(&step.latest);
        vec![format!(
            "{:1$}  {2}: {3}",
            "",
            step.depth * 2,
            step.title,
            step.latest
        )]
    }
}

/// The lines of a warning.
pub fn warning(message: &str, hint: Option<&str>, palette: Palette) -> Vec<String> {
    let mut lines = vec![format!("{} {message}", palette.yellow("warning:"))];
    lines.extend(hint.map(|hint| format!("   {} {hint}", palette.cyan("hint:"))));
    lines
}

/// A line of a log, its source in the source's colour.
pub fn log(source: &str, line: &str, palette: Palette) -> String {
    format!("{} {line}", palette.of(source, &format!("{source} |")))
}

/// Whether someone who wants to hear of trouble only should hear of it.
pub fn is_trouble(phase: ReloadPhase) -> bool {
    matches!(
        phase,
        ReloadPhase::Failed | ReloadPhase::Lost | ReloadPhase::Crashed
    )
}

/// The lines of an event of a service under development; none for what is only worth a program's while.
pub fn reload(event: &Reload, palette: Palette) -> Vec<String> {
    let mark = match event.phase {
        ReloadPhase::Detected => return Vec::new(),
        ReloadPhase::Served => palette.green("✔"),
        ReloadPhase::Failed | ReloadPhase::Crashed => palette.red("✘"),
        ReloadPhase::Waiting => palette.yellow("…"),
        ReloadPhase::Lost => palette.yellow("!"),
        ReloadPhase::Attached | ReloadPhase::Explained => palette.dim("·"),
    };
    let head = format!(
        "{mark} {} {}",
        palette.of(&event.service, &event.service),
        event.message
    );
    let details = event
        .details
        .iter()
        .map(|line| palette.dim(&format!("    {line}")));
    std::iter::once(head).chain(details).collect()
}

impl Render for Plain {
    fn event(&mut self, event: &Event, now: Duration) -> String {
        let mut lines = self.announce(now);
        lines.extend(match event {
            Event::Started { .. } => self.begin(event, now),
            Event::Progress { id, message } => self.progress(id, message, now),
            Event::Finished {
                id,
                outcome,
                seconds,
                detail,
            } => self.end(id, *outcome, *seconds, detail),
            Event::Log { source, line } if self.running.iter().any(|step| step.id == *source) => {
                self.progress(source, line, now)
            }
            Event::Log { source, line } => vec![log(source, line, self.palette)],
            Event::Reload(event) => reload(event, self.palette),
            Event::Warning { message, hint } => warning(message, hint.as_deref(), self.palette),
            Event::Note { message } => vec![message.clone()],
        });
        self.say(&lines, now)
    }

    fn tick(&mut self, now: Duration) -> String {
        let mut lines = self.announce(now);
        if lines.is_empty() && now.saturating_sub(self.spoke) >= SILENCE {
            lines.extend(self.sign_of_life(now));
        }
        self.say(&lines, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn started(id: &str, parent: Option<&str>) -> Event {
        Event::Started {
            id: id.into(),
            parent: parent.map(Into::into),
            title: format!("Do {id}"),
            cause: Some("missing".into()),
        }
    }

    fn finished(id: &str, outcome: Outcome) -> Event {
        Event::Finished {
            id: id.into(),
            outcome,
            seconds: 0.2,
            detail: "fine".into(),
        }
    }

    #[test]
    fn a_short_step_is_one_line_and_a_long_one_two() {
        let mut plain = Plain::new(Palette::new(false), false);
        let mut out = plain.event(&started("a", None), ms(0));
        out += &plain.event(&finished("a", Outcome::Done), ms(200));
        assert_eq!(out, "✔ Do a (missing)  0.2s  fine\n");

        let mut out = plain.event(&started("b", None), ms(1000));
        out += &plain.event(&started("c", Some("b")), ms(1100));
        out += &plain.tick(ms(1500));
        out += &plain.event(&finished("c", Outcome::Unchanged), ms(1600));
        out += &plain.event(&finished("b", Outcome::Failed), ms(1700));
        assert_eq!(
            out,
            "> Do b (missing)\n  > Do c (missing)\n  = Do c  0.2s  fine\n✘ Do b  0.2s  fine\n"
        );
    }

    #[test]
    fn never_silent_for_over_two_seconds_while_something_runs() {
        let mut plain = Plain::new(Palette::new(false), false);
        let mut last = 0;
        plain.event(&started("a", None), ms(0));
        for time in (0..20_000).step_by(100) {
            let mut out = plain.tick(ms(time));
            if time % 700 == 0 {
                let message = format!("pulled {time}");
                out += &plain.event(
                    &Event::Progress {
                        id: "a".into(),
                        message,
                    },
                    ms(time),
                );
            }
            if !out.is_empty() {
                last = time;
            }
            assert!(time - last <= 2_000, "silent from {last} to {time}");
        }
        plain.event(&finished("a", Outcome::Done), ms(20_000));
        assert_eq!(plain.tick(ms(30_000)), "");
    }

    #[test]
    fn unchanged_text_is_not_repeated() {
        let mut plain = Plain::new(Palette::new(false), false);
        plain.event(&started("a", None), ms(0));
        plain.event(
            &Event::Progress {
                id: "a".into(),
                message: "2 of 3 ready".into(),
            },
            ms(10),
        );
        plain.tick(ms(400));
        assert_eq!(plain.tick(ms(2_400)), "… still: Do a (2.4s) 2 of 3 ready\n");
        assert_eq!(plain.tick(ms(4_400)), "… still: Do a (4.4s)\n");
    }
}
