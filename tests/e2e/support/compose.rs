//! Compose files of the scenarios: a `web` that may be bad in one of several ways, and a `worker` that is always fine, both
//! marked with the release, so that a half-done change shows.

/// How `web` behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Web {
    /// Healthy after a moment.
    Good,
    /// Healthy after some seconds.
    Slow,
    /// Never healthy, and never found unhealthy either, for a minute.
    Undecided,
    /// Writes a line and exits with 3.
    Exits,
    /// Asks for a node that there is not.
    Unschedulable,
    /// Asks for an image that there is not.
    NoImage,
    /// Its health check fails.
    Unhealthy,
}

/// The file of a release.
pub(crate) fn compose(release: &str, web: Web) -> String {
    let image = match web {
        Web::NoImage => "skep-example:absent",
        Web::Unhealthy => "skep-example:broken",
        _ => "skep-example:1",
    };
    let command = match web {
        Web::Exits => "command: [sh, -c, 'echo giving up on purpose; exit 3']",
        Web::Slow => "command: [sh, -c, 'sleep 4; exec serve']",
        Web::Undecided => "command: [sh, -c, 'trap \"exit 0\" TERM; sleep 120 & wait']",
        _ => "command: [serve]",
    };
    // A busy machine must not make a good release look bad: only the one that is meant to be found unhealthy is, soon.
    let retries = match web {
        Web::Slow | Web::Undecided => 120,
        Web::Unhealthy => 2,
        _ => 30,
    };
    let constraint = if web == Web::Unschedulable { "node.labels.absent == yes" } else { "node.role == manager" };
    format!(
        r#"services:
  web:
    image: {image}
    {command}
    environment: {{ RELEASE: "{release}" }}
    networks: [front]
    healthcheck:
      test: ["CMD", "wget", "-q", "-O-", "http://127.0.0.1:8080/healthz"]
      interval: 500ms
      timeout: 10s
      retries: {retries}
    stop_grace_period: 1s
    deploy:
      replicas: 2
      placement:
        constraints: ["{constraint}"]
      update_config: {{ parallelism: 2, order: start-first, monitor: 1s }}
      restart_policy: {{ condition: any, delay: 500ms }}
  worker:
    image: skep-example:1
    command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 1 & wait; done']
    environment: {{ RELEASE: "{release}" }}
    networks: [front]
    stop_grace_period: 1s
    deploy:
      replicas: 1
      update_config: {{ parallelism: 1, monitor: 1s }}
      restart_policy: {{ condition: any, delay: 500ms }}
networks:
  front: {{}}
"#
    )
}
