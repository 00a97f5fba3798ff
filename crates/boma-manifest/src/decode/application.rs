//! Decoding of the spec of an application.

use std::collections::BTreeMap;

use crate::application::{
    AccessControl, ApplicationSpec, Command, DatabaseGrant, EnvValue, Source, Target, WorkloadKind,
    WorkloadReference,
};
use crate::decode::{Decode, Fields, Input, Scalar};
use crate::limits;
use crate::names::{VariableName, WorkloadName};
use crate::problems::{Code, error, quote};
use crate::syntax::Value;

impl Decode for ApplicationSpec {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let spec = Self {
            source: fields.optional("source"),
            target: fields.optional("target"),
            env: fields.with("env", environment).unwrap_or_default(),
            pre_deploy: fields.optional("preDeploy"),
            access_control: fields.optional("accessControl").unwrap_or_default(),
        };
        fields.finish();
        report_source_of_workload(input, &spec);
        Some(spec)
    }
}

/// An existing workload brings its own source and replicas.
fn report_source_of_workload(input: Input<'_>, spec: &ApplicationSpec) {
    let attached = |target: &&Target| target.workload.is_some();
    let Some(target) = spec.target.as_ref().filter(attached) else {
        return;
    };
    let report = |path: &[&str], written: bool| {
        let mut node = input.node;
        let mut at = input.name_span();
        for name in path {
            let Some(entry) = node
                .entries()
                .iter()
                .find(|(key, _)| key.text() == Some(*name))
            else {
                return;
            };
            at = entry.0.span;
            node = &entry.1;
        }
        if written {
            let path = path.join(".");
            let message = format!("`spec.{path}` cannot stand beside `spec.target.workload`");
            let problem = error(Code::ConflictingFields, message)
                .hint("Remove one of them: a workload that exists brings its own.");
            input.context.report(problem, at);
        }
    };
    report(&["source"], spec.source.is_some());
    report(&["target", "replicas"], target.replicas.is_some());
}

fn environment(input: Input<'_>) -> Option<BTreeMap<VariableName, EnvValue>> {
    input.map(|value, name| {
        let name = value.read_name(name);
        let value = EnvValue::decode(value);
        Some((name?, value?))
    })
}

impl Decode for EnvValue {
    fn decode(input: Input<'_>) -> Option<Self> {
        if !matches!(input.node.value(), Value::Mapping(_)) {
            return input.free_text().map(Self::Text);
        }
        let mut fields = Fields::of(input)?;
        let secret = fields.required("secret", "smtp-password");
        fields.finish();
        Some(Self::Secret { secret: secret? })
    }
}

impl Decode for Source {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let image = fields.with("image", |image| image.line());
        let command = fields.optional("command");
        let working_directory = fields.with("workingDirectory", |directory| directory.line());
        let has = |name| input.node.get(name).is_some_and(|node| !node.is_null());
        let (has_image, has_command) = (has("image"), has("command"));
        let has_directory = has("workingDirectory");
        fields.finish();
        if has_image && (has_command || has_directory) {
            let other = if has_command {
                "command"
            } else {
                "workingDirectory"
            };
            let message = format!("`image` and `{other}` cannot stand together");
            let problem = error(Code::ConflictingFields, message)
                .hint("Write `image` for a container, or `command` for a process on this machine.");
            input.report_name(problem);
            return None;
        }
        if !has_image && !has_command {
            let problem = error(
                Code::MissingField,
                format!("`{}` says nothing to run", input.path()),
            )
            .hint(
                "Add `image:` or `command:`, or remove `source` if the application runs elsewhere.",
            );
            input.report_name(problem);
            return None;
        }
        match (image, command) {
            (Some(image), None) => Some(Self::Image { image }),
            (None, Some(command)) => Some(Self::Command {
                command,
                working_directory,
            }),
            _ => None,
        }
    }
}

impl Decode for Command {
    fn decode(input: Input<'_>) -> Option<Self> {
        match input.node.value() {
            Value::Sequence(items) => {
                let words = items.iter().enumerate();
                let decode = |(index, node)| input.at_index(index, node).free_text();
                let words: Vec<Option<String>> = words.map(decode).collect();
                let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
                if words.first().is_none_or(String::is_empty) {
                    let message = format!("`{}` names no program", input.path());
                    let problem = error(Code::InvalidText, message);
                    input.report(problem.hint("Write the program first, then its arguments."));
                    return None;
                }
                Some(Self::Program(words))
            }
            _ if matches!(input.scalar(), Some(Scalar::Text(_))) => {
                let line = input.free_text()?;
                if line.trim().is_empty() {
                    input.invalid_text(None);
                    return None;
                }
                Some(Self::Shell(line))
            }
            Value::Scalar(..) | Value::Mapping(_) | Value::Shared(_) | Value::Refused(_) => {
                let hint = "Write a line for the shell, or a list of a program and its arguments.";
                input.wrong_type("a command", hint);
                None
            }
        }
    }
}

impl Decode for Target {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let target = Self {
            port: fields.with("port", |port| port.number(&limits::PORTS)),
            replicas: fields.with("replicas", |replicas| replicas.number(&limits::REPLICAS)),
            workload: fields.optional("workload"),
        };
        fields.finish();
        Some(target)
    }
}

impl Decode for WorkloadReference {
    fn decode(input: Input<'_>) -> Option<Self> {
        let text = input.string()?;
        let kinds = WorkloadKind::ALL.map(|kind| (kind.as_str(), kind));
        let Some((kind, name)) = text.split_once('/') else {
            let message = format!("workload {} has no kind", quote(text));
            input.report(
                error(Code::InvalidName, message)
                    .hint("Write kind and name: `Deployment/auth-api`."),
            );
            return None;
        };
        let kind = input.word_of(kind, &kinds);
        let name = input.read::<WorkloadName>(name);
        Some(Self {
            kind: kind?,
            name: name?,
        })
    }
}

impl Decode for AccessControl {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let databases = fields.optional("databases");
        fields.finish();
        Some(Self {
            databases: databases.unwrap_or_default(),
        })
    }
}

impl Decode for DatabaseGrant {
    fn decode(input: Input<'_>) -> Option<Self> {
        let errors = input.context.errors();
        let mut fields = Fields::around(input, "name")?;
        let name = fields.required("name", "accounts-db");
        let read_only = fields.optional("readOnly").unwrap_or(false);
        let variable = fields.with("secretSource", secret_source);
        let rotation_days = fields.with("rotationDays", |days| days.number(&limits::ROTATION_DAYS));
        fields.finish();
        if input.context.errors() > errors {
            // What is wrong is not what is left out: with defaults in its place, this grant could
            // seem to be in the way of another.
            return None;
        }
        let env_var = match variable {
            Some(variable) => variable,
            None => VariableName::new(Self::DEFAULT_VARIABLE)
                .expect("the default should be the name of a variable"),
        };
        Some(Self {
            name: name?,
            read_only,
            env_var,
            rotation_days,
        })
    }
}

fn secret_source(input: Input<'_>) -> Option<VariableName> {
    let mut fields = Fields::around(input, "envVar")?;
    let variable = fields.optional("envVar");
    fields.finish();
    variable
}
