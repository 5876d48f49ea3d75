//! Where `compat: strict` and `compat: cli` differ: the one table of it. The documentation is checked against it, and a
//! rendering names the differences that matter to its files.

use crate::domain::Desired;

/// A rule by which the two ways of reading a compose file differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each says what it is in `rule`")]
pub enum Difference {
    UnsetVariable,
    NestedVariable,
    BareOperator,
    OperatorOrder,
    Alternative,
    EarlierFault,
    DotEnv,
    EmptyEnvironment,
    NumbersInText,
    OctalText,
    Documents,
    TestWord,
    TestDisabled,
    NullCommand,
    Boolean,
    NameServer,
    DriveLetter,
    MountOption,
    PortAddress,
    StaticAddress,
    LeftOut,
    Honoured,
    BeyondSchema,
    Replicas,
    DependsOn,
    Composition,
    MergeZero,
    MergeLists,
    MergePorts,
    MergeTest,
    MergeSections,
    MergeEnvironment,
    MergeTags,
}

/// Whether what files mean by the one way of reading is what they mean by the other, for a stack that runs: the same
/// objects, but for the number of replicas that is not said, which stays as it is, and for the order of writing.
#[must_use]
pub fn is_alike(strict: &Desired, cli: &Desired) -> bool {
    let plain = |desired: &Desired| {
        let mut desired = desired.clone();
        desired.depends_on.clear();
        desired.awaits.clear();
        for service in desired.services.values_mut() {
            if let Some(replicated) = &mut service.spec.mode.replicated {
                replicated.replicas.get_or_insert(1);
            }
        }
        desired
    };
    plain(strict) == plain(cli)
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What it is about.
    pub about: &'static str,
    /// What happens by the specification's rules.
    pub strict: &'static str,
    /// What happens as in `docker stack deploy`.
    pub cli: &'static str,
}

impl Difference {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 33] = [
        Self::UnsetVariable,
        Self::NestedVariable,
        Self::BareOperator,
        Self::OperatorOrder,
        Self::Alternative,
        Self::EarlierFault,
        Self::DotEnv,
        Self::EmptyEnvironment,
        Self::NumbersInText,
        Self::OctalText,
        Self::Documents,
        Self::TestWord,
        Self::TestDisabled,
        Self::NullCommand,
        Self::Boolean,
        Self::NameServer,
        Self::DriveLetter,
        Self::MountOption,
        Self::PortAddress,
        Self::StaticAddress,
        Self::LeftOut,
        Self::Honoured,
        Self::BeyondSchema,
        Self::Replicas,
        Self::DependsOn,
        Self::Composition,
        Self::MergeZero,
        Self::MergeLists,
        Self::MergePorts,
        Self::MergeTest,
        Self::MergeSections,
        Self::MergeEnvironment,
        Self::MergeTags,
    ];

    /// The line of the table.
    #[must_use]
    pub const fn rule(self) -> Rule {
        let (about, strict, cli) = match self {
            Self::UnsetVariable => (
                "a variable that is not set, without a default",
                "an error; with `policy.unsetVariables: empty` empty, and a warning",
                "empty, and a warning",
            ),
            Self::NestedVariable => (
                "`${A:-${B}}`",
                "variables inside a default are put in",
                "the default ends at the first `}` and is taken as it is",
            ),
            Self::BareOperator => (
                "`$A-b`, an operator without braces",
                "the value of `A`, then `-b`",
                "an operator: the value of `A`, or else what follows up to the next `}` or the end",
            ),
            Self::OperatorOrder => (
                "`${A:?use-b}`, `${A-b:-c}`",
                "the operator is what stands after the name",
                "`:-`, `-`, `:?`, `?` are looked for in this order anywhere: here the defaults `b` and `c`",
            ),
            Self::Alternative => ("`${A:+b}` and `${A+b}`", "`b` when `A` is set", "an error"),
            Self::EarlierFault => (
                "a lone `$`, or a `${A:?}` that is missing, in front of another variable in the same text",
                "an error",
                "only the last one's fault is one: the `$` is dropped, the other is empty, and a warning",
            ),
            Self::DotEnv => {
                ("`.env` beside the first compose file", "its values count below the stack's variables", "not read")
            }
            Self::EmptyEnvironment => {
                ("`environment: { K: \"\" }` while a variable `K` is set", "stays empty", "takes the variable's value")
            }
            Self::NumbersInText => (
                "a number or boolean in quotes, such as `replicas: \"3\"`",
                "taken as what it says",
                "an error, unless a variable was put into it",
            ),
            Self::OctalText => (
                "`mode: \"440\"`, a mode from text",
                "octal, with a `0` in front or without",
                "an error; decimal, when a variable was put into it",
            ),
            Self::Documents => (
                "several YAML documents in one file",
                "the later ones are put on top of the first, as later files are",
                "the first is read, with a warning that there are more",
            ),
            Self::TestWord => (
                "a list in `healthcheck.test` that begins with none of `CMD`, `CMD-SHELL`, `NONE`",
                "an error",
                "taken, and a warning: the engine runs no such test, and the task never gets beyond `starting`",
            ),
            Self::TestDisabled => (
                "`healthcheck.disable: true` beside a `test`, such as that of an earlier file",
                "the check is switched off",
                "an error",
            ),
            Self::NullCommand => (
                "`command` or `entrypoint` without a value",
                "the image's own, also in place of an earlier file's",
                "an error",
            ),
            Self::Boolean => (
                "a boolean in `environment`, `labels` or `sysctls`, such as `DEBUG: true`",
                "the text `true` or `false`",
                "an error",
            ),
            Self::NameServer => ("an entry of `dns` that is no address", "an error", "taken, and a warning"),
            Self::DriveLetter => (
                "`x:/y`, a volume with a name of one letter",
                "the volume `x` at `/y`",
                "read as a drive: an anonymous volume at `x:/y`",
            ),
            Self::MountOption => ("an unknown option of a mount", "an error", "ignored, and a warning"),
            Self::PortAddress => (
                "a port with an address, `127.0.0.1:80:80`",
                "an error: Swarm publishes on every address; `0.0.0.0` and `::` are taken",
                "the address is ignored, and a warning",
            ),
            Self::StaticAddress => {
                ("`ipv4_address`, `ipv6_address`", "an error: Swarm gives no fixed addresses", "ignored, and a warning")
            }
            Self::LeftOut => (
                "keys that Swarm has nothing for, such as `privileged`, `devices`, `pid`",
                "an error, because the service would not be what the file says",
                "ignored, and a warning",
            ),
            Self::Honoured => (
                "`tmpfs`, `shm_size`, `oom_score_adj`, `network_mode: host` and `bridge`, `security_opt: no-new-privileges`",
                "honoured",
                "ignored, and a warning",
            ),
            Self::BeyondSchema => (
                "what is in the specification and not in the CLI's schema, such as `content` of configs, `env_file` with `required`, \
                 `depends_on` as a map, `enable_ipv6`, `gateway`, `group_add`, `dns_opt`, `scale`, `mem_limit`, `platform`",
                "honoured",
                "an error",
            ),
            Self::Replicas => (
                "`deploy.replicas` left out",
                "the number that runs is kept, so that an autoscaler or a person may own it; 1 for a new service",
                "1, with every deployment, and a warning that names the services",
            ),
            Self::DependsOn => (
                "`depends_on`",
                "services are written in this order, and wait for what `condition` says ([jobs](../guides/jobs.md)); a name that does not exist is an error",
                "ignored, and a warning",
            ),
            Self::Composition => ("`extends`, `include`, `profiles`, `name`", "as in the specification", "an error"),
            Self::MergeZero => (
                "several files: a later empty text, zero or `false`",
                "replaces what stood before",
                "it replaces nothing (but of `replicas`, `parallelism`, `retries`, `max_attempts`, and an empty label)",
            ),
            Self::MergeLists => (
                "several files: a list in both",
                "appended; for names and addresses without repetition",
                "appended, repetitions and all",
            ),
            Self::MergePorts => (
                "several files: ports, mounts, configs, secrets",
                "merged by published port, target and protocol; by target",
                "merged by published port alone, so that one port without a published one is left; configs and secrets by source",
            ),
            Self::MergeTest => ("several files: `healthcheck.test`", "replaced", "the later one's words are appended"),
            Self::MergeSections => (
                "several files: the same network, volume, config or secret, or the same attachment of a service",
                "merged key by key, `ipam.config` by subnet",
                "the later entry replaces the earlier one; of an attachment the aliases are replaced and options are lost",
            ),
            Self::MergeEnvironment => (
                "several files: an `env_file` in a later file than `environment`",
                "`environment` wins over every `env_file`",
                "each file's `env_file` and `environment` become one before the later file is put on top",
            ),
            Self::MergeTags => ("`!reset` and `!override`", "followed", "not looked at"),
        };
        Rule { about, strict, cli }
    }

    /// What is said where the difference matters to a file that is read by the specification's rules.
    pub(super) fn remark(self) -> String {
        let Rule { about, cli, .. } = self.rule();
        format!("`docker stack deploy` differs here ({about}): {cli}; `compat: cli` does the same")
    }
}
