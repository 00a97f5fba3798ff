//! A cursor over the fields of a mapping.

use std::collections::HashMap;

use crate::decode::{Decode, Input, Scalar};
use crate::problems::{Code, all_of, error, nearest, one_of, quote};
use crate::syntax::{Node, Value};

/// The fields of a mapping. Each is asked for by name; [`Fields::finish`] reports those that
/// nobody asked for.
pub(crate) struct Fields<'i> {
    input: Input<'i>,
    entries: &'i [(Node<'i>, Node<'i>)],
    asked: Vec<&'static str>,
    /// Required fields that are not there, each with an example.
    missing: Vec<(&'static str, &'static str)>,
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
            missing: Vec::new(),
        })
    }

    /// The fields of a mapping; where a text stands instead, it most likely is the field `meant`.
    pub(crate) fn around(input: Input<'i>, meant: &str) -> Option<Self> {
        if let Some(Scalar::Text(text)) = input.scalar() {
            let hint = format!("Write {}.", quote(&format!("{meant}: {text}")));
            input.wrong_type("a mapping", hint);
            return None;
        }
        Self::of(input)
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

    /// A field that must be there; the example is shown when it is not.
    pub(crate) fn required<T: Decode>(
        &mut self,
        name: &'static str,
        example: &'static str,
    ) -> Option<T> {
        if self.find(name).is_none_or(|(_, node)| node.is_null()) {
            self.missing.push((name, example));
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
        let mut meant = Vec::new();
        for (key, node) in self.entries {
            let known = key.text().is_some_and(|key| self.asked.contains(&key));
            if !known && !self.input.context.is_full() {
                meant.extend(self.report_unknown(key, node));
            }
        }
        // A required field under a slightly wrong name is one mistake, not two.
        for (name, example) in self
            .missing
            .iter()
            .filter(|(name, _)| !meant.contains(name))
        {
            self.report_missing(name, example);
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
        let hint = format!("Add `{}`.", format!("{name}: {example}").trim_end());
        let problem = error(Code::MissingField, message).hint(hint);
        self.input.report_name(problem);
    }

    /// Reports a field that does not exist; answers the one that was most likely meant.
    fn report_unknown(&self, key: &Node<'i>, node: &Node<'i>) -> Option<&'static str> {
        let input = self.input.at_key(key, node);
        let known = || self.asked.iter().copied();
        let Some(name) = key.text().filter(|name| *name != "<<") else {
            input.report_name(match key.text() {
                Some(_) => error(Code::UnsupportedYaml, "merge keys are not supported")
                    .hint("Write the fields out."),
                None => error(Code::UnsupportedYaml, "a key is not a text")
                    .hint(format!("Write one of the fields {}.", one_of(known()))),
            });
            return None;
        };
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
        let elsewhere = elsewhere(&path, name, &self.asked);
        let unused = known().filter(|name| self.find(name).is_none());
        let meant = nearest(name, unused).filter(|_| elsewhere.is_none());
        input.report_name(match (elsewhere, meant) {
            (Some(hint), _) => problem.hint(hint),
            (None, Some(meant)) => problem.hint(format!("Did you mean `{meant}`?")),
            (None, None) => problem.hint(format!("Its fields are {}.", all_of(known()))),
        });
        meant
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
        .hint("Keep one of them.");
        input.context.report_again(problem, key.span, before.span);
    }
}

/// What people call a field that has another name here, or another place; `known` are the fields
/// here, which tell a database from an application.
fn elsewhere(path: &str, name: &str, known: &[&str]) -> Option<String> {
    const IDENTITY: [&str; 4] = [
        "organization",
        "organizational-unit",
        "environment",
        "project",
    ];
    let database = known.contains(&"cpuCount");
    let hint = match (path, name) {
        ("spec", "replicas" | "instances" | "numberOfInstances") if database => {
            "Write `clusterSize`: the primary counts as well."
        }
        ("spec", "cpu" | "cpus") if database => "Write `cpuCount`, or choose a `plan`.",
        ("spec", "ram") if database => "Write `memory`.",
        ("spec", "postgresVersion" | "postgresqlVersion" | "engineVersion") if database => {
            "Write `version`."
        }
        ("spec", "size" | "disk" | "diskSize" | "volume" | "storageSize") if database => {
            "Write `storage:` and below it `size: 10Gi`."
        }
        ("spec", "backup" | "backups") if database => {
            "Write `backupConfig:` and below it `enabled: true`."
        }
        ("spec", "databases") if !database => "Write `accessControl:` and below it `databases:`.",
        ("spec", "image" | "command" | "workingDirectory") if !database => {
            "It belongs below `source`."
        }
        ("spec", "port" | "replicas" | "workload") if !database => "It belongs below `target`.",
        ("metadata", "namespace") => {
            "A project is named by `organization`, `organizational-unit`, `environment` and \
             `project`."
        }
        ("", "status") => "What the platform reports is `computed`; it is not written by hand.",
        ("" | "spec", _) if IDENTITY.contains(&name) => "It belongs below `metadata`.",
        _ => return None,
    };
    Some(hint.to_owned())
}
