//! Columns for people: as wide as their widest cell, two spaces apart, without lines.

use std::io::{self, Write};

/// Prints a head and rows; every row has as many cells as the head.
pub fn print(head: &[&str], rows: Vec<Vec<String>>, out: &mut dyn Write) -> io::Result<()> {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&head).chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
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
