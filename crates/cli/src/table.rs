//! Columns for people: as wide as their widest cell, two spaces apart, without lines.

use std::io::{self, Write};

/// Prints a head and rows; every row has as many cells as the head.
pub fn print(head: &[&str], rows: Vec<Vec<String>>, out: &mut dyn Write) -> io::Result<()> {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut all = vec![head];
    all.extend(rows);
    print_rows(&all, &[], out)
}

/// Prints rows in columns that are at least so wide.
pub fn print_rows(rows: &[Vec<String>], least: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let mut widths = widths(rows);
    for (width, least) in widths.iter_mut().zip(least) {
        *width = (*width).max(*least);
    }
    rows.iter().try_for_each(|row| writeln!(out, "{}", line(row, &widths)))
}

/// How wide the columns of these rows are.
pub fn widths<'a>(rows: impl IntoIterator<Item = &'a Vec<String>>) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// One row in columns of these widths; a cell that is wider moves the rest.
pub fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        print(&["A", "LONG", "C"], vec![vec!["xyz".into(), "1".into(), String::new()]], &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A    LONG  C\nxyz  1\n");
    }
}
