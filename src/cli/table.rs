//! Tables for terminals.

use comfy_table::{ContentArrangement, Table, presets};

/// Rows under headers, in columns as narrow as their content and together no wider than the
/// terminal; without borders, so that lines can be cut and searched. Ends with a line break.
pub(super) fn table(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_headers() {
        let rows = [["spend_30d", "float64"], ["age", "int64"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        assert_eq!(
            table(&["name", "type"], rows),
            "name       type\n\
             spend_30d  float64\n\
             age        int64\n"
        );
    }

    #[test]
    fn no_rows_are_a_header() {
        assert_eq!(table(&["name", "type"], vec![]), "name  type\n");
    }
}
