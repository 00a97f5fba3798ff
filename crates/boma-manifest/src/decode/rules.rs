//! Rules that hold between fields of one application.

use std::collections::BTreeMap;

use crate::application::Application;
use crate::decode::Input;
use crate::problems::{Code, error, quote};
use crate::syntax::{Node, Span};

/// Reports variables with two meanings, and databases that are granted twice.
pub(crate) fn check_application(application: &Application, root: Input<'_>) {
    let Some(spec) = root.node.get("spec") else {
        return;
    };
    let own = &application.metadata.project;
    let grants = spec
        .get("accessControl")
        .and_then(|access| access.get("databases"))
        .map(Node::items)
        .unwrap_or_default();
    let mut variables: BTreeMap<&str, Span> = BTreeMap::new();
    for (key, _) in spec.get("env").map(Node::entries).unwrap_or_default() {
        variables.extend(key.text().map(|name| (name, key.span)));
    }
    let mut databases = BTreeMap::new();
    for (grant, node) in application.spec.access_control.databases.iter().zip(grants) {
        let name = node.get("name").map_or(node.span, |name| name.span);
        let variable = node
            .get("secretSource")
            .and_then(|source| source.get("envVar"));
        let at_variable = variable
            .filter(|variable| !variable.is_null())
            .map(|node| node.span);
        let at_variable = at_variable.unwrap_or(name);
        if let Some(before) = variables.insert(grant.env_var.as_str(), at_variable) {
            let message = format!("variable {} is set twice", quote(grant.env_var.as_str()));
            let problem = error(Code::DuplicateVariable, message)
                .hint("Give one of them another name, with `secretSource.envVar`.");
            root.context.report_again(problem, at_variable, before);
        }
        if let Some(before) = databases.insert(grant.name.resolve(own), name) {
            let message = format!(
                "database {} is granted twice",
                quote(&grant.name.to_string())
            );
            let problem = error(Code::DuplicateGrant, message)
                .hint("Keep one of the grants: an application has one user for each database.");
            root.context.report_again(problem, name, before);
        }
    }
}
