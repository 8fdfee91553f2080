//! What sections are made of: facts, sentences, plots and tables.

use crate::text;
use askama::Template;

/// A section of the page.
#[derive(Debug, Template)]
#[template(path = "section.html")]
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug)]
pub(crate) enum Part {
    Facts(Vec<Fact>),
    Text(String),
    Warnings(Vec<String>),
    Plots(Vec<Plot>),
    Table(Table),
}

/// A number that readers look for first, under its name.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) note: String,
}

impl Fact {
    pub(crate) fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), note: String::new() }
    }

    pub(crate) fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

/// A picture with what its colors mean, each by the number of a color.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) caption: String,
    pub(crate) svg: String,
    pub(crate) legend: Vec<(usize, String)>,
    pub(crate) small: bool,
}

/// A table, which readers sort, and search where it is long.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<String>,
    /// Whether values color the cells, rather than drawing bars.
    pub(crate) heat: bool,
    /// What was cut.
    pub(crate) cut: String,
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) number: bool,
}

impl Column {
    pub(crate) fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), number: false }
    }

    pub(crate) fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), number: true }
    }
}

#[derive(Debug)]
pub(crate) enum Cell {
    /// What the row is about.
    Name(String),
    Text(String),
    Number(String),
    /// A number with its fraction as a bar or a color.
    Part(f64, String),
}

impl Cell {
    /// A fraction in percent, with a bar.
    pub(crate) fn percent(fraction: f64) -> Self {
        // Three digits are less than a pixel, and a row more in a table that is cut by its bytes.
        let part = if fraction.is_finite() { (1e3 * fraction.clamp(0.0, 1.0)).round() / 1e3 } else { 0.0 };
        Self::Part(part, text::percent(fraction))
    }

    pub(crate) fn count(number: impl TryInto<u64>) -> Self {
        Self::Number(text::count(number))
    }
}

#[derive(Template)]
#[template(path = "row.html")]
struct Row<'a> {
    cells: &'a [Cell],
}

/// Rows above which a table has a field to search in.
const SEARCHED: usize = 12;

impl Table {
    pub(crate) fn new(caption: impl Into<String>, columns: Vec<Column>) -> Self {
        Self { caption: caption.into(), columns, rows: Vec::new(), heat: false, cut: String::new() }
    }

    /// Takes the rows that fit into a number of bytes, those that count most first, and leaves them in their order.
    pub(crate) fn with_rows(mut self, rows: Vec<(f64, Vec<Cell>)>, bytes: usize) -> Self {
        let all = rows.len();
        let html = |cells: &[Cell]| Row { cells }.render().unwrap_or_default();
        let made: Vec<_> = rows.iter().map(|(counts, cells)| (*counts, html(cells))).collect();
        let mut order: Vec<_> = (0..all).collect();
        order.sort_by(|&a, &b| made[b].0.total_cmp(&made[a].0));
        let mut left = bytes;
        let mut taken = vec![false; all];
        for row in order {
            match left.checked_sub(made[row].1.len()) {
                Some(rest) => left = rest,
                None => break,
            }
            taken[row] = true;
        }
        self.rows = made.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|((_, html), _)| html).collect();
        if self.rows.len() < all {
            self.cut = format!(
                "The table has room for {} of {} rows and shows those that count most.",
                text::count(self.rows.len() as u64),
                text::count(all as u64)
            );
        }
        self
    }

    pub(crate) fn searched(&self) -> bool {
        self.rows.len() > SEARCHED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_what_counts_most_and_says_so() {
        let row = |counts: f64| (counts, vec![Cell::Name(format!("row {counts}")), Cell::count(counts as u64)]);
        let table = |bytes| Table::new("", vec![]).with_rows([3.0, 9.0, 1.0, 7.0].map(row).into(), bytes);
        let one = Row { cells: &row(3.0).1 }.render().unwrap();
        assert_eq!(one, "<tr><th scope=row>row 3<td>3");
        let cut = table(2 * one.len());
        assert_eq!(cut.rows, ["<tr><th scope=row>row 9<td>9", "<tr><th scope=row>row 7<td>7"]);
        assert!(cut.cut.contains("2 of 4"));
        let whole = table(1_000);
        assert_eq!((whole.rows.len(), whole.cut.as_str()), (4, ""));
        assert!(table(0).rows.is_empty());
    }

    #[test]
    fn text_of_others_is_escaped() {
        let cells = [Cell::Name("<b>\"x\"&'".into()), Cell::Text("</script>".into()), Cell::percent(f64::NAN)];
        let row = Row { cells: &cells }.render().unwrap();
        let expected =
            "<tr><th scope=row>&#60;b&#62;&#34;x&#34;&#38;&#39;<td class=t>&#60;/script&#62;<td style=--v:0>NaN";
        assert_eq!(row, expected);
    }
}
