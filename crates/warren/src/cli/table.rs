//! Columns of text, aligned.

/// Rows under headings; the last column is not padded.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_owned);
    let all = || std::iter::once(&headings).chain(rows);
    let widths: Vec<usize> = (0..N)
        .map(|column| all().map(|row| width(&row[column])).max().unwrap_or(0))
        .collect();
    all()
        .map(|row| {
            let mut text = String::new();
            for (cell, width_of_column) in row.iter().zip(&widths) {
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', width_of_column - width(cell) + 2));
            }
            text.trim_end().to_owned() + "\n"
        })
        .collect()
}

/// Names and what they name, one a line; lines of a value after its first are aligned with it.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let widest = pairs.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let padding = " ".repeat(widest - width(name) + 2);
            let indent = format!("\n{}", " ".repeat(widest + 4));
            format!("  {name}{padding}{}\n", value.replace('\n', &indent))
        })
        .collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(
            table(["A", "B"], &[row("äöü", "x"), row("1", "")]),
            "A    B\näöü  x\n1\n"
        );
        assert_eq!(table(["A", "B"], &[]), "A  B\n");
    }

    #[test]
    fn pairs_are_aligned_and_empty_ones_left_out() {
        assert_eq!(
            pairs(&[
                ("a", "1\n2".to_owned()),
                ("long", "3".to_owned()),
                ("no", String::new())
            ]),
            "  a     1\n        2\n  long  3\n"
        );
    }
}
