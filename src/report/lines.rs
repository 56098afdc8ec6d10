//! The two renderers that need no state: JSON lines for programs, and next to nothing for `-q`.

use std::time::Duration;

use super::color::Palette;
use super::screen::Render;
use super::{Event, plain};

/// One JSON object a line, the event as it is.
#[derive(Debug)]
pub struct Json;

impl Render for Json {
    fn event(&mut self, event: &Event, _: Duration) -> String {
        // Strings and finite numbers only: it can't fail, and if it did there would be nobody to tell.
        serde_json::to_string(event)
            .map(|line| line + "\n")
            .unwrap_or_default()
    }

    fn tick(&mut self, _: Duration) -> String {
        String::new()
    }
}

/// Only warnings.
#[derive(Debug)]
pub struct Quiet(pub Palette);

impl Render for Quiet {
    fn event(&mut self, event: &Event, _: Duration) -> String {
        match event {
            Event::Warning { message, hint } => {
                plain::warning(message, hint.as_deref(), self.0).join("\n") + "\n"
            }
            Event::Reload(reload) if plain::is_trouble(reload.phase) => {
                plain::reload(reload, self.0).join("\n") + "\n"
            }
            Event::Reload(_)
            | Event::Started { .. }
            | Event::Progress { .. }
            | Event::Finished { .. }
            | Event::Log { .. }
            | Event::Note { .. } => String::new(),
        }
    }

    fn tick(&mut self, _: Duration) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_object_a_line() {
        let event = Event::Progress {
            id: "a/b".into(),
            message: "x\ny".into(),
        };
        assert_eq!(
            Json.event(&event, Duration::ZERO),
            "{\"event\":\"progress\",\"id\":\"a/b\",\"message\":\"x\\ny\"}\n"
        );
    }

    #[test]
    fn quiet_still_warns() {
        let mut quiet = Quiet(Palette::new(false));
        assert_eq!(
            quiet.event(&Event::Note { message: "x".into() }, Duration::ZERO),
            ""
        );
        let warning = Event::Warning {
            message: "low disk".into(),
            hint: Some("vadev supply prune".into()),
        };
        assert_eq!(
            quiet.event(&warning, Duration::ZERO),
            "warning: low disk\n   hint: vadev supply prune\n"
        );
    }
}
