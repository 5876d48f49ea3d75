//! `logs`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::Timestamp;

use super::parse;
use crate::cli::complete;

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Name of the stack, or of one of its services.
    #[arg(value_name = "STACK[/SERVICE]", value_parser = of, required_unless_present = "deployment",
          add = ArgValueCompleter::new(complete::stacks))]
    pub of: Option<LogsOf>,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines of the past come first, of each service.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub tail: u32,
    /// Nothing from before: RFC 3339, or how long ago like 5m.
    #[arg(long, value_name = "TIME", value_parser = parse::since)]
    pub since: Option<Timestamp>,
    /// Only of this deployment, and to its end; the stack from its newest deployment on, when left out.
    #[arg(long, value_name = "ID")]
    pub deployment: Option<String>,
    /// Begin each line with when it was written.
    #[arg(short, long)]
    pub timestamps: bool,
}

/// A stack, or a service of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsOf {
    /// The stack.
    pub stack: String,
    /// The service, by its name in the compose file.
    pub service: Option<String>,
}

fn of(text: &str) -> Result<LogsOf, String> {
    let (stack, service) = match text.split_once('/') {
        Some((stack, service)) => (stack, Some(service)),
        None => (text, None),
    };
    if stack.is_empty() || service.is_some_and(|service| service.is_empty() || service.contains('/')) {
        return Err("write STACK or STACK/SERVICE".to_owned());
    }
    Ok(LogsOf { stack: stack.to_owned(), service: service.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_stands_behind_its_stack() {
        let parsed = |text| of(text).map(|of| (of.stack, of.service));
        assert_eq!(parsed("shop"), Ok(("shop".into(), None)));
        assert_eq!(parsed("shop/web"), Ok(("shop".into(), Some("web".into()))));
        for bad in ["", "/web", "shop/", "shop/web/1"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
