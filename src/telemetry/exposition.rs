//! Metrics as text, in both forms that Prometheus reads.

/// A form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0: what Prometheus asks for.
    OpenMetrics,
    /// Prometheus' older text format: what `curl` and older readers get.
    Classic,
}

impl Exposition {
    /// The form that a request's `Accept` asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Classic,
        }
    }

    /// Its content type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics text in the older format: there the type of a counter is said of its samples' own name, and the text has no
/// end mark (prometheus.io/docs/instrumenting/exposition_formats).
#[must_use]
pub fn classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help: Option<&str> = None;
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
            continue;
        }
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap_or((family, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some(said) = help.take().and_then(|line| line.strip_prefix("# HELP ")?.strip_prefix(name)) {
                classic.push_str(&format!("# HELP {name}{suffix}{said}\n"));
            }
            classic.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            continue;
        }
        if !line.starts_with('#') {
            classic.push_str(line);
            classic.push('\n');
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_a_counter_as_its_samples() {
        let open = "# HELP skep_x Things.\n# TYPE skep_x counter\nskep_x_total{a=\"b\"} 1\n# HELP skep_y Other.\n\
                    # TYPE skep_y gauge\nskep_y 2\n# EOF\n";
        let wanted = "# HELP skep_x_total Things.\n# TYPE skep_x_total counter\nskep_x_total{a=\"b\"} 1\n\
                      # HELP skep_y Other.\n# TYPE skep_y gauge\nskep_y 2\n";
        assert_eq!(classic(open), wanted);
    }

    #[test]
    fn prometheus_gets_openmetrics_and_a_person_the_older_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Exposition::accepted(prometheus), Exposition::OpenMetrics);
        assert_eq!(Exposition::accepted("*/*"), Exposition::Classic);
    }
}
