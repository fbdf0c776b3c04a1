//! The file of `gild node add --from`: nodes in lines of values between commas, named by the first line.

use anyhow::{Result, anyhow, bail, ensure};

/// One node, as the operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its MAC address.
    pub mac: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
}

/// What a column has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Mac,
    Name,
    Label,
}

/// The lines that have a node, each with its number in the file. Blank lines and those that begin with `#` have none.
pub fn read(text: &str) -> Result<Vec<(usize, Result<Row>)>> {
    // Spreadsheets begin a file with it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.map(|(number, line)| (number + 1, line));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let Some((number, head)) = lines.next() else {
        bail!("it has no line; next: begin it with mac,name and give each node a line");
    };
    let columns = columns(head)
        .map_err(|why| anyhow!("line {number} does not name the columns: {why}; next: begin the file with mac,name or mac,name,label"))?;
    let rows: Vec<_> = lines
        .map(|(number, line)| (number, row(&columns, line)))
        .collect();
    ensure!(
        !rows.is_empty(),
        "it names columns and no node; next: give each node a line"
    );
    Ok(rows)
}

fn columns(head: &str) -> Result<Vec<Column>, String> {
    let columns = cells(head).map(|name| match &*name.to_ascii_lowercase() {
        "mac" => Ok(Column::Mac),
        "name" => Ok(Column::Name),
        "label" => Ok(Column::Label),
        _ => Err(format!("`{name}` is not one of mac, name and label")),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for (column, name) in [(Column::Mac, "mac"), (Column::Name, "name")] {
        let count = columns.iter().filter(|it| **it == column).count();
        if count != 1 {
            return Err(format!("{name} is there {count} times, and not once"));
        }
    }
    Ok(columns)
}

fn row(columns: &[Column], line: &str) -> Result<Row> {
    let cells: Vec<_> = cells(line).collect();
    ensure!(
        cells.len() == columns.len(),
        "it has {} values, and the first line names {}; next: write one value for each, with nothing between two commas where there is none",
        cells.len(),
        columns.len()
    );
    let of = |column| {
        let cells = columns
            .iter()
            .zip(&cells)
            .filter(move |(it, _)| **it == column);
        cells.map(|(_, cell)| (*cell).to_owned())
    };
    Ok(Row {
        mac: of(Column::Mac).collect(),
        name: of(Column::Name).collect(),
        labels: of(Column::Label)
            .filter(|label| !label.is_empty())
            .collect(),
    })
}

/// No value of a node has a comma or a quotation mark in it, so that quotation marks mean nothing.
fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mac: &str, name: &str, labels: &[&str]) -> Row {
        Row {
            mac: mac.to_owned(),
            name: name.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        }
    }

    #[test]
    fn lines_are_read_in_any_order_of_columns_and_counted_as_an_editor_does() {
        let text = "\u{feff}# the rack\r\n\r\nName, MAC ,label,label\r\nnode-1,d8:3a:dd:01:02:03,rack=b2,\r\n\n  # half of it\n\
                    node-2 , d8:3a:dd:01:02:04,,disk=big\n";
        let rows = read(text).expect("a table");
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(number, row)| (number, row.expect("a node")))
            .collect();
        assert_eq!(
            rows,
            [
                (4, row("d8:3a:dd:01:02:03", "node-1", &["rack=b2"])),
                (7, row("d8:3a:dd:01:02:04", "node-2", &["disk=big"])),
            ]
        );
    }

    #[test]
    fn a_file_without_columns_or_nodes_is_refused_with_what_it_lacks() {
        for (text, why) in [
            ("", "it has no line"),
            ("# nothing\n\n", "it has no line"),
            ("mac,name\n", "names columns and no node"),
            (
                "d8:3a:dd:01:02:03,node-1\n",
                "line 1 does not name the columns: `d8:3a:dd:01:02:03`",
            ),
            ("mac;name\nx;y\n", "`mac;name` is not one of"),
            ("mac,label\nx,y\n", "name is there 0 times"),
            ("mac,name,mac\nx,y,z\n", "mac is there 2 times"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(
                error.contains(why) && error.contains("; next: "),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_line_with_other_values_than_columns_is_wrong_alone() {
        let rows = read("mac,name\na,b,c\na\nd,e\n").expect("a table");
        let are_right: Vec<_> = rows
            .iter()
            .map(|(number, row)| (*number, row.is_ok()))
            .collect();
        assert_eq!(are_right, [(2, false), (3, false), (4, true)]);
    }
}
