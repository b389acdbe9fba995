//! Tables for terminals.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

/// Rows under headers, in columns as narrow as their content and together no wider than the
/// terminal; without borders, so that lines can be cut and searched. The first column, which has
/// the names, is never broken: names are there to be copied. Ends with a line break.
pub(super) fn table(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    arrange(Table::new(), headers, rows)
}

fn arrange(mut table: Table, headers: &[&str], rows: Vec<Vec<String>>) -> String {
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
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
    fn names_are_not_broken() {
        let name = "commerce/user_age@1.0.0#years_since_registration";
        let rows = vec![vec![name.to_owned(), "word ".repeat(40)]];
        let mut narrow = Table::new();
        narrow.set_width(60);
        let shown = arrange(narrow, &["name", "description"], rows);
        assert!(shown.lines().count() > 2, "the other columns are: {shown}");
        assert!(shown.lines().any(|line| line.starts_with(name)), "{shown}");
    }

    #[test]
    fn no_rows_are_a_header() {
        assert_eq!(table(&["name", "type"], vec![]), "name  type\n");
    }
}
