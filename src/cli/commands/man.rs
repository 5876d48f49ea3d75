//! `man`: a page for each command.

use clap::CommandFactory;

use crate::cli::args::{Cli, ManArgs};
use crate::cli::console::Console;
use crate::cli::exit::{CliError, Exit};

pub(in crate::cli) fn man(args: &ManArgs, console: &Console) -> Result<Exit, CliError> {
    let command = Cli::command();
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| CliError::new(Exit::Error, format!("the page cannot be written: {error}")))?;
        return console.print(&String::from_utf8_lossy(&page)).map(|()| Exit::Done);
    };
    let failed = |error: std::io::Error| {
        CliError::new(Exit::Error, format!("`{}` cannot be written to: {error}", folder.display()))
            .next("name a folder of yours: `skep man DIR`; then `man -l DIR/skep.1`")
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    console.print(&format!("the pages are in {0}; read one: man -l {0}/skep.1", folder.display()))?;
    Ok(Exit::Done)
}
