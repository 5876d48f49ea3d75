//! When a version has failed, and when its time is over, told as stories.

use super::scene::{Scene, T, at, service, task, update, update_of};
use crate::assess::Verdict;
use crate::domain::{FailureClass, NodeAvailability, NodeState, TaskState, UpdateState, Written};

const NO_NODE: &str = "no suitable node (scheduling constraints not satisfied on 1 node)";

mod failing {
    use super::*;

    #[test]
    fn an_update_fails_with_its_first_failed_task() {
        let mut scene = update_of(3).tasks([
            task("web").slot(1).failed(3, 1),
            task("web").slot(1).ready(),
            task("web").slot(2).old().recorded().running(-50),
        ]);
        assert_eq!(scene.look(4), "Failed ExitCode");
        let mut scene = update().tasks([task("web").failed(3, 1), task("web").running(4)]);
        assert_eq!(
            scene.look(5),
            "Failed ExitCode",
            "also if it has recovered since: the verdict is no matter of luck"
        );
    }

    #[test]
    fn an_update_may_lose_as_many_tasks_as_its_ratio_allows() {
        let half = |update: &mut crate::domain::UpdateConfig| update.max_failure_ratio = 0.5;
        let new = service("web").replicas(4).image("demo:2").update(half);
        let mut scene = Scene::after([service("web").replicas(4)], [new]);
        scene.set([task("web").slot(1).failed(3, 1), task("web").slot(2).failed(3, 1)]);
        assert_eq!(scene.look(4), "Progressing");
        scene.set([1, 2, 3].map(|slot| task("web").slot(slot).failed(3, 1)));
        assert_eq!(scene.look(4), "Failed ExitCode");
    }

    #[test]
    fn an_update_that_is_to_go_on_goes_on_to_the_deadline() {
        let on = |update: &mut crate::domain::UpdateConfig| update.failure_action = "continue".into();
        let mut scene = Scene::after([service("web")], [service("web").image("demo:2").update(on)])
            .tasks([task("web").failed(3, 1), task("web").ready()]);
        assert_eq!(scene.look(4), "Progressing");
        assert_eq!(scene.look(300), "Failed ExitCode");
    }

    #[test]
    fn a_new_service_may_crash_until_the_deadline() {
        let mut scene = Scene::first([service("web"), service("db")]).tasks([
            task("web").failed(3, 1),
            task("web").failed(9, 1),
            task("web").ready(),
            task("db").running(5),
        ]);
        assert_eq!(scene.look(10), "Progressing");
        assert_eq!(scene.look(299), "Progressing");
        assert_eq!(scene.look(300), "Failed ExitCode");
    }

    #[test]
    fn a_task_that_swarm_does_not_start_again_has_failed_for_good() {
        let cases = [
            (service("web").restart("none", None), task("web").failed(3, 1), "Failed ExitCode"),
            (service("web").restart("none", None), task("web").complete(3), "Failed ExitCode"),
            (service("web").restart("on-failure", None), task("web").complete(3), "Failed ExitCode"),
            (service("web").restart("on-failure", None), task("web").failed(3, 1), "Progressing"),
            (service("web").restart("any", None), task("web").complete(3), "Progressing"),
            (service("web"), task("web").complete(3), "Progressing"),
        ];
        for (service, task, expected) in cases {
            let policy = service.0.spec.task_template.restart_policy.clone();
            let mut scene = Scene::first([service]).tasks([task]);
            assert_eq!(scene.look(4), expected, "{policy:?}");
        }
        let mut scene = Scene::first([service("web").restart("any", Some(1))]).tasks([task("web").failed(3, 1)]);
        assert_eq!(scene.look(4), "Progressing", "one more try is left");
        scene.set([task("web").failed(3, 1), task("web").failed(9, 1)]);
        assert_eq!(scene.look(10), "Failed ExitCode");
    }

    #[test]
    fn swarms_updater_that_waits_for_a_lost_node_is_not_the_versions_fault() {
        let scene = update().node("n2", |node| node.state = NodeState::Down).updater("web", UpdateState::Updating, 1);
        let scene = scene.tasks([
            task("web").on("n2").starting().told_to_stop(),
            task("web").running(30),
            task("web").old().recorded().running(-50),
        ]);
        assert_eq!(scene.verdict(400), "Waiting NodeLost");
        let failure = scene.assess(400).services[0].obstacle.clone().unwrap();
        assert_eq!((failure.node.as_deref(), failure.slot), (Some("host-n2"), Some(1)));
        let back = scene.node("n2", |node| node.state = NodeState::Ready);
        assert_eq!(back.verdict(400), "Failed HealthCheck", "it is the version's own then");
    }

    #[test]
    fn failures_on_a_node_that_is_lost_or_emptied_say_nothing() {
        for leave in [
            |node: &mut crate::domain::Node| node.state = NodeState::Down,
            |node: &mut crate::domain::Node| node.availability = NodeAvailability::Drain,
        ] {
            let mut scene =
                update().node("n2", leave).tasks([task("web").on("n2").failed(3, 137), task("web").running(9)]);
            assert_eq!(scene.watched(10), "Converged");
        }
    }

    #[test]
    fn swarms_own_updater_is_evidence_only_of_this_deployments_write() {
        let table = [
            (UpdateState::Paused, "Failed ExitCode"),
            (UpdateState::RollbackStarted, "Failed ExitCode"),
            (UpdateState::RollbackPaused, "Failed ExitCode"),
            (UpdateState::RollbackCompleted, "Failed ExitCode"),
            (UpdateState::Updating, "Progressing"),
            (UpdateState::Completed, "Progressing"),
            (UpdateState::Other("new".into()), "Progressing"),
        ];
        for (state, expected) in table {
            let mut scene =
                update().updater("web", state.clone(), 1).tasks([task("web").old().recorded().running(-50)]);
            assert_eq!(scene.verdict(2), expected, "{state:?}");
            scene.known("web").updated_before = Some(at(1));
            assert_eq!(scene.verdict(2), "Progressing", "{state:?} is old news");
            scene.known("web").written = Written::Unchanged;
            scene.known("web").updated_before = None;
            assert_eq!(scene.verdict(2), "Progressing", "{state:?} is no news of a service left alone");
        }
        let mut scene = update().updater("web", UpdateState::Completed, 1).tasks([task("web").failed(2, 1)]);
        assert_eq!(scene.look(3), "Failed ExitCode", "`completed` is no proof");
        let mut scene = update().updater("web", UpdateState::Paused, 1).tasks([task("web").running(2)]);
        assert_eq!(scene.watched(3), "Converged", "nor is `paused` when all that is wanted runs");
    }

    #[test]
    fn an_update_that_swarm_stops_because_a_node_goes_is_not_the_versions_fault() {
        let stopped = |task: T, id: &str| {
            let mut scene = update().updater("web", UpdateState::Paused, 1).tasks([task]);
            scene.live("web").update.as_mut().unwrap().message = format!("update paused due to failure of task {id}");
            scene
        };
        let ended = |second| task("web").state(TaskState::Shutdown, second);
        let mut scene = stopped(ended(2), "task-0");
        assert_eq!(scene.look(3), "Waiting NodeLost");
        let is_sent_on = |scene: &Scene| scene.assess(3).services.iter().any(|service| service.cut_short);
        assert!(!is_sent_on(&scene), "no old task is left to replace");
        scene.set([ended(2), task("web").slot(2).old().running(0)]);
        assert!(is_sent_on(&scene));
        scene.set([ended(2), task("web").slot(2).old().running(0), task("web").ready()]);
        assert!(!is_sent_on(&scene), "Swarm is still at work on the place it was at");
        let mut scene = stopped(ended(2), "another");
        assert_eq!(scene.look(3), "Failed ExitCode", "that is not the task Swarm speaks of");
        let mut scene = stopped(task("web").failed(2, 1), "task-0");
        assert_eq!(scene.look(3), "Failed ExitCode", "it failed by itself");
        let lost = task("web").state(TaskState::Failed, 2);
        let mut scene = stopped(lost, "task-0").node("n1", |node| node.state = NodeState::Down);
        assert_eq!(scene.look(3), "Waiting NodeLost");
    }

    #[test]
    fn a_demand_that_no_node_meets_is_given_a_moment() {
        let new = || service("web").constraint("node.labels.gpu==1");
        let mut scene = Scene::after([service("web")], [new().image("demo:2")]).tasks([task("web").pending(NO_NODE)]);
        assert_eq!(scene.look(5), "Progressing");
        assert_eq!(scene.assess(5).next_look, at(6));
        assert_eq!(scene.look(6), "Failed NoSuitableNode");
        let mut scene = Scene::after([new()], [new().image("demo:2")]).tasks([task("web").pending(NO_NODE)]);
        assert_eq!(scene.look(6), "Waiting NoSuitableNode", "the last good version could not run there either");
        assert_eq!(scene.look(3600), "Failed NoSuitableNode");
    }

    #[test]
    fn full_or_paused_nodes_may_yet_have_room() {
        for error in [
            "no suitable node (insufficient resources on 1 node)",
            "no suitable node (scheduling constraints not satisfied on 1 node; insufficient resources on 1 node)",
            "no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 1 node)",
        ] {
            let mut scene =
                Scene::after([service("web")], [service("web").replicas(9)]).tasks([task("web").pending(error)]);
            assert_eq!(scene.look(299), "Progressing", "{error}");
            assert_eq!(scene.look(300), "Failed NoSuitableNode", "{error}");
        }
    }

    #[test]
    fn a_port_of_the_node_that_is_taken() {
        let taken = "no suitable node (host-mode port already in use on 1 node)";
        let good = || service("web").port(80, "host");
        let mut scene = Scene::after([good()], [service("web").port(81, "host")]).tasks([task("web").pending(taken)]);
        assert_eq!(scene.look(10), "Progressing");
        assert_eq!(scene.look(300), "Failed PortConflict");
        let mut scene = Scene::after([good()], [good().image("demo:2")]).tasks([task("web").pending(taken)]);
        assert_eq!(scene.look(10), "Waiting PortConflict");
    }

    #[test]
    fn an_image_that_is_missing() {
        let missing = |second| task("web").rejected(second, "No such image: demo:2");
        let mut scene = update().tasks([missing(2)]);
        assert_eq!(scene.look(3), "Failed ImageMissing");
        let mut scene = Scene::first([service("web")]).tasks([missing(2), missing(7), task("web").ready()]);
        assert_eq!(scene.look(8), "Progressing", "it may be pushed in a moment");
        scene.set([missing(2), missing(7), missing(12), task("web").ready()]);
        assert_eq!(scene.look(13), "Failed ImageMissing");
    }

    #[test]
    fn a_registry_that_is_away_is_waited_for() {
        let away = task("web").rejected(2, "Get https://r.example/v2/: dial tcp: connection refused");
        for mut scene in [update().tasks([away.clone()]), Scene::first([service("web")]).tasks([away])] {
            assert_eq!(scene.look(3), "Waiting RegistryDown");
            assert_eq!(scene.look(3599), "Waiting RegistryDown");
            assert_eq!(scene.look(3600), "Failed RegistryDown");
        }
    }

    #[test]
    fn with_no_node_at_all_it_waits_and_fails_at_the_end() {
        let mut scene = update()
            .node("n1", |node| node.state = NodeState::Down)
            .tasks([task("web").pending("no suitable node (1 node not available for new tasks)")]);
        assert_eq!(scene.look(3), "Waiting NodeLost");
        scene.progress.waiting_since = Some(at(3));
        assert_eq!(scene.look(3599), "Waiting NodeLost");
        assert_eq!(scene.look(3600), "Failed NodeLost");
        let mut scene = update()
            .node("n1", |node| node.availability = NodeAvailability::Drain)
            .tasks([task("web").pending("no suitable node (1 node not available for new tasks)")]);
        assert_eq!(scene.look(3), "Waiting NoSuitableNode");
    }

    #[test]
    fn out_of_memory() {
        let mut scene = Scene::after([service("web")], [service("web").memory(8 << 20)])
            .tasks([task("web").failed(3, 137), task("web").ready()]);
        assert_eq!(scene.look(4), "Failed OutOfMemory");
    }

    #[test]
    fn a_health_check_that_never_passes() {
        let new = service("web").image("demo:2").healthcheck();
        let mut scene = Scene::after([service("web")], [new]).tasks([task("web").starting()]);
        assert_eq!(scene.look(299), "Progressing");
        assert_eq!(scene.look(300), "Failed HealthCheck");
        scene.set([task("web").failed_with(250, "task: non-zero exit (1): dockerexec: unhealthy container")]);
        assert_eq!(scene.look(251), "Failed HealthCheck", "or its container is stopped as unhealthy");
    }

    #[test]
    fn an_unchanged_service_that_is_broken_for_its_own_reasons_is_waited_for() {
        let good = [service("db"), service("web")];
        let mut scene = Scene::after(good, [service("db"), service("web").image("demo:2")]).tasks([
            task("web").running(2),
            task("db").failed(-50, 1),
            task("db").failed(1, 1),
            task("db").ready(),
        ]);
        assert_eq!(scene.watched(3), "Waiting ExitCode");
    }

    #[test]
    fn the_versions_own_obstacle_comes_before_the_infrastructures() {
        let full = "no suitable node (insufficient resources on 1 node)";
        let db = || service("db").constraint("node.labels.disk==ssd");
        let mut scene = Scene::after([db(), service("web")], [db(), service("web").replicas(9)])
            .tasks([task("db").pending(full), task("web").pending(full)]);
        assert_eq!(scene.look(4), "Progressing", "the progress clock goes on");
        assert_eq!(scene.look(300), "Failed NoSuitableNode");
        let mut scene = Scene::after([db(), service("web")], [db(), service("web").image("demo:2")])
            .tasks([task("db").pending(NO_NODE), task("web").failed(3, 1)]);
        assert_eq!(scene.look(9), "Failed ExitCode", "also when both are certain");
    }
}

mod clocks {
    use super::*;

    #[test]
    fn the_progress_deadline_can_be_moved_and_stopped() {
        let mut scene = update().tasks([task("web")]);
        assert_eq!(scene.verdict(299), "Progressing");
        assert_eq!(scene.verdict(300), "Failed Deadline");
        scene.progress.progress_deadline = at(400);
        assert_eq!(scene.verdict(399), "Progressing");
        scene.progress.waiting_since = Some(at(10));
        assert_eq!(scene.verdict(1000), "Progressing", "the clock stands still");
        assert_eq!(scene.verdict(3600), "Failed Deadline", "the total one does not");
    }

    #[test]
    fn the_progress_deadline_does_not_break_off_the_monitor_period() {
        let mut scene = update().tasks([task("web").running(298)]);
        assert_eq!(scene.look(298), "Progressing");
        assert_eq!(scene.look(301), "Progressing");
        assert_eq!(scene.look(303), "Converged");
    }

    #[test]
    fn a_deadline_says_what_was_missing() {
        let scene = update_of(3).tasks([task("web").running(2)]);
        let Verdict::Failed(failure) = scene.assess(300).verdict else { panic!("it goes on") };
        assert_eq!(failure.service.as_deref(), Some("web"));
        assert_eq!(failure.error, "1 of 3 tasks ran when the progress deadline passed, 5m after the start");
        assert_eq!((failure.slot, failure.node, failure.task), (None, None, None), "no task is on its way");
    }

    /// What is read of it, its last lines above all, is that task's.
    #[test]
    fn a_deadline_names_the_task_that_has_been_on_its_way_for_longest() {
        let late = || task("web").slot(2).created(7);
        let scene = update_of(3).tasks([task("web").running(2), task("web").slot(3).created(9), late()]);
        let Verdict::Failed(failure) = scene.assess(300).verdict else { panic!("it goes on") };
        assert_eq!((failure.slot, failure.node.as_deref()), (Some(2), Some("host-n1")));
        assert!(failure.task.is_some());
        let text =
            "1 of 3 tasks ran when the progress deadline passed, 5m after the start; this one is still preparing";
        assert_eq!(failure.error, text);
        // Healthy elsewhere, it waits for its first healthy answer.
        let scene = update_of(2).tasks([task("web").running(2), late().starting()]);
        let Verdict::Failed(failure) = scene.assess(300).verdict else { panic!("it goes on") };
        assert_eq!((failure.class, failure.slot), (FailureClass::HealthCheck, Some(2)));
        assert!(failure.error.starts_with("its health check has not passed"), "{}", failure.error);
    }

    #[test]
    fn the_engine_not_accepting_every_step_is_waited_for() {
        let mut scene = update().tasks([task("web").running(2)]);
        scene.progress.applied = false;
        assert_eq!(scene.look(300), "Waiting Deadline");
        assert_eq!(scene.look(3600), "Failed Deadline");
    }

    #[test]
    fn the_next_look_is_at_the_next_moment_that_matters_and_never_in_the_past() {
        let mut scene = update().tasks([task("web")]);
        assert_eq!(scene.assess(1).next_look, at(300), "the progress deadline");
        scene.set([task("web").running(2)]);
        scene.look(3);
        assert_eq!(scene.assess(4).next_look, at(8), "the end of the monitor period");
        let mut scene = Scene::after([service("web")], [service("web")]).tasks([task("web").failed(2, 1)]);
        assert_eq!(scene.look(3), "Waiting ExitCode");
        assert_eq!(scene.assess(3).next_look, at(3600), "the total deadline, while the other stands still");
        scene.progress.waiting_since = Some(at(3));
        assert_eq!(scene.assess(301).next_look, at(3600));
        assert_eq!(scene.assess(4000).next_look, at(4000), "now, when all is past");
    }

    #[test]
    fn a_thousand_services_are_judged_in_the_blink_of_an_eye() {
        let mut scene = Scene::first([]);
        let one = Scene::first([service("web").replicas(5)]);
        for index in 0..1000 {
            let key = format!("s{index}");
            let part = Scene::first([service(&key).replicas(5)]);
            let tasks = (1..=5).flat_map(|slot| {
                [task(&key).slot(slot).failed(1, 1), task(&key).slot(slot).running(3)].map(super::super::scene::T::task)
            });
            let tasks = tasks.enumerate().map(|(number, mut task)| {
                task.id = format!("{key}-{number}");
                task.spec = one.target.services["shop_web"].spec.task_template.clone();
                std::sync::Arc::new(task)
            });
            scene.tasks.by_service.insert(format!("id-{key}"), tasks.collect());
            scene.target.services.extend(part.target.services);
            scene.live.services.extend(part.live.services);
            scene.progress.services.extend(part.progress.services);
        }
        let started = std::time::Instant::now();
        let found = scene.assess(4);
        let took = started.elapsed();
        assert_eq!((found.healthy, found.wanted), (5000, 5000));
        println!("1000 services with 10000 tasks took {took:?}");
        assert!(took < std::time::Duration::from_secs(2), "it took {took:?}");
    }
}
