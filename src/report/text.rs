//! Text that fits: widths in terminal columns (Chinese characters count two), cutting, padding, seconds for people.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns that a text takes on a terminal; colour sequences count nothing.
pub fn width(text: &str) -> usize {
    console::strip_ansi_codes(text).width()
}

/// The first line of a text without colour and control characters, so that it can't disturb what is drawn around it.
pub fn one_line(text: &str) -> String {
    let plain = console::strip_ansi_codes(text);
    let line = plain.lines().map(str::trim_end).find(|line| !line.is_empty());
    line.unwrap_or_default()
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

/// A text without colour, cut to at most `columns`, with `…` where something was cut.
pub fn truncate(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = used + c.width().unwrap_or(0);
        if next + 1 > columns {
            break;
        }
        used = next;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// A text filled with blanks up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{:missing$}", "")
}

/// Seconds as people read them: `0.4s`, `12.3s`, `2m05s`, `1h02m`.
pub fn seconds(value: f64) -> String {
    if value < 59.95 {
        return format!("{value:.1}s");
    }
    let whole = std::time::Duration::try_from_secs_f64(value.round()).map_or(0, |d| d.as_secs());
    if whole < 3600 {
        format!("{}m{:02}s", whole / 60, whole % 60)
    } else {
        format!("{}h{:02}m", whole / 3600, whole % 3600 / 60)
    }
}

/// An age as people read it: `42s`, `7m`, `3h20m`, `5d`. Negative ages (clocks that disagree) count as none.
pub fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => match seconds / 60 % 60 {
            0 => format!("{}h", seconds / 3600),
            minutes => format!("{}h{minutes}m", seconds / 3600),
        },
        _ => format!("{}d", seconds / 86400),
    }
}

/// Bytes as people read them: `512 B`, `3.4 MB`.
#[allow(clippy::cast_precision_loss)]
pub fn bytes(count: u64) -> String {
    let units = [(1_000_000_000_u64, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(unit, _)| count >= *unit) {
        // The loss is far beyond the one digit that is shown.
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / *unit as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_two() {
        assert_eq!(width("部署"), 4);
        assert_eq!(truncate("部署完成了", 6), "部署…");
        assert_eq!(truncate("部署", 4), "部署");
        assert_eq!(truncate("abc", 0), "");
        assert_eq!(pad("部署", 6), "部署  ");
    }

    #[test]
    fn one_line_drops_what_disturbs() {
        assert_eq!(one_line("\u{1b}[31mred\u{1b}[0m\tx\r\nnext"), "red x");
        assert_eq!(one_line("\n\n"), "");
        assert_eq!(one_line("  indented"), "  indented");
    }

    #[test]
    fn ages_and_bytes_for_people() {
        assert_eq!(
            (age(-3), age(119), age(120)),
            ("0s".into(), "119s".into(), "2m".into())
        );
        assert_eq!(
            (age(7200), age(12_000), age(172_800)),
            ("2h".into(), "3h20m".into(), "2d".into())
        );
        assert_eq!((bytes(999), bytes(3_440_000)), ("999 B".into(), "3.4 MB".into()));
    }

    #[test]
    fn seconds_for_people() {
        assert_eq!(seconds(0.04), "0.0s");
        assert_eq!(seconds(59.94), "59.9s");
        assert_eq!(seconds(59.97), "1m00s");
        assert_eq!(seconds(125.2), "2m05s");
        assert_eq!(seconds(3725.0), "1h02m");
    }
}
