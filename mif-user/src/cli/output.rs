//! What verbs print: aligned tables and fields for people, JSON for programs.
//!
//! Reports are values that know both forms. Text is styled always, and `anstream` takes the styles out where the
//! output is no terminal or NO_COLOR is set.

use std::{
    fmt::{self, Display},
    io::{self, Write as _},
    net::{IpAddr, Ipv6Addr},
};

use anstyle::{AnsiColor, Style};
use mif_core::family::shown;
use serde::Serialize;

use super::format::printable;
use crate::mode::Mode;

/// Headings.
pub const HEADING: Style = Style::new().bold();
/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Worth a look.
pub const WARNING: Style = AnsiColor::Yellow.on_default();
/// Wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Beside the point.
pub const FAINT: Style = Style::new().dimmed();

/// Blanks between columns.
const GAP: &str = "  ";

/// Prints a report, as text or as JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn show<T: Display + Serialize>(report: &T, json: bool) -> io::Result<()> {
    let text = if json { serde_json::to_string_pretty(report)? + "\n" } else { report.to_string() };
    print(&text)
}

/// Prints styled text.
///
/// # Errors
/// When standard output cannot be written, for instance because its reader has gone (`mif map | head`).
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says something beside the output.
pub fn note(text: &str) {
    // Nobody may listen on standard error; the output itself is what counts.
    let _ = writeln!(anstream::stderr().lock(), "mif: {text}");
}

/// A piece of text with a style.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text with a style.
    #[must_use]
    pub fn styled(text: impl Display, style: Style) -> Self {
        Self { text: printable(&text.to_string()), style }
    }

    /// Columns that the text takes: one a character, which holds for the names of interfaces, domains and cgroups.
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Plain cells of what is shown as it is. (`From<T: Display>` would include `Cell` itself.)
macro_rules! plain_cells {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Cell {
            fn from(text: $kind) -> Self {
                Self::styled(text, Style::new())
            }
        }
    )*};
}

plain_cells!(&str, String, u32, u64, IpAddr, Mode);

impl From<Ipv6Addr> for Cell {
    fn from(address: Ipv6Addr) -> Self {
        shown(address).into()
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:#}", self.style, self.text, self.style)
    }
}

/// Rows under headings, columns as wide as their widest cell.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    /// A table with headings.
    #[must_use]
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(|heading| Cell::styled(heading, HEADING)).into()], indent: 0 }
    }

    /// Names and values, without headings.
    #[must_use]
    pub fn fields() -> Self {
        Self::default()
    }

    /// With this many blanks before each row.
    #[must_use]
    pub fn indented(mut self, blanks: usize) -> Self {
        self.indent = blanks;
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a name and its value.
    pub fn field(&mut self, name: &str, value: impl Into<Cell>) {
        self.row([Cell::styled(name, HEADING), value.into()]);
    }

    /// Adds a name and its values, one a line.
    pub fn field_list<T: Into<Cell>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let mut name = name;
        for value in values {
            self.field(name, value);
            name = "";
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            write!(f, "{:1$}", "", self.indent)?;
            // No blanks behind the last thing that is said.
            let last = row.iter().rposition(|cell| cell.width() != 0);
            for (cell, (column, width)) in row.iter().zip(widths.iter().enumerate()) {
                match last {
                    Some(last) if column < last => {
                        write!(f, "{cell}{:1$}{GAP}", "", width - cell.width())?;
                    }
                    Some(last) if column == last => write!(f, "{cell}")?,
                    _ => {}
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Text as a terminal without colours shows it.
#[cfg(test)]
pub fn plain(report: impl Display) -> String {
    anstream::adapter::strip_str(&report.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["PVD", "INTERFACE", "VALID"]);
        table.row(["eth0/fe80::1".into(), "eth0".into(), Cell::styled("29m 58s", GOOD)]);
        table.row(["é".into(), "".into(), "".into()]);
        assert_eq!(
            plain(&table),
            "PVD           INTERFACE  VALID\n\
             eth0/fe80::1  eth0       29m 58s\n\
             é\n"
        );
        assert_eq!(plain(Table::fields()), "");
    }

    #[test]
    fn fields_and_lists() {
        let mut table = Table::fields().indented(2);
        table.field("mode", "prefer");
        table.field_list("rules", ["one", "two"]);
        table.field_list("nothing", Vec::<String>::new());
        assert_eq!(plain(&table), "  mode   prefer\n  rules  one\n         two\n");
    }

    #[test]
    fn names_cannot_colour() {
        let cell = Cell::from("\x1b[31mred");
        assert_eq!(cell.to_string(), "\u{fffd}[31mred");
    }
}
