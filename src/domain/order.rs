//! What has to have come about before a service or a job of a version begins, and the waves that this makes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Desired, Direction, When};

/// How a deployment goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Course {
    /// To a version: jobs run, and what is to be awaited is.
    #[default]
    Deploy,
    /// Back to a version: as there, and the jobs are told so.
    Rollback,
    /// What is there already is taken over: no job runs.
    Adopt,
    /// What runs is put right: at once, and no job runs.
    Repair,
}

impl Course {
    /// What jobs are told, if any run.
    #[must_use]
    pub fn direction(self) -> Option<Direction> {
        match self {
            Self::Deploy => Some(Direction::Deploy),
            Self::Rollback => Some(Direction::Rollback),
            Self::Adopt | Self::Repair => None,
        }
    }
}

impl Desired {
    /// The jobs that run on this course, by real name, in the order of their names.
    pub fn jobs_on(&self, course: Course, when: When) -> impl Iterator<Item = (&String, &super::DeployJob)> {
        let direction = course.direction();
        self.jobs
            .iter()
            .filter(move |(_, job)| job.when == when && direction.is_some_and(|direction| job.runs(direction)))
    }

    /// What the services and jobs of this version wait for on this course, by real names; those that wait for nothing are
    /// left out. A service is to run, a job to have ended well.
    ///
    /// Services wait for what `awaits` says. Besides, all services wait for the jobs before the deployment, but for those
    /// that such a job depends on itself. A job after it waits for all services.
    #[must_use]
    pub fn waits(&self, course: Course) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        if course == Course::Repair {
            return waits;
        }
        let jobs = |when| self.jobs_on(course, when).map(|(name, _)| name.as_str()).collect::<BTreeSet<&str>>();
        let (pre, post) = (jobs(When::Pre), jobs(When::Post));
        let there = |name: &str| self.services.contains_key(name) || pre.contains(name) || post.contains(name);
        for (name, awaited) in self.awaits.iter().filter(|(name, _)| there(name)) {
            waits.entry(name).or_default().extend(awaited.iter().map(String::as_str).filter(|name| there(name)));
        }
        let before = self.all_before(&pre);
        for name in self.services.keys().filter(|name| !before.contains(name.as_str())) {
            waits.entry(name).or_default().extend(&pre);
        }
        for name in post {
            let services = self.services.keys().map(String::as_str);
            waits.entry(name).or_default().extend(services.chain(pre.iter().copied()));
        }
        waits.retain(|_, awaited| !awaited.is_empty());
        waits
    }

    /// Everything that these depend on, themselves not included.
    fn all_before<'a>(&'a self, names: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let mut before = BTreeSet::new();
        let mut open: Vec<&str> = names.iter().copied().collect();
        while let Some(name) = open.pop() {
            let after = self.depends_on.get(name).into_iter().flatten().map(String::as_str);
            open.extend(after.filter(|name| before.insert(*name)));
        }
        before
    }

    /// The wave in which each service or job begins, from 1; with only one wave, none.
    #[must_use]
    pub fn waves(&self, course: Course) -> BTreeMap<&str, u32> {
        let waits = self.waits(course);
        if waits.is_empty() {
            return BTreeMap::new();
        }
        let jobs = [When::Pre, When::Post].into_iter().flat_map(|when| self.jobs_on(course, when));
        let names: Vec<&str> = self.services.keys().chain(jobs.map(|(name, _)| name)).map(String::as_str).collect();
        let mut waves: BTreeMap<&str, u32> = names.iter().map(|name| (*name, 1)).collect();
        // No circle: the renderer refuses them. As many rounds as there are names are enough.
        for _ in &names {
            let mut moved = false;
            for name in &names {
                let wave = |of: &str| waves.get(of).copied().unwrap_or(1);
                let awaited = waits.get(name).into_iter().flatten().map(|of| wave(of) + 1);
                let after = self.depends_on.get(*name).into_iter().flatten().map(|of| wave(of));
                let least = awaited.chain(after).max().unwrap_or(1);
                if wave(name) < least {
                    waves.insert(name, least);
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        waves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DeployJob, DesiredService, ServiceSpec, StackName};

    fn service(name: &str) -> DesiredService {
        DesiredService { key: name.into(), spec: Box::new(ServiceSpec { name: name.into(), ..ServiceSpec::default() }) }
    }

    fn stack(services: &[&str], jobs: &[(&str, When)], after: &[(&str, &str)], awaits: &[(&str, &str)]) -> Desired {
        let mut desired = Desired::empty(StackName::parse("shop").unwrap_or_else(|error| panic!("{error}")));
        desired.services = services.iter().map(|name| ((*name).to_owned(), service(name))).collect();
        for (name, when) in jobs {
            let job = DeployJob { when: *when, service: service(name), deadline: None, only: None };
            desired.jobs.insert((*name).to_owned(), job);
        }
        for (name, on) in after.iter().chain(awaits) {
            desired.depends_on.entry((*name).to_owned()).or_default().insert((*on).to_owned());
        }
        for (name, on) in awaits {
            desired.awaits.entry((*name).to_owned()).or_default().insert((*on).to_owned());
        }
        desired
    }

    fn text(desired: &Desired, course: Course) -> String {
        let waves = desired.waves(course);
        let mut by_wave: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        waves.iter().for_each(|(name, wave)| by_wave.entry(*wave).or_default().push(name));
        by_wave.values().map(|names| names.join(" ")).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn what_is_only_ordered_makes_no_wave() {
        let desired = stack(&["db", "web"], &[], &[("web", "db")], &[]);
        assert_eq!(text(&desired, Course::Deploy), "");
    }

    #[test]
    fn awaited_services_make_waves() {
        let desired = stack(&["api", "cache", "db", "web"], &[], &[("api", "cache")], &[("api", "db"), ("web", "api")]);
        assert_eq!(text(&desired, Course::Deploy), "cache db | api | web");
        assert_eq!(text(&desired, Course::Rollback), "cache db | api | web");
        assert_eq!(text(&desired, Course::Repair), "", "what runs is put right at once");
    }

    #[test]
    fn a_job_before_goes_before_all_but_what_it_depends_on_itself() {
        let jobs = [("migrate", When::Pre), ("smoke", When::Post)];
        let desired = stack(&["db", "web", "worker"], &jobs, &[], &[("migrate", "db")]);
        assert_eq!(text(&desired, Course::Deploy), "db | migrate | web worker | smoke");
        let alone = stack(&["db", "web"], &jobs, &[], &[]);
        assert_eq!(text(&alone, Course::Deploy), "migrate | db web | smoke");
        assert_eq!(text(&alone, Course::Adopt), "", "no job runs when a stack is taken over");
    }

    #[test]
    fn a_job_that_does_not_run_this_way_is_not_waited_for() {
        let mut desired = stack(&["web"], &[("migrate", When::Pre)], &[], &[("web", "migrate")]);
        assert_eq!(text(&desired, Course::Rollback), "migrate | web");
        if let Some(job) = desired.jobs.get_mut("migrate") {
            job.only = Some(Direction::Deploy);
        }
        assert_eq!(text(&desired, Course::Rollback), "");
    }

    #[test]
    fn two_jobs_and_what_each_depends_on_stand_in_no_circle() {
        let jobs = [("m1", When::Pre), ("m2", When::Pre)];
        let desired = stack(&["db1", "db2", "web"], &jobs, &[], &[("m1", "db1"), ("m2", "db2")]);
        assert_eq!(text(&desired, Course::Deploy), "db1 db2 | m1 m2 | web");
    }
}
