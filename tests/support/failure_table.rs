//! The table of docs/explanation/failures.md: what users read is what the tests expect.

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// What is in the way.
    pub(crate) obstacle: &'static str,
    /// The class of the failure; none when there is no failure in the end.
    pub(crate) class: Option<&'static str>,
    /// `goes back`, `waits`, `stays`, `is not begun` or `changes nothing`.
    pub(crate) then: &'static str,
    /// The phase that the deployment ends in.
    pub(crate) phase: &'static str,
    /// Of `skep deploy --wait`.
    pub(crate) exit: u8,
    /// Whether it is provoked on the real engine.
    pub(crate) engine: bool,
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let text = include_str!("../../docs/explanation/failures.md");
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(2);
    let rows: Vec<Row> = lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [obstacle, class, _, then, phase, exit, engine] = cells[..] else { panic!("seven cells: {line}") };
            let exit = exit.parse().unwrap_or_else(|_| panic!("an exit code: {line}"));
            let class = Some(class).filter(|class| !class.is_empty());
            Row { obstacle, class, then, phase, exit, engine: engine == "●" }
        })
        .collect();
    assert!(rows.len() > 20, "the table is not where it was");
    rows
}
