//! A cursor over the fields of a mapping.

use std::collections::HashMap;

use crate::decode::{Decode, Input};
use crate::problems::{Code, error, nearest, one_of, quote};
use crate::syntax::{Node, Value};

/// The fields of a mapping. Each is asked for by name; [`Fields::finish`] reports those that
/// nobody asked for.
pub(crate) struct Fields<'i> {
    input: Input<'i>,
    entries: &'i [(Node<'i>, Node<'i>)],
    asked: Vec<&'static str>,
}

impl<'i> Fields<'i> {
    /// The fields of a mapping; if it is none, that is reported.
    pub(crate) fn of(input: Input<'i>) -> Option<Self> {
        let Value::Mapping(entries) = input.node.value() else {
            input.wrong_type(
                "a mapping",
                "Write its fields below it, each on a line: `name: value`.",
            );
            return None;
        };
        report_duplicates(input, entries);
        Some(Self {
            input,
            entries,
            asked: Vec::new(),
        })
    }

    /// A field that may be left out, or left empty.
    pub(crate) fn optional<T: Decode>(&mut self, name: &'static str) -> Option<T> {
        self.with(name, T::decode)
    }

    /// A field that may be left out, or left empty, decoded in a way of its own.
    pub(crate) fn with<T>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(Input<'_>) -> Option<T>,
    ) -> Option<T> {
        decode(self.raw(name)?)
    }

    /// A field that is as good left out, or left empty, as an empty mapping.
    pub(crate) fn optional_or_empty<T: Decode + Default>(
        &mut self,
        name: &'static str,
    ) -> Option<T> {
        match self.raw(name) {
            Some(input) => T::decode(input),
            None => Some(T::default()),
        }
    }

    /// A field that must be there.
    pub(crate) fn required<T: Decode>(&mut self, name: &'static str, example: &str) -> Option<T> {
        if self.find(name).is_none_or(|(_, node)| node.is_null()) {
            self.asked.push(name);
            self.report_missing(name, example);
            return None;
        }
        self.optional(name)
    }

    /// A field as it is written; none if it is left out, or left empty.
    pub(crate) fn raw(&mut self, name: &'static str) -> Option<Input<'_>> {
        self.asked.push(name);
        let (key, node) = self.find(name)?;
        (!node.is_null()).then(|| self.input.at_key(key, node))
    }

    /// Reports the fields that nobody asked for.
    pub(crate) fn finish(self) {
        #[cfg(test)]
        self.remember();
        for (key, node) in self.entries {
            let known = key.text().is_some_and(|key| self.asked.contains(&key));
            if !known && !self.input.context.is_full() {
                self.report_unknown(key, node);
            }
        }
    }

    fn find(&self, name: &str) -> Option<(&'i Node<'i>, &'i Node<'i>)> {
        let entry = self
            .entries
            .iter()
            .find(|(key, _)| key.text() == Some(name))?;
        Some((&entry.0, &entry.1))
    }

    fn report_missing(&self, name: &str, example: &str) {
        let path = self.input.path();
        let message = if path.is_empty() {
            format!("`{name}` is missing")
        } else {
            format!("`{path}.{name}` is missing")
        };
        // A near miss is reported as unknown field as well; this hint says that it is one thing.
        let keys = || self.entries.iter().filter_map(|(key, _)| key.text());
        let meant = nearest(name, keys().filter(|key| !self.asked.contains(key)));
        let hint = match meant {
            Some(key) => format!("{} is nearly it: write `{name}:`.", quote(key)),
            None => format!("Add `{name}: {example}`."),
        };
        let problem = error(Code::MissingField, message).hint(hint);
        self.input
            .context
            .report(problem.at(self.input.place_of_name()));
    }

    fn report_unknown(&self, key: &Node<'_>, node: &Node<'_>) {
        let input = self.input.at_key(key, node);
        let place = input.place_of_name();
        let Some(name) = key.text() else {
            let problem = error(Code::UnsupportedYaml, "a key is not a text").hint(format!(
                "Write one of the fields {}.",
                one_of(self.asked.iter().copied())
            ));
            return self.input.context.report(problem.at(place));
        };
        if name == "<<" {
            let problem = error(Code::UnsupportedYaml, "merge keys are not supported")
                .hint("Write the fields out.");
            return self.input.context.report(problem.at(place));
        }
        let path = self.input.path();
        let within = if path.is_empty() {
            "a manifest".to_owned()
        } else {
            format!("`{path}`")
        };
        let problem = error(
            Code::UnknownField,
            format!("{within} has no field {}", quote(name)),
        );
        let unused = self
            .asked
            .iter()
            .copied()
            .filter(|name| self.find(name).is_none());
        let problem = match elsewhere(&path, name) {
            Some(hint) => problem.hint(hint),
            None => match nearest(name, unused) {
                Some(meant) => problem.hint(format!("Did you mean `{meant}`?")),
                None => problem.hint(format!(
                    "Its fields are {}.",
                    one_of(self.asked.iter().copied())
                )),
            },
        };
        self.input.context.report(problem.at(place));
    }

    #[cfg(test)]
    fn remember(&self) {
        let mut asked = self.input.context.asked.borrow_mut();
        asked
            .entry(self.input.path())
            .or_default()
            .extend(&self.asked);
    }
}

/// Reports keys that stand twice in a mapping, each with the place of the first.
pub(crate) fn report_duplicates(input: Input<'_>, entries: &[(Node<'_>, Node<'_>)]) {
    let mut first: HashMap<&str, &Node<'_>> = HashMap::with_capacity(entries.len());
    for (key, node) in entries {
        let Some(name) = key.text() else { continue };
        let Some(before) = first.insert(name, key) else {
            continue;
        };
        if input.context.is_full() {
            return;
        }
        let again = input.at_key(key, node);
        let problem = error(
            Code::DuplicateKey,
            format!("`{}` stands here twice", again.path()),
        )
        .related("first here", input.context.place(before.span))
        .hint("Keep one of them.");
        input.context.report(problem.at(again.place_of_name()));
    }
}

/// What people call a field that has another name here, or another place.
fn elsewhere(path: &str, name: &str) -> Option<String> {
    const IDENTITY: [&str; 4] = [
        "organization",
        "organizational-unit",
        "environment",
        "project",
    ];
    let hint = match (path, name) {
        ("spec", "replicas" | "instances" | "numberOfInstances") => {
            "The number of instances of a database is `clusterSize`; that of an application is \
             `target.replicas`."
        }
        ("spec", "cpu" | "cpus") => "Write `cpuCount`, or choose a `plan`.",
        ("spec", "ram") => "Write `memory`.",
        ("spec", "postgresVersion" | "postgresqlVersion" | "engineVersion") => "Write `version`.",
        ("spec", "size" | "disk" | "diskSize" | "volume" | "storageSize") => {
            "Write `storage:` and below it `size: 10Gi`."
        }
        ("spec", "backup" | "backups") => "Write `backupConfig:` and below it `enabled: true`.",
        ("spec", "databases") => "Write `accessControl:` and below it `databases:`.",
        ("spec", "image" | "command" | "workingDirectory") => {
            "Write `source:` and below it the field."
        }
        ("spec", "port" | "workload") => "Write `target:` and below it the field.",
        ("metadata", "namespace") => {
            "The project is named by `organization`, `organizational-unit`, `environment` and `project`."
        }
        ("metadata", "organizationalUnit") => "Write `organizational-unit`.",
        ("", "status") => "What the platform reports is `computed`; it is not written by hand.",
        ("" | "spec", _) if IDENTITY.contains(&name) => "It belongs below `metadata`.",
        _ => return None,
    };
    Some(hint.to_owned())
}
