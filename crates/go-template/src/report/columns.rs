//! Aligns columns as Go's `text/tabwriter` does.

/// Aligns cells that end with a tab. A column is a run of lines that have a cell there.
///
/// `padding` is the number of spaces after the widest cell of a column, and `min_width` the smallest width of a column
/// with its padding. Docker's tables have 10 and 3, podman's 12 and 2.
pub fn align_columns(text: &[u8], min_width: usize, padding: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|line| vec![0; line.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or_default();
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            let run = widths[start..].iter().take_while(|widths| widths.len() > column).count();
            let cells = lines[start..start + run].iter().map(|line| line[column].chars().count());
            let width = cells.max().map_or(0, |widest| (widest + padding).max(min_width));
            widths[start..start + run].iter_mut().for_each(|widths| widths[column] = width);
            start += run.max(1);
        }
    }
    let mut out = String::new();
    for (index, (line, widths)) in lines.iter().zip(&widths).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            let width = widths.get(column).copied().unwrap_or_default();
            out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
    }
    out.into_bytes()
}
