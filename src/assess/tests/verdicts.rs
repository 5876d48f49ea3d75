//! When a version has converged, told as stories.

use super::scene::{Scene, service, task, update, update_of};
use crate::domain::{NodeState, UpdateState};

mod converging {
    use super::*;

    #[test]
    fn only_after_the_monitor_period() {
        let mut scene = Scene::first([service("web")]).tasks([task("web").running(2)]);
        assert_eq!(scene.look(3), "Progressing");
        assert_eq!(scene.look(7), "Progressing");
        assert_eq!(scene.look(8), "Converged");
    }

    #[test]
    fn the_longest_monitor_of_all_services_counts() {
        let patient = service("db").update(|update| update.monitor = 30_000_000_000);
        let mut scene = Scene::first([service("web"), patient]).tasks([task("web").running(2), task("db").running(2)]);
        assert_eq!(scene.look(3), "Progressing");
        assert_eq!(scene.look(32), "Progressing");
        assert_eq!(scene.look(33), "Converged");
    }

    #[test]
    fn not_before_every_step_was_accepted() {
        let mut scene = Scene::first([service("web")]).tasks([task("web").running(2)]);
        scene.progress.applied = false;
        assert_eq!(scene.watched(3), "Progressing");
    }

    #[test]
    fn not_by_tasks_of_the_version_before() {
        let mut scene = update().tasks([task("web").old().recorded().running(-50)]);
        assert_eq!(scene.watched(3), "Progressing");
        assert_eq!(scene.assess(9).healthy, 0);
    }

    #[test]
    fn not_while_a_task_of_the_version_before_goes_on() {
        let mut scene = update_of(2).tasks([
            task("web").slot(1).running(2),
            task("web").slot(2).running(2),
            task("web").slot(2).old().recorded().running(-50),
        ]);
        assert_eq!(scene.watched(3), "Progressing");
        scene.set([
            task("web").slot(1).running(2),
            task("web").slot(2).running(2),
            task("web").slot(2).old().recorded().running(-50).told_to_stop(),
        ]);
        assert_eq!(scene.watched(9), "Converged", "one that was told to stop is not waited for");
    }

    #[test]
    fn not_while_one_slot_has_two_tasks() {
        let two = [task("web").slot(1).running(2), task("web").slot(1).running(3), task("web").slot(2).running(2)];
        let mut scene = update_of(2).tasks(two);
        assert_eq!(scene.watched(3), "Progressing");
        assert_eq!(scene.watched(60), "Progressing");
        scene.set([
            task("web").slot(1).running(2).told_to_stop(),
            task("web").slot(1).running(3),
            task("web").slot(2).running(2),
        ]);
        assert_eq!(scene.watched(70), "Converged", "Swarm has told one of the two to stop");
    }

    #[test]
    fn not_while_slots_are_missing_or_their_tasks_not_started() {
        let mut scene = Scene::first([service("web").replicas(2)]).tasks([task("web").running(2)]);
        assert_eq!(scene.watched(3), "Progressing");
        scene.set([task("web").running(2), task("web").slot(2).ready()]);
        assert_eq!(scene.watched(9), "Progressing");
        scene.set([task("web").running(2), task("web").running(2)]);
        assert_eq!(scene.watched(15), "Progressing", "two tasks in one slot are one");
    }

    #[test]
    fn not_by_tasks_that_are_told_to_stop_or_whose_node_is_down() {
        let mut scene = Scene::first([service("web")]).tasks([task("web").running(2).told_to_stop()]);
        assert_eq!(scene.watched(3), "Progressing");
        let mut scene =
            Scene::first([service("web")])
                .node("n2", |node| node.state = NodeState::Down)
                .tasks([task("web").running(2).on("n2")]);
        assert_eq!(scene.watched(3), "Waiting NodeLost");
    }

    #[test]
    fn a_crash_in_the_monitor_period_begins_it_anew() {
        let mut scene = Scene::first([service("web")]).tasks([task("web").running(2)]);
        assert_eq!(scene.look(3), "Progressing");
        scene.set([task("web").failed(5, 1), task("web").ready()]);
        assert_eq!(scene.look(6), "Progressing");
        scene.set([task("web").failed(5, 1), task("web").running(10)]);
        assert_eq!(scene.look(10), "Progressing");
        assert_eq!(scene.look(14), "Progressing");
        assert_eq!(scene.look(15), "Converged");
    }

    #[test]
    fn a_replacement_that_nobody_saw_begins_it_anew() {
        let mut scene = Scene::first([service("web")]).tasks([task("web").running(2)]);
        assert_eq!(scene.look(3), "Progressing");
        scene.set([task("web").running(6)]);
        assert_eq!(scene.look(9), "Progressing");
        assert_eq!(scene.look(14), "Converged");
    }

    #[test]
    fn a_change_of_labels_alone_replaces_no_task() {
        let mut scene = Scene::after([service("web")], [service("web").label("front")])
            .tasks([task("web").recorded().running(-50)]);
        assert_eq!(scene.watched(1), "Converged");
    }

    #[test]
    fn a_change_of_placement_alone_replaces_no_task() {
        let mut scene = Scene::after([service("web")], [service("web").constraint("node.role==manager")])
            .tasks([task("web").old().recorded().running(-50)]);
        assert_eq!(scene.watched(1), "Converged");
    }

    #[test]
    fn a_change_of_ports_replaces_tasks_though_their_spec_stays() {
        let port = service("web").replicas(2).port(80, "");
        let mut scene = Scene::after([service("web").replicas(2)], [port])
            .updater("web", UpdateState::Updating, 1)
            .tasks([task("web").slot(1).running(3), task("web").slot(2).recorded().running(-50)]);
        assert_eq!(scene.watched(4), "Progressing", "the second task is about to be replaced");
        scene.set([task("web").slot(1).running(3), task("web").slot(2).running(12)]);
        assert_eq!(scene.watched(13), "Converged");
    }

    #[test]
    fn there_and_back_again_does_not_take_finished_tasks_for_good_ones() {
        // A → B → A: the tasks of the first A are recorded, and their spec is the wanted one.
        let mut scene =
            update().tasks([task("web").recorded().complete(-50), task("web").old().recorded().running(-40)]);
        assert_eq!(scene.watched(2), "Progressing");
        let mut scene = update().tasks([task("web").recorded().failed(-50, 1), task("web").running(3)]);
        assert_eq!(scene.watched(4), "Converged", "nor for failures of this one");
        let mut scene = update().tasks([task("web").recorded().running(-50)]);
        assert_eq!(scene.watched(2), "Converged", "one that still runs is good");
    }

    #[test]
    fn scaled_to_zero_is_as_asked() {
        let mut scene = Scene::after([service("web").replicas(2)], [service("web").replicas(0)])
            .tasks([task("web").old().recorded().running(-50)]);
        assert_eq!(scene.watched(1), "Progressing", "the task has not been told to go yet");
        scene.set([task("web").old().recorded().running(-50).told_to_go()]);
        assert_eq!(scene.watched(7), "Converged");
    }

    #[test]
    fn scaling_down_waits_until_the_rest_is_told_to_go() {
        let tasks = [task("web").slot(1).recorded().running(-50), task("web").slot(2).recorded().running(-50)];
        let mut scene = Scene::after([service("web").replicas(2)], [service("web").replicas(1)]).tasks(tasks.clone());
        assert_eq!(scene.watched(1), "Progressing");
        assert_eq!(scene.assess(7).healthy, 1, "no more than wanted are counted");
        let [first, second] = tasks;
        scene.set([first, second.told_to_go()]);
        assert_eq!(scene.watched(8), "Converged");
    }

    #[test]
    fn where_the_file_names_no_number_the_one_that_runs_is_wanted() {
        let mut scene = Scene::first([service("web").replicas_left_out()]);
        scene.live("web").spec.mode.replicated.as_mut().unwrap().replicas = Some(3);
        assert_eq!(scene.assess(1).wanted, 3);
    }

    #[test]
    fn a_service_that_is_not_there_yet_is_waited_for() {
        let mut scene = Scene::first([service("web").replicas(2)]);
        scene.live.services.clear();
        assert_eq!(scene.watched(1), "Progressing");
        assert_eq!(scene.assess(1).summary(), "0 of 2 tasks run; waiting for web 0/2");
    }

    #[test]
    fn an_update_forced_by_hand_is_waited_for() {
        let mut scene = Scene::first([service("web")]).tasks([task("web").running(2)]);
        scene.live("web").spec.task_template.force_update = 1;
        assert_eq!(scene.watched(3), "Progressing");
    }
}

mod everywhere_and_jobs {
    use super::*;

    fn three_nodes(scene: Scene) -> Scene {
        scene.node("n2", |_| {}).node("n3", |_| {})
    }

    #[test]
    fn a_global_service_runs_on_every_node_that_has_a_task() {
        let mut scene = three_nodes(Scene::first([service("web").global()])).tasks([
            task("web").everywhere_on("n1").running(2),
            task("web").everywhere_on("n2").running(2),
            task("web").everywhere_on("n3"),
        ]);
        assert_eq!(scene.watched(3), "Progressing");
        assert_eq!((scene.assess(3).healthy, scene.assess(3).wanted), (2, 3));
        scene = scene.node("n3", |node| node.state = NodeState::Down);
        assert_eq!(scene.watched(9), "Converged", "a node that is down is not waited for");
    }

    #[test]
    fn a_node_on_which_it_failed_for_good_is_still_wanted() {
        let mut scene = three_nodes(Scene::first([service("web").global().restart("none", None)]))
            .tasks([task("web").everywhere_on("n1").running(2), task("web").everywhere_on("n2").failed(3, 1)]);
        assert_eq!(scene.assess(4).wanted, 2);
        assert_eq!(scene.watched(4), "Failed ExitCode");
    }

    #[test]
    fn a_global_service_without_any_task_is_not_as_asked() {
        let good = || service("web").global().constraint("node.labels.gpu==1");
        let mut scene = Scene::first([good()]);
        assert_eq!(scene.look(1), "Progressing");
        assert_eq!(scene.look(100), "Progressing");
        assert_eq!(scene.look(300), "Failed NoSuitableNode");
        let mut scene = Scene::after([good()], [good().image("demo:2")]);
        assert_eq!(scene.look(4), "Progressing", "Swarm is given a moment");
        assert_eq!(scene.look(5), "Waiting NoSuitableNode", "the last good version would have none either");
    }

    #[test]
    fn a_job_is_done_when_its_tasks_have_completed() {
        let mut scene = Scene::first([service("web").job(2)])
            .tasks([task("web").slot(0).complete(3), task("web").slot(1).running(2)]);
        assert_eq!(scene.watched(4), "Progressing");
        scene.set([task("web").slot(0).complete(3), task("web").slot(1).complete(9)]);
        assert_eq!(scene.watched(10), "Converged");
    }

    #[test]
    fn a_jobs_earlier_run_does_not_count() {
        let mut scene = Scene::after([service("web").job(1)], [service("web").job(1).image("demo:2")])
            .tasks([task("web").recorded().complete(-50).iteration(0), task("web").iteration(1)]);
        scene.live("web").job_iteration = Some(1);
        assert_eq!(scene.watched(2), "Progressing");
        scene.set([task("web").recorded().complete(-50).iteration(0), task("web").complete(8).iteration(1)]);
        assert_eq!(scene.watched(9), "Converged");
    }

    #[test]
    fn a_job_that_was_left_alone_has_done_its_work_before() {
        let mut scene = Scene::after([service("web").job(1)], [service("web").job(1)])
            .tasks([task("web").recorded().complete(-50)]);
        assert_eq!(scene.watched(1), "Converged");
    }

    #[test]
    fn a_job_that_failed_and_is_not_tried_again_has_failed() {
        let job = || service("web").job(1).restart("on-failure", Some(1));
        let mut scene = Scene::first([job()]).tasks([task("web").failed(2, 1), task("web").ready()]);
        assert_eq!(scene.look(3), "Progressing");
        scene.set([task("web").failed(2, 1), task("web").failed(5, 1)]);
        assert_eq!(scene.look(6), "Failed ExitCode");
    }
}
