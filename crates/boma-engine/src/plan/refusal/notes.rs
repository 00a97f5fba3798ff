//! Warnings. The same one about many resources is said once, with the first place and a count:
//! what is repeated thousands of times is not read even once.

use boma_problem::{Class, Problem};

use crate::catalog::{Application, Database};
use crate::observed::Observed;
use crate::plan::words::{Bytes, Cpu};

/// Warnings while they are collected.
#[derive(Default)]
pub(in crate::plan) struct Notes<'a> {
    cpu: Vec<&'a Database>,
    memory: Vec<&'a Database>,
    pre_deploy: Vec<&'a Application>,
}

impl<'a> Notes<'a> {
    /// Notes what is worth a warning about a database.
    pub(in crate::plan) fn database(&mut self, want: &'a Database, world: &Observed) {
        let capabilities = &world.capabilities;
        if capabilities
            .cpu_millis
            .is_some_and(|has| want.resources.cpu_millis > has)
        {
            self.cpu.push(want);
        }
        if capabilities
            .memory_bytes
            .is_some_and(|has| want.resources.memory_bytes > has)
        {
            self.memory.push(want);
        }
    }

    /// Notes what is worth a warning about an application.
    pub(in crate::plan) fn application(&mut self, want: &'a Application) {
        if want.has_pre_deploy && want.commands.run.is_none() {
            self.pre_deploy.push(want);
        }
    }

    /// Adds what was noted about later resources.
    pub(in crate::plan) fn append(&mut self, mut later: Self) {
        self.cpu.append(&mut later.cpu);
        self.memory.append(&mut later.memory);
        self.pre_deploy.append(&mut later.pre_deploy);
    }

    /// The warnings.
    pub(in crate::plan) fn into_problems(self, world: &Observed) -> Vec<Problem> {
        let capabilities = &world.capabilities;
        let platform = &capabilities.platform;
        let mut problems = Vec::new();
        if let ([first, more @ ..], Some(has)) = (self.cpu.as_slice(), capabilities.cpu_millis) {
            let who = also(&first.key.name, more.len());
            let (wants, has) = (Cpu(first.resources.cpu_millis), Cpu(has));
            let message = format!("Database {who}: asks for {wants}, there is {has} {platform}");
            problems.push(warning("cpu-beyond-machine", message).at(first.place("spec.cpuCount")));
        }
        if let ([first, more @ ..], Some(has)) = (self.memory.as_slice(), capabilities.memory_bytes)
        {
            let who = also(&first.key.name, more.len());
            let (wants, has) = (Bytes(first.resources.memory_bytes), Bytes(has >> 20 << 20));
            let message =
                format!("Database {who}: asks for {wants} of memory, there is {has} {platform}");
            problems.push(
                warning("memory-beyond-machine", message)
                    .at(first.place("spec.memory"))
                    .hint("It may be ended by the system when memory runs out; ask for less."),
            );
        }
        if let [first, more @ ..] = self.pre_deploy.as_slice() {
            let who = also(&first.key.name, more.len());
            let message =
                format!("Application {who}: `preDeploy` is not run, since `source` is left out");
            problems.push(
                warning("pre-deploy-without-source", message)
                    .at(first.place("spec.preDeploy"))
                    .hint("Give it a `source`, or run it yourself: `boma run`."),
            );
        }
        problems
    }
}

fn warning(code: &str, message: String) -> Problem {
    Problem::new(Class::User, code, message).warning()
}

/// `a`, or `a and 3 more`.
fn also(first: &str, more: usize) -> String {
    match more {
        0 => first.to_owned(),
        more => format!("{first} and {more} more"),
    }
}
