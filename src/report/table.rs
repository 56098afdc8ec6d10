//! Aligned tables for stdout; cells may hold wide characters and colour.

use super::color::Palette;
use super::text;

/// A table with a header; columns are as wide as their widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names, shown in capitals.
    pub fn new(header: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let names = header.into_iter();
        Self {
            header: names.map(|name| name.as_ref().to_uppercase()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; surplus cells are shown without a heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table, each ended by a newline, without blanks at their ends.
    pub fn render(&self, palette: Palette) -> String {
        let columns = self
            .rows
            .iter()
            .map(Vec::len)
            .max()
            .unwrap_or(0)
            .max(self.header.len());
        let mut widths = vec![0; columns];
        for row in self.rows.iter().chain([&self.header]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = text::width(cell).max(*width);
            }
        }
        let line = |row: &[String]| {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| text::pad(cell, *width))
                .collect();
            cells.join("  ").trim_end().to_owned()
        };
        let mut all = palette.bold(&line(&self.header)) + "\n";
        for row in &self.rows {
            all += &line(row);
            all.push('\n');
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_wide_characters_and_colour() {
        let mut table = Table::new(["name", "status"]);
        table
            .row(["服务", "ok"])
            .row([Palette::new(true).red("redis").as_str(), "failed"])
            .row(["x"]);
        assert_eq!(
            console::strip_ansi_codes(&table.render(Palette::new(false))),
            "NAME   STATUS\n服务   ok\nredis  failed\nx\n"
        );
    }
}
