//! The scripted scenarios, and the generator of others.

use crate::script::{Form, Op};

fn create(form: Form) -> Op {
    Op::Create("web".into(), form)
}

fn update(form: Form) -> Op {
    Op::Update("web".into(), form)
}

fn run(version: u64) -> Form {
    Form { version, ..Form::default() }
}

fn does(what: &str) -> Form {
    Form { does: what.into(), version: 2, ..Form::default() }
}

/// A good first version, then this one.
fn then(form: Form) -> Vec<Op> {
    let first = Form { does: "run".into(), version: 1, nowhere: false, label: String::new(), ..form.clone() };
    vec![create(first), Op::Wait(3_500), update(form), Op::Wait(9_000)]
}

/// Every scenario, by the name of its file.
pub(crate) fn all() -> Vec<(&'static str, Vec<Op>)> {
    let twice = |form: Form| Form { replicas: 2, ..form };
    let action = |what: &str, action: &str| Form { action: action.into(), ..does(what) };
    let restart =
        |what: &str, restart: &str| vec![create(Form { restart: restart.into(), ..does(what) }), Op::Wait(6_000)];
    vec![
        ("create", vec![create(run(1)), Op::Wait(4_000)]),
        ("create-three", vec![create(Form { replicas: 3, ..run(1) }), Op::Wait(5_000)]),
        ("create-none", vec![create(Form { replicas: 0, ..run(1) }), Op::Wait(2_000)]),
        ("create-missing-image", vec![create(Form { restart: "none".into(), ..does("missing") }), Op::Wait(4_000)]),
        ("create-nowhere", vec![create(Form { nowhere: true, ..run(1) }), Op::Wait(3_000)]),
        ("create-global", vec![create(Form { mode: "global".into(), ..run(1) }), Op::Wait(4_000)]),
        ("exists-already", vec![create(run(1)), create(run(1)), Op::Wait(3_000)]),
        ("restart-none-exit-3", restart("exit:3:1s", "none")),
        ("restart-none-exit-0", restart("exit:0:1s", "none")),
        ("restart-on-failure-exit-0", restart("exit:0:1s", "on-failure")),
        (
            "restart-twice-at-most",
            vec![create(Form { restart: "on-failure".into(), attempts: 2, ..does("exit:3:1s") }), Op::Wait(12_000)],
        ),
        (
            "job",
            vec![create(Form { mode: "job".into(), restart: "none".into(), ..does("exit:0:1s") }), Op::Wait(5_000)],
        ),
        (
            "job-of-two",
            vec![
                create(Form { mode: "job".into(), replicas: 2, restart: "none".into(), ..does("exit:0:1s") }),
                Op::Wait(5_000),
            ],
        ),
        (
            "job-fails",
            vec![create(Form { mode: "job".into(), restart: "none".into(), ..does("exit:3:1s") }), Op::Wait(5_000)],
        ),
        ("job-again-without-change", {
            let job = Form { mode: "job".into(), restart: "none".into(), ..does("exit:0:1s") };
            vec![create(job.clone()), Op::Wait(4_500), update(job), Op::Wait(4_500)]
        }),
        ("update", then(run(2))),
        ("update-two", then(twice(run(2)))),
        ("update-two-at-once", then(Form { replicas: 2, parallelism: 2, ..run(2) })),
        ("update-all-at-once", then(Form { replicas: 3, parallelism: 0, ..run(2) })),
        ("update-with-delay", then(Form { replicas: 2, delay: 2_000, monitor: 3_000, ..run(2) })),
        ("update-start-first", then(Form { order: "start-first".into(), ..run(2) })),
        ("update-start-first-two", then(Form { order: "start-first".into(), replicas: 2, ..run(2) })),
        ("update-global", then(Form { mode: "global".into(), ..run(2) })),
        ("update-label-only", then(Form { label: "y".into(), ..run(1) })),
        ("update-nothing", then(run(1))),
        ("update-nowhere", then(Form { nowhere: true, ..run(2) })),
        ("update-missing-image-pause", then(Form { restart: "none".into(), ..action("missing", "pause") })),
        ("update-missing-image-rollback", then(Form { restart: "none".into(), ..action("missing", "rollback") })),
        ("update-exit-pause", then(Form { monitor: 5_000, restart: "none".into(), ..action("exit:3:1s", "pause") })),
        (
            "update-exit-rollback",
            then(Form { monitor: 5_000, restart: "none".into(), ..action("exit:3:1s", "rollback") }),
        ),
        ("update-exit-continue", then(Form { restart: "none".into(), ..action("exit:3:1s", "continue") })),
        (
            "update-exit-0-rollback",
            then(Form { monitor: 5_000, restart: "none".into(), ..action("exit:0:1s", "rollback") }),
        ),
        (
            "update-unhealthy-rollback",
            then(Form { restart: "none".into(), monitor: 5_000, ..action("unhealthy:1s", "rollback") }),
        ),
        (
            "there-and-back",
            vec![create(run(1)), Op::Wait(3_500), update(run(2)), Op::Wait(6_000), update(run(1)), Op::Wait(6_000)],
        ),
        (
            "scale-up-and-down",
            vec![
                create(run(1)),
                Op::Wait(3_500),
                update(Form { replicas: 3, ..run(1) }),
                Op::Wait(4_000),
                update(run(1)),
                Op::Wait(4_000),
            ],
        ),
        (
            "scale-to-none",
            vec![create(run(1)), Op::Wait(3_500), update(Form { replicas: 0, ..run(1) }), Op::Wait(4_000)],
        ),
        (
            "outdated",
            vec![create(run(1)), Op::Wait(3_000), update(run(2)), Op::Outdated("web".into(), run(3)), Op::Wait(6_000)],
        ),
        (
            "no-other-mode",
            vec![create(run(1)), Op::Wait(3_000), update(Form { mode: "global".into(), ..run(1) }), Op::Wait(1_000)],
        ),
        ("remove", vec![create(run(1)), Op::Wait(3_000), Op::Remove("web".into()), Op::Wait(1_500)]),
        (
            "remove-while-updating",
            vec![
                create(run(1)),
                Op::Wait(3_500),
                update(run(2)),
                Op::Wait(400),
                Op::Remove("web".into()),
                Op::Wait(1_500),
            ],
        ),
        ("update-of-what-is-gone", vec![create(run(1)), Op::Wait(3_000), Op::Remove("web".into()), update(run(2))]),
    ]
}

/// A sequence of a seed: a first version, and one to three changes, each after the one before has come to rest.
pub(crate) fn generated(seed: u64) -> Vec<Op> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut form = Form { replicas: dice.u64(1..3), ..Form::default() };
    form.order = ["", "stop-first", "start-first"][dice.usize(..3)].to_owned();
    form.parallelism = dice.u64(0..3);
    form.action = ["pause", "rollback", "continue"][dice.usize(..3)].to_owned();
    form.restart = "none".to_owned();
    form.monitor = 4_000;
    let mut ops = vec![Op::Create("web".into(), form.clone()), Op::Wait(4_000)];
    for version in 2..2 + dice.u64(1..3) {
        form.version = version;
        form.does = ["run", "run", "run", "missing"][dice.usize(..4)].to_owned();
        let replicas = form.replicas;
        match dice.u32(..6) {
            0 => form.replicas = dice.u64(0..4),
            1 => form.label = format!("l{version}"),
            _ => {}
        }
        // A slot that is new with a version which fails is taken away again at the moment in which it fails: which of the
        // two comes first is the engine's chance.
        if form.does == "missing" {
            form.replicas = replicas;
        }
        ops.push(Op::Update("web".into(), form.clone()));
        ops.push(Op::Wait(12_000));
    }
    if dice.bool() {
        ops.extend([Op::Remove("web".into()), Op::Wait(1_500)]);
    }
    ops
}
