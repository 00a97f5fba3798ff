//! Columns for people, in the manner of `kubectl get`.

use crate::terminal::printable;

/// A table: a row of headings, then rows of the same length.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts a table.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()],
        }
    }

    /// Adds a row. What is empty is shown as `-`.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                printable(&cell)
            }
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The table as whole lines; columns are three spaces apart, the last one as wide as it is.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .map(|row| width(row.get(column)))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn width(cell: Option<&String>) -> usize {
    cell.map_or(0, |cell| cell.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["NAME", "PHASE"]);
        table.row(["accounts-db".into(), "Ready".into()]);
        table.row(["b".into(), String::new()]);
        assert_eq!(
            table.render(),
            "NAME          PHASE\naccounts-db   Ready\nb             -\n"
        );
    }
}
